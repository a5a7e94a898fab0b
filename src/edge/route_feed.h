#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

#include "base/key.h"
#include "net/event_loop.h"
#include "route/snapshot.h"

namespace culvert::edge {

// All routes, and how they differ from those of the update before. Every worker takes every update, in the
// order of their numbers, though not at the same moment.
struct RouteUpdate {
  uint64_t number;
  route::SnapshotPtr routes;
  std::shared_ptr<const route::Delta> changes;
  std::shared_ptr<std::atomic<unsigned>> workers_left;  // that have not taken it yet
};

// The routes as one worker knows them.
class RouteFeed {
 public:
  explicit RouteFeed(net::EventLoop& loop) : changed_(loop) {}

  const route::Snapshot& current() const { return *routes_; }
  // Of the last update that was taken.
  uint64_t number() const { return number_; }

  // Returns the routes until now.
  route::SnapshotPtr take(const RouteUpdate& update);
  // Until the update with this number was taken.
  net::Task<> wait_for(uint64_t number);
  // False when no route leads to the agent until `deadline`.
  net::Task<bool> wait_until_served(EndpointId agent, TimePoint deadline);

 private:
  route::SnapshotPtr routes_ = std::make_shared<const route::Snapshot>();
  uint64_t number_ = 0;
  net::Notify changed_;
};

}  // namespace culvert::edge
