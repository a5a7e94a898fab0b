#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "net/lifetime.h"
#include "origin/health.h"
#include "origin/service.h"
#include "tunnel/control.h"

namespace culvert::origin {

struct HealthCheckCounters {
  uint64_t passed = 0;
  uint64_t failed = 0;
};

// Knows which origins work: asks those of services with a check, and learns from the connections of clients.
// An origin without a check that clients did not reach is asked until it is reached again, since healthier
// agents get its clients meanwhile. Lives on one loop; what the constructor takes outlives it.
class HealthChecks {
 public:
  HealthChecks(net::EventLoop& loop, const std::vector<Service>& services, net::Lifetime& lifetime,
               HealthCheckCounters& counters, net::TaskGroup& tasks);
  HealthChecks(const HealthChecks&) = delete;

  // Called when an origin stops or begins to work.
  void set_listener(std::function<void(const tunnel::Health&)> listener) { on_change_ = std::move(listener); }
  // Begins to ask.
  void start();
  // The services are others: of those that stay the same the verdict stays. Those that
  // it had before outlive this.
  void services_changed();
  // A client's connection reached the origin (nullopt), or did not.
  void observed(const Service& service, std::optional<OriginFault> fault);

  // Why the origin does not work; nullopt: it works, as far as is known.
  std::optional<OriginFault> fault(const Service& service) const;
  // Of each service that does not work: for a new tunnel.
  std::vector<tunnel::Health> unhealthy() const;

 private:
  struct State {
    const Service* service;
    HealthCheck check;
    HealthJudge judge;
    bool is_watched = false;  // a task asks
  };

  void adopt_services();
  net::Task<> watch(const Service* service, Duration wait);
  net::Task<std::optional<OriginFault>> ask(const Service* service, HealthCheck check);
  State* find(const Service* service);
  void saw(State& state, std::optional<OriginFault> fault, HealthJudge::Source source);
  void watch_if_due(State& state);

  net::EventLoop& loop_;
  const std::vector<Service>& services_;
  net::Lifetime& lifetime_;
  HealthCheckCounters& counters_;
  net::TaskGroup& tasks_;
  std::function<void(const tunnel::Health&)> on_change_;
  std::map<std::string, State> states_;  // by Service::name()
  tls::ClientContextPtr unchecked_;      // for origins whose certificate is their clients' concern
  bool is_started_ = false;
};

}  // namespace culvert::origin
