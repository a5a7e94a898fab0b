#pragma once
#include "base/clock.h"
#include "base/settings.h"
#include "route/picker.h"
#include "tunnel/pump_limits.h"

namespace culvert::agent {

// What the user of an agent may choose, besides its token and services.
struct Options {
  size_t max_streams = 1024;
  // Ends the leases of the tenant's other agents, which get none for as long as this one runs.
  bool is_exclusive = false;
  Duration origin_timeout = std::chrono::seconds(10);
  // Flows of UDP services: of one client address and port at one edge. Each has a socket.
  size_t max_udp_flows = 4096;
  Duration udp_idle_timeout = std::chrono::seconds(60);
  tunnel::PumpLimits pump = {};
  route::Share share = {};  // among the agents of a service
};

// Section [agent].
void describe(SettingsBuilder& settings, Options& options);

}  // namespace culvert::agent
