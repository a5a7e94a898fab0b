#pragma once
#include <functional>

#include "edge/access_log.h"
#include "edge/refusals.h"
#include "edge/route_feed.h"
#include "edge/shared.h"
#include "edge/udp_batch.h"
#include "edge/worker_traffic.h"
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
  AccessLog& access_log;
  // Datagrams from agents for clients of a port of this worker.
  std::function<void(const UdpBatch&)> udp_replies;
  net::Notify& tunnel_came;  // while agents are expected: Shared::expects_agents()
  WorkerTraffic& traffic;
  bool draining = false;
};

}  // namespace culvert::edge
