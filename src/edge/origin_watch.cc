#include "edge/origin_watch.h"

#include <utility>

namespace culvert::edge {

struct OriginWatch::Watched {
  Watched(net::EventLoop& loop, const origin::Service& service)
      : services{service}, lifetime(loop), tasks(loop), checks(loop, services, lifetime, counters, tasks) {}

  const std::vector<origin::Service> services;  // one
  net::Lifetime lifetime;
  origin::HealthCheckCounters counters;
  net::TaskGroup tasks;
  origin::HealthChecks checks;
};

OriginWatch::OriginWatch(Shared& shared, net::EventLoop& loop, net::TaskGroup& tasks)
    : shared_(shared), loop_(loop), tasks_(tasks) {}
OriginWatch::~OriginWatch() = default;

void OriginWatch::follow(const std::vector<StaticOriginPtr>& origins) {
  auto before = std::exchange(watched_, {});
  for (const StaticOriginPtr& origin : origins) {
    const auto known = before.find(origin->name);
    if (known != before.end() && known->second->services.front() == origin->service) {
      watched_.insert(before.extract(known));
      continue;
    }
    auto watched = std::make_unique<Watched>(loop_, origin->service);
    shared_.tunnels.set_origin_fault(origin->name, {});
    watched->checks.set_listener([this, name = origin->name](const tunnel::Health& health) {
      shared_.tunnels.set_origin_fault(name, health.is_healthy ? std::string() : health.reason);
    });
    watched->checks.start();
    watched_.emplace(origin->name, std::move(watched));
  }
  for (auto& [name, former] : before) {
    former->lifetime.stop();
    tasks_.spawn(end(std::move(former)));
  }
}

// What a check of it waits for has a deadline.
net::Task<> OriginWatch::end(std::unique_ptr<Watched> former) { co_await former->tasks.join(); }

void OriginWatch::observed(const StaticOriginPtr& origin, std::optional<origin::OriginFault> fault) {
  const auto known = watched_.find(origin->name);
  if (known == watched_.end() || known->second->services.front() != origin->service) return;
  known->second->checks.observed(known->second->services.front(), std::move(fault));
}

void OriginWatch::stop() { follow({}); }

}  // namespace culvert::edge
