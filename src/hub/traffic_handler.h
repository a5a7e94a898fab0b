#pragma once
#include "http/router.h"
#include "hub/hub.h"
#include "hub/state.h"

namespace culvert::hub {

// GET /v1/traffic: what routes, tenants or agents move now, as the edge in this process counts it.
class TrafficHandler {
 public:
  // Both outlive it.
  TrafficHandler(const Config& config, const State& state) : config_(config), state_(state) {}

  // ?by=route|tenant|agent, ?sort=connections|bytes|name, ?limit=NUMBER, ?after=PLACE. Numbers change between
  // two pages: an entry that moves in the order meanwhile may be on both of them, or on none.
  http::Response list(const http::Exchange& exchange) const;

 private:
  const Config& config_;
  const State& state_;
};

// As the operators' invites name tenants. The state outlives it.
TenantNames tenant_names(const State& state);

}  // namespace culvert::hub
