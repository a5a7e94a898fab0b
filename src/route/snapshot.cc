#include "route/snapshot.h"

#include "base/check.h"

namespace culvert::route {
namespace {

bool is_range(const Route& route) { return route.match.port() != nullptr && route.match.port()->is_range(); }

}  // namespace

SnapshotPtr Snapshot::of(std::vector<Route> routes, uint64_t version) {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->version_ = version;
  for (Route& route : routes) {
    CHECK(snapshot->find(route.id()) == nullptr);
    snapshot->put(std::move(route));
  }
  return snapshot;
}

Result<SnapshotPtr> Snapshot::apply(const Delta& delta) const {
  if (delta.from != version_) {
    return fail(ErrorCode::kConflict, "the routes have version {}, the change is one of version {}", version_,
                delta.from);
  }
  auto next = std::make_shared<Snapshot>(*this);
  next->version_ = delta.to;
  for (const RouteId& id : delta.removals) next->remove(id.text());
  for (const Route& route : delta.upserts) {
    const Route* old = next->find_text(route.match.text());
    if (old != nullptr && *old == route) continue;
    next->remove(route.match.text());
    next->put(route);
  }
  return next;
}

Delta Snapshot::changes_to(const Snapshot& other) const {
  Delta delta{.from = version_, .to = other.version_, .upserts = {}, .removals = {}};
  routes_.for_each([&](const RoutePtr& route) {
    if (other.find_text(route->match.text()) == nullptr) delta.removals.push_back(route->id());
  });
  other.routes_.for_each([&](const RoutePtr& route) {
    const Route* old = find_text(route->match.text());
    if (old != route.get() && (old == nullptr || *old != *route)) delta.upserts.push_back(*route);
  });
  return delta;
}

const Route* Snapshot::match(std::string_view host) const {
  // Neither a pattern nor a port is a name: no client may ask for "*.b.c" or "tcp/22" itself.
  if (host.starts_with('*') || host.contains('/')) return nullptr;
  if (const Route* exact = find_text(host)) return exact;
  const std::string wildcard = wildcard_above(host);
  return wildcard.empty() ? nullptr : find_text(wildcard);
}

const Route* Snapshot::match(const PublicPort& port) const {
  if (const Route* exact = find_text(port.text())) return exact;
  const RoutePtr* range = ranges_.find(port);
  return range == nullptr ? nullptr : range->get();
}

std::vector<const Route*> Snapshot::routes_of(const EndpointId& agent) const {
  std::vector<const Route*> found;
  by_agent_.for_each_equal(agent, [&](const OfAgent& each) { found.push_back(each.route.get()); });
  return found;
}

std::vector<const Route*> Snapshot::routes() const {
  std::vector<const Route*> all;
  all.reserve(size());
  routes_.for_each([&](const RoutePtr& route) { all.push_back(route.get()); });
  return all;
}

const Route* Snapshot::find_text(std::string_view id) const {
  const RoutePtr* route = routes_.find(id);
  return route == nullptr ? nullptr : route->get();
}

void Snapshot::put(Route route) {
  auto shared = std::make_shared<const Route>(std::move(route));
  for (const Target& target : shared->targets) {
    if (const EndpointId* agent = target.agent()) by_agent_ = by_agent_.insert({*agent, shared});
  }
  if (is_range(*shared)) ranges_ = ranges_.insert(shared);
  routes_ = routes_.insert(std::move(shared));
}

void Snapshot::remove(std::string_view id) {
  const RoutePtr* found = routes_.find(id);
  if (found == nullptr) return;
  const RoutePtr route = *found;
  for (const Target& target : route->targets) {
    if (const EndpointId* agent = target.agent()) by_agent_ = by_agent_.erase({*agent, route});
  }
  if (is_range(*route)) ranges_ = ranges_.erase(route);
  routes_ = routes_.erase(route);
}

}  // namespace culvert::route
