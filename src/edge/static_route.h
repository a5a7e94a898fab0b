#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "base/key.h"
#include "base/result.h"
#include "origin/service_text.h"
#include "route/route.h"

namespace culvert::edge {

// A route of the operator's to an origin beside the edge, as it was configured. Several of one name are the
// origins of one route.
struct StaticRoute {
  origin::Service service;
  route::Share share = {};

  bool operator==(const StaticRoute&) const = default;
  route::Match match() const;
  // Of its origin, among all of the edge.
  route::LocalOrigin name() const;
};

// Reads the files that their origins name.
Result<> load_origin_files(std::vector<StaticRoute>& routes, UnixTime now);
// kInvalid: two are for the same name and origin, or those of one name do not agree in their TLS mode.
Result<> check_static_routes(const std::vector<StaticRoute>& routes);

// An origin beside an edge that runs. Shared by its workers.
struct StaticOrigin {
  route::LocalOrigin name;
  origin::Service service;
  route::Share share;
  // A client did not reach it, and none has reached it since: only then is a success worth telling.
  mutable std::atomic<bool> has_failed = false;
};
using StaticOriginPtr = std::shared_ptr<const StaticOrigin>;

std::vector<StaticOriginPtr> origins_of(const std::vector<StaticRoute>& routes);
// In the order in which their names came first. `owner` is what their connections count as a tenant's.
std::vector<route::Route> routes_of(const std::vector<StaticRoute>& routes, const PublicKey& owner);

}  // namespace culvert::edge
