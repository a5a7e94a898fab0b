#pragma once
#include "base/clock.h"
#include "base/key.h"
#include "base/socket_addr.h"

namespace culvert::route {

// An edge heard an agent through its tunnel, last at `when`.
struct AgentHeard {
  EndpointId agent;
  TimePoint when;
};

// An agent's tunnel to an edge, as operators see it.
struct TunnelState {
  EndpointId agent;
  SocketAddr remote;  // whence its packets come now; unspecified: it was not looked at yet
  Duration rtt{};     // smoothed; zero: not measured yet
  Duration age{};     // since it was let in
  unsigned worker = 0;
  size_t connections = 0;    // public ones of the agent, in all of its tunnels to this edge
  bool is_draining = false;  // its agent stops
  bool is_silent = false;    // data to it is unanswered
};

}  // namespace culvert::route
