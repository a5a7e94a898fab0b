#include "agent/counters.h"

namespace culvert::agent {

void Counters::count(const tunnel::PumpResult& result) {
  switch (result.end) {
    case tunnel::PumpEnd::kFinished:
      ++finished;
      return;
    case tunnel::PumpEnd::kSocketReset:
      ++socket_reset;
      return;
    case tunnel::PumpEnd::kStreamReset:
      ++stream_reset;
      return;
    case tunnel::PumpEnd::kConnectionLost:
      ++tunnel_lost;
      return;
    case tunnel::PumpEnd::kIdle:
      ++idle;
      return;
    case tunnel::PumpEnd::kCut:
      ++cut;
      return;
  }
}

void report(const Counters& counters, Metrics& metrics) {
  metrics.counters("culvert_agent_declarations_total", "Declarations to the hub, by their result.", "result",
                   {
                       {"granted", counters.declarations_granted},
                       {"refused", counters.declarations_refused},
                       {"unanswered", counters.declarations_unanswered},
                   });

  metrics.counter("culvert_agent_tunnels_total", "Tunnels that an edge welcomed.", counters.tunnels_opened);
  metrics.counter("culvert_agent_lost_tunnels_total", "Tunnels that closed before the agent stopped.",
                  counters.tunnels_lost);
  metrics.counter("culvert_agent_failed_dials_total", "Attempts to open a tunnel that failed.",
                  counters.dials_failed);

  metrics.counter("culvert_agent_streams_total", "Streams that edges opened.", counters.streams_accepted);
  metrics.counters("culvert_agent_failed_streams_total",
                   "Streams that were refused or did not end cleanly, by reason.", "reason",
                   {
                       {"limit", counters.refused_limit},
                       {"unnamed_edge", counters.refused_edge},
                       {"bad_header", counters.refused_header},
                       {"unknown_service", counters.refused_service},
                       {"origin_unreachable", counters.origin_unreachable},
                       {"origin_timeout", counters.origin_timeout},
                       {"origin_not_trusted", counters.origin_not_trusted},
                       {"origin_lost", counters.origin_lost},
                       {"origin_reset", counters.socket_reset},
                       {"stream_reset", counters.stream_reset},
                       {"tunnel_lost", counters.tunnel_lost},
                       {"idle", counters.idle},
                       {"cut", counters.cut},
                   });
  metrics.counter("culvert_agent_finished_streams_total", "Streams that ended cleanly in both directions.",
                  counters.finished);
  const tunnel::PumpCounters moved = counters.moved.get();
  metrics.counters("culvert_agent_bytes_total", "Bytes that streams have moved so far, by direction.",
                   "direction", {{"to_origin", moved.to_socket}, {"to_edge", moved.to_stream}});

  metrics.counter("culvert_agent_udp_flows_total", "Flows of UDP services that began.", counters.udp_flows);
  metrics.counter("culvert_agent_evicted_udp_flows_total", "Flows that ended to make room for others.",
                  counters.udp_flows_evicted);
  metrics.counters(
      "culvert_agent_udp_datagrams_total", "Datagrams of UDP services, by direction.", "direction",
      {{"to_origin", counters.udp_datagrams_to_origin}, {"to_edge", counters.udp_datagrams_to_edge}});
  metrics.counters("culvert_agent_udp_bytes_total", "Payload of datagrams of UDP services, by direction.",
                   "direction",
                   {{"to_origin", counters.udp_bytes_to_origin}, {"to_edge", counters.udp_bytes_to_edge}});
  metrics.counter("culvert_agent_udp_datagrams_in_streams_total",
                  "Datagrams for edges that were too large for a QUIC datagram.", counters.udp_in_stream);
  metrics.counter("culvert_agent_udp_icmp_errors_total",
                  "Answers of the network that an origin of a UDP service cannot be reached.",
                  counters.udp_refused);
  metrics.counters("culvert_agent_dropped_udp_datagrams_total",
                   "Datagrams of UDP services that were dropped, by reason.", "reason",
                   {
                       {"forgotten_flow", counters.udp_dropped_forgotten},
                       {"unknown_service", counters.udp_dropped_unknown_service},
                       {"waiting", counters.udp_dropped_waiting},
                       {"origin_unresolved", counters.udp_dropped_unresolved},
                       {"no_socket", counters.udp_dropped_no_socket},
                       {"not_sent", counters.udp_dropped_not_sent},
                       {"congestion", counters.udp_dropped_congestion},
                       {"stream_stalled", counters.udp_dropped_stream_stalled},
                       {"malformed", counters.udp_dropped_malformed},
                   });

  metrics.counters("culvert_agent_health_checks_total", "Health checks of origins, by their result.",
                   "result",
                   {{"passed", counters.health_checks.passed}, {"failed", counters.health_checks.failed}});
}

void report(const State& state, Metrics& metrics) {
  metrics.gauge("culvert_agent_lease", "1 while the agent holds a lease, otherwise 0.",
                state.has_lease ? 1 : 0);
  metrics.gauges("culvert_agent_services", "Services of the agent, by whether the hub accepts them.", "state",
                 {{"accepted", state.services_accepted}, {"refused", state.services_refused}});
  metrics.gauge("culvert_agent_unhealthy_services", "Services whose origin does not work now.",
                static_cast<double>(state.services_unhealthy));
  metrics.gauges("culvert_agent_edges", "Edges that the hub names, and those of them with an open tunnel.",
                 "state", {{"named", state.edges_named}, {"connected", state.edges_connected}});
  metrics.gauge("culvert_agent_streams", "Streams that are served now.", static_cast<double>(state.streams));
  metrics.gauge("culvert_agent_udp_flows", "Flows of UDP services that are served now.",
                static_cast<double>(state.udp_flows));
}

}  // namespace culvert::agent
