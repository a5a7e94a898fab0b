#include "hub/route_publisher.h"

#include <utility>

#include "base/check.h"

namespace culvert::hub {

RoutePublisher::RoutePublisher(const SecretKey& hub_key, uint64_t epoch)
    : hub_key_(hub_key),
      routes_(std::make_shared<const route::Snapshot>()),
      seal_(hubapi::Seal::make(hub_key, {epoch, 0}, 0, digest_.value())) {}

void RoutePublisher::add(const route::Delta& changes) {
  for (const route::RouteId& id : changes.removals) changes_.insert_or_assign(id, std::nullopt);
  for (const route::Route& route : changes.upserts) changes_.insert_or_assign(route.id(), route);
}

void RoutePublisher::publish() {
  std::vector<route::RouteId> removals;
  std::vector<route::Route> upserts;
  for (auto& [id, route] : std::exchange(changes_, {})) {
    const route::Route* old = routes_->find(id);
    if (route) {
      if (old == nullptr || *old != *route) upserts.push_back(std::move(*route));
    } else if (old != nullptr) {
      removals.push_back(id);
    }
  }
  while (removals.size() > kMaxRemovals) {
    const auto rest = removals.end() - kMaxRemovals;
    publish({rest, removals.end()}, {});
    removals.erase(rest, removals.end());
  }
  if (!removals.empty() || !upserts.empty()) publish(std::move(removals), std::move(upserts));
}

void RoutePublisher::publish(std::vector<route::RouteId> removals, std::vector<route::Route> upserts) {
  const route::Delta delta{.from = routes_->version(),
                           .to = routes_->version() + 1,
                           .upserts = std::move(upserts),
                           .removals = std::move(removals)};
  auto next = routes_->apply(delta);
  CHECK(next);
  routes_ = std::move(*next);
  hubapi::DeltaHead head{.routes = delta.upserts.size(), .removals = {}};
  for (const route::RouteId& id : delta.removals) {
    head.removals.push_back(id.text());
    remove(id.text());
  }
  std::string text = hubapi::encode(head) + '\n';
  for (const route::Route& route : delta.upserts) {
    const std::string line = hubapi::encode_route(route);
    put(route, line);
    text += line;
    text += '\n';
  }
  seal_ = hubapi::Seal::make(hub_key_, {seal_.at.epoch, delta.to}, hashes_.size(), digest_.value());
  text += seal_line();
  kept_bytes_ += text.size();
  kept_.push_back(std::make_shared<const std::string>(std::move(text)));
  while (kept_bytes_ > kMaxKept && kept_.size() > 1) {
    kept_bytes_ -= kept_.front()->size();
    kept_.pop_front();
  }
}

std::string RoutePublisher::seal_line() const { return hubapi::encode(seal_) + '\n'; }

RoutePublisher::Text RoutePublisher::after(const hubapi::RoutesVersion& version) const {
  if (version.epoch != seal_.at.epoch || version.version >= seal_.at.version) return nullptr;
  const uint64_t behind = seal_.at.version - version.version;
  return behind > kept_.size() ? nullptr : kept_[kept_.size() - behind];
}

void RoutePublisher::put(const route::Route& route, std::string_view text) {
  const std::string id = route.id().text();
  remove(id);
  const Sha256 hash = sha256(as_bytes(text));
  digest_.add(hash);
  hashes_.emplace(id, hash);
}

void RoutePublisher::remove(const std::string& id) {
  const auto old = hashes_.find(id);
  if (old == hashes_.end()) return;
  digest_.remove(old->second);
  hashes_.erase(old);
}

}  // namespace culvert::hub
