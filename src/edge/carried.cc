#include "edge/carried.h"

#include <utility>

#include "base/check.h"
#include "route/hostname.h"

namespace culvert::edge {

Carried::Key Carried::key_of(const CarriedConnection& carried) {
  return {carried.route.text(), carried.connection.host, carried.connection.id};
}

void Carried::add(CarriedConnection carried) {
  by_route_.insert(key_of(carried));
  const uint64_t id = carried.connection.id;
  CHECK(all_.try_emplace(id, std::move(carried)).second);
}

CarriedConnection Carried::remove(uint64_t id) {
  auto node = all_.extract(id);
  CHECK(!node.empty());
  by_route_.erase(key_of(node.mapped()));
  return std::move(node.mapped());
}

CarriedConnection* Carried::find(uint64_t id) {
  auto place = all_.find(id);
  return place == all_.end() ? nullptr : &place->second;
}

std::set<uint64_t> Carried::concerned_by(const route::Delta& changes) const {
  std::set<uint64_t> ids;
  const auto add_route = [&](const std::string& route) {
    for (auto each = by_route_.lower_bound({route, {}, 0}); each != by_route_.end(); ++each) {
      if (std::get<0>(*each) != route) break;
      ids.insert(std::get<2>(*each));
    }
  };
  const auto add_host_of_route = [&](const std::string& route, const std::string& host) {
    for (auto each = by_route_.lower_bound({route, host, 0}); each != by_route_.end(); ++each) {
      if (std::get<0>(*each) != route || std::get<1>(*each) != host) break;
      ids.insert(std::get<2>(*each));
    }
  };
  for (const route::RouteId& removed : changes.removals) add_route(removed.text());
  for (const route::Route& changed : changes.upserts) {
    const std::string& pattern = changed.match.text();
    add_route(pattern);
    // A route of exactly this name comes before the wildcard that its connections had until now.
    const route::HostPattern* hostname = changed.match.hostname();
    if (hostname != nullptr && !hostname->is_wildcard())
      add_host_of_route(route::wildcard_above(pattern), pattern);
  }
  return ids;
}

std::vector<uint64_t> Carried::recheck(const route::Snapshot& routes, const route::Delta& changes) {
  std::vector<uint64_t> unrouted;
  for (const uint64_t id : concerned_by(changes)) {
    ++rechecked_;
    CarriedConnection& carried = all_.at(id);
    const PublicConnection& connection = carried.connection;
    const route::Target& target = connection.pick->target;
    const route::Route* route = connection.find_route(routes);
    if (route == nullptr || route->is_suspended || kind_of(*route) != connection.kind ||
        !route->leads_to(target)) {
      const EndpointId* agent = target.agent();
      if (agent == nullptr || routes.serves(*agent)) unrouted.push_back(id);
      continue;
    }
    by_route_.erase(key_of(carried));
    carried.route = route->id();
    by_route_.insert(key_of(carried));
  }
  return unrouted;
}

}  // namespace culvert::edge
