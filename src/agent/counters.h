#pragma once
#include <cstddef>
#include <cstdint>

#include "base/metrics.h"
#include "origin/health_checks.h"
#include "tunnel/pump.h"

namespace culvert::agent {

// What an agent has done since it started. Of its loop; each part of the agent counts its own.
struct Counters {
  // Of the lease keeper. A declaration that was granted may still have refused services.
  uint64_t declarations_granted = 0;
  uint64_t declarations_refused = 0;
  uint64_t declarations_unanswered = 0;  // no hub answered, or none could serve it

  // Of the links to edges.
  uint64_t tunnels_opened = 0;  // welcomed
  uint64_t tunnels_lost = 0;    // closed before the agent stopped, drained ones included
  uint64_t dials_failed = 0;

  // Of the stream server. Each accepted stream ends in one of the others, but not the channel of a UDP port.
  uint64_t streams_accepted = 0;
  uint64_t refused_limit = 0;
  uint64_t refused_edge = 0;  // the hub no longer names the edge
  uint64_t refused_header = 0;
  uint64_t refused_service = 0;  // none with this hostname and mode
  uint64_t origin_unreachable = 0;
  uint64_t origin_timeout = 0;
  uint64_t origin_not_trusted = 0;  // its certificate
  uint64_t origin_lost = 0;         // before it had taken the first bytes
  uint64_t finished = 0;
  uint64_t socket_reset = 0;
  uint64_t stream_reset = 0;
  uint64_t tunnel_lost = 0;
  uint64_t idle = 0;
  uint64_t cut = 0;
  tunnel::MovedBytes moved;  // to edges, and to origins

  // Of the UDP server.
  uint64_t udp_flows = 0;
  uint64_t udp_flows_evicted = 0;  // for want of room
  uint64_t udp_datagrams_to_origin = 0;
  uint64_t udp_datagrams_to_edge = 0;
  uint64_t udp_bytes_to_origin = 0;
  uint64_t udp_bytes_to_edge = 0;
  uint64_t udp_in_stream = 0;          // too large for a QUIC datagram
  uint64_t udp_refused = 0;            // ICMP errors from origins
  uint64_t udp_dropped_forgotten = 0;  // of a flow that has ended here; the edge tells its client again
  uint64_t udp_dropped_unknown_service = 0;
  uint64_t udp_dropped_waiting = 0;         // too many before the origin's name was resolved
  uint64_t udp_dropped_unresolved = 0;      // flows: the origin's name was not
  uint64_t udp_dropped_no_socket = 0;       // attempts: the system gave none
  uint64_t udp_dropped_not_sent = 0;        // a socket did not take it
  uint64_t udp_dropped_congestion = 0;      // more than the tunnel takes
  uint64_t udp_dropped_stream_stalled = 0;  // a long one, while the edge reads none
  uint64_t udp_dropped_malformed = 0;       // from an edge, or of no channel

  origin::HealthCheckCounters health_checks;

  void count(const tunnel::PumpResult& result);
};

// What is so at one moment.
struct State {
  bool has_lease = false;
  size_t services_accepted = 0;
  size_t services_refused = 0;  // all of them without a lease
  size_t services_unhealthy = 0;
  size_t edges_named = 0;
  size_t edges_connected = 0;
  size_t streams = 0;
  size_t udp_flows = 0;
};

void report(const Counters& counters, Metrics& metrics);
void report(const State& state, Metrics& metrics);

}  // namespace culvert::agent
