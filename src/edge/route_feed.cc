#include "edge/route_feed.h"

#include <utility>

#include "base/check.h"

namespace culvert::edge {

route::SnapshotPtr RouteFeed::take(const RouteUpdate& update) {
  CHECK(update.number == number_ + 1);
  number_ = update.number;
  changed_.notify();
  return std::exchange(routes_, update.routes);
}

net::Task<> RouteFeed::wait_for(uint64_t number) {
  while (number_ < number) co_await changed_.wait();
}

net::Task<bool> RouteFeed::wait_until_served(EndpointId agent, TimePoint deadline) {
  while (!routes_->serves(agent)) {
    const bool changed = co_await changed_.wait_until(deadline);
    if (!changed) co_return false;
  }
  co_return true;
}

}  // namespace culvert::edge
