#pragma once
#include "base/random.h"
#include "http/router.h"
#include "hub/api_counters.h"
#include "hub/declaration_limits.h"
#include "hub/hub.h"
#include "hub/invite_handlers.h"
#include "hub/lease_handler.h"
#include "hub/leases.h"
#include "hub/operator_auth.h"
#include "hub/store.h"
#include "hub/store_failures.h"

namespace culvert::hub {

// The hub's HTTP API: the routes, and what their handlers share. It does no I/O but through the store; time
// comes with each exchange. Effects are in the store and the leases.
class Api {
 public:
  // All must outlive it. `leases_changed` is called when an exchange has changed the leases and goes on; at
  // its end the caller looks at them anyway.
  Api(const Config& config, Store& store, Leases& leases, Random& random,
      std::function<void()> leases_changed);
  Api(const Api&) = delete;
  Api& operator=(const Api&) = delete;

  // Several may run at once. Every answer carries the hub's time (Date). The API outlives the task.
  net::Task<http::Response> handle(http::Exchange exchange);

  const ApiCounters& counters() const { return counters_; }
  size_t counted_sources() const { return limits_.counted_sources(); }

 private:
  net::Task<http::Response> health(const http::Exchange& exchange) const;

  const Config& config_;
  Leases& leases_;
  ApiCounters counters_;
  DeclarationLimits limits_;
  StoreFailures failures_;
  OperatorAuth operator_auth_;
  LeaseHandler lease_handler_;
  InviteHandlers invite_handlers_;
  http::Router router_;
};

}  // namespace culvert::hub
