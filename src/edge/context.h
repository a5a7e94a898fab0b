#pragma once
#include "edge/refusals.h"
#include "edge/route_feed.h"
#include "edge/shared.h"
#include "net/event_loop.h"

namespace culvert::edge {

// What the parts of a worker have in common. Lives as long as the worker.
struct WorkerContext {
  Shared& shared;
  const unsigned index;
  net::EventLoop& loop;
  net::TaskGroup& tasks;  // ended before the worker is
  Refusals& refusals;
  RouteFeed& routes;
  bool draining = false;
};

}  // namespace culvert::edge
