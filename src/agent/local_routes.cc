#include "agent/local_routes.h"

#include <utility>

namespace culvert::agent {
namespace {

std::optional<SocketAddr> source_of(const LocalRoutes::Lookup& lookup, const SocketAddr& remote) {
  auto source = lookup(remote);
  if (!source) return std::nullopt;
  return *source;
}

}  // namespace

LocalRoutes::LocalRoutes(Lookup lookup) : lookup_(std::move(lookup)) {}

void LocalRoutes::watch(const std::set<SocketAddr>& destinations) {
  std::map<SocketAddr, std::optional<SocketAddr>> next;
  for (const SocketAddr& destination : destinations) {
    if (next.size() == kMaxDestinations) break;
    auto known = seen_.find(destination);
    next[destination] = known != seen_.end() ? known->second : source_of(lookup_, destination);
  }
  seen_ = std::move(next);
}

bool LocalRoutes::changed() {
  bool changed = false;
  for (auto& [destination, source] : seen_) {
    auto now = source_of(lookup_, destination);
    // A route that has gone is remembered, but nothing can be tried until there is one again.
    if (now && now != source) changed = true;
    source = now;
  }
  return changed;
}

}  // namespace culvert::agent
