#include "edge/static_route.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace culvert::edge {

route::Match StaticRoute::match() const {
  if (const auto* port = service.port())
    return route::Match(route::PublicPort{port->protocol, port->listen_port});
  return route::Match(service.web()->hostname);
}

route::LocalOrigin StaticRoute::name() const {
  return {fmt::format("{}={}", match().text(), service.origin.to_string())};
}

Result<> load_origin_files(std::vector<StaticRoute>& routes, UnixTime now) {
  for (StaticRoute& each : routes) {
    auto loaded = origin::load_origin_files(each.service, now);
    if (!loaded) return loaded;
  }
  return {};
}

Result<> check_static_routes(const std::vector<StaticRoute>& routes) {
  std::set<route::LocalOrigin> names;
  for (const StaticRoute& each : routes) {
    if (!names.insert(each.name()).second)
      return fail(ErrorCode::kInvalid, "{} is given twice; keep one of them", each.name().name);
    const auto first = std::ranges::find(routes, each.match(), &StaticRoute::match);
    if (first->service.kind() != each.service.kind()) {
      return fail(ErrorCode::kInvalid,
                  "{} is terminated for one of its origins and passed through for another; give all of them "
                  "the same mode",
                  each.match().text());
    }
  }
  return {};
}

std::vector<StaticOriginPtr> origins_of(const std::vector<StaticRoute>& routes) {
  std::vector<StaticOriginPtr> origins;
  for (const StaticRoute& each : routes)
    origins.push_back(std::make_shared<StaticOrigin>(each.name(), each.service, each.share));
  return origins;
}

std::vector<route::Route> routes_of(const std::vector<StaticRoute>& routes, const PublicKey& owner) {
  std::vector<route::Route> made;
  for (const StaticRoute& each : routes) {
    const route::Match match = each.match();
    auto known = std::ranges::find(made, match, &route::Route::match);
    if (known == made.end()) {
      const auto* web = each.service.web();
      made.push_back({.match = match,
                      .tenant = owner,
                      .tls_mode = web != nullptr ? std::optional(web->tls_mode) : std::nullopt,
                      .targets = {}});
      known = made.end() - 1;
    }
    known->targets.push_back({each.name()});
  }
  return made;
}

}  // namespace culvert::edge
