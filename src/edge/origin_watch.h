#pragma once
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "edge/shared.h"
#include "edge/static_route.h"
#include "net/event_loop.h"
#include "net/lifetime.h"
#include "origin/health_checks.h"

namespace culvert::edge {

// Knows which of the origins beside the edge work: by their checks, and by what workers saw when they reached
// them for clients. Tells the TunnelRegistry. Lives on the loop of one worker.
class OriginWatch {
 public:
  // The references outlive it.
  OriginWatch(Shared& shared, net::EventLoop& loop, net::TaskGroup& tasks);
  ~OriginWatch();
  OriginWatch(const OriginWatch&) = delete;

  // These from now on. One that stays as it was keeps its verdict.
  void follow(const std::vector<StaticOriginPtr>& origins);
  // A client's connection reached it (nullopt), or did not.
  void observed(const StaticOriginPtr& origin, std::optional<origin::OriginFault> fault);
  // No more checks.
  void stop();

 private:
  struct Watched;
  static net::Task<> end(std::unique_ptr<Watched> former);

  Shared& shared_;
  net::EventLoop& loop_;
  net::TaskGroup& tasks_;
  std::map<route::LocalOrigin, std::unique_ptr<Watched>> watched_;
};

}  // namespace culvert::edge
