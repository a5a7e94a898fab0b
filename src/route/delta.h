#pragma once
#include <cstdint>
#include <vector>

#include "route/route.h"

namespace culvert::route {

// What changes the routes of version `from` into those of version `to`. Both lists name distinct routes, and
// no route is in both.
struct Delta {
  uint64_t from;
  uint64_t to;
  std::vector<Route> upserts;     // complete, as they are from now on
  std::vector<RouteId> removals;  // one that does not exist is no error

  bool empty() const { return upserts.empty() && removals.empty(); }
};

}  // namespace culvert::route
