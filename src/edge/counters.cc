#include "edge/counters.h"

namespace culvert::edge {

void report(const Counters& counters, const tunnel::PumpCounters& moved, Metrics& metrics) {
  metrics.gauge("culvert_edge_connections", "Public connections open now.",
                static_cast<double>(counters.connections_active.load(std::memory_order_relaxed)));
  metrics.counter("culvert_edge_connections_total", "Public connections accepted.",
                  counters.connections_accepted);
  metrics.counter("culvert_edge_hub_connections_total", "Public connections handed to the hub.",
                  counters.connections_to_hub);
  metrics.counter("culvert_edge_answered_challenges_total",
                  "Challenges of certificate authorities that were answered.", counters.challenges_answered);
  metrics.counter("culvert_edge_forwarded_challenges_total",
                  "Challenges of certificate authorities on port 80 that were given to agents of passthrough "
                  "hostnames.",
                  counters.challenges_forwarded);
  metrics.counter("culvert_edge_redirects_total", "Plain HTTP requests that were sent to HTTPS.",
                  counters.redirected);
  metrics.counter("culvert_edge_moved_connections_total",
                  "Public connections that moved to the worker that has the tunnel.",
                  counters.connections_moved);
  metrics.counter("culvert_edge_rechecked_connections_total",
                  "Open connections that were looked at because their route changed.",
                  counters.connections_rechecked);
  metrics.gauge("culvert_edge_ports", "Ports of routes that the edge listens on now.",
                static_cast<double>(counters.ports_open.load(std::memory_order_relaxed)));
  metrics.gauge("culvert_edge_failed_ports", "Ports of routes that cannot be bound now.",
                static_cast<double>(counters.ports_failed.load(std::memory_order_relaxed)));
  metrics.counter("culvert_edge_streams_total", "Connections that an agent took.", counters.streams_carried);
  metrics.counter("culvert_edge_retried_streams_total", "Streams opened after another agent did not answer.",
                  counters.streams_retried);
  metrics.counter("culvert_edge_failed_origins_total",
                  "Connections given to another agent because an agent's origin did not work.",
                  counters.origins_failed);
  metrics.counters("culvert_edge_bytes_total", "Bytes that streams have moved so far, by direction.",
                   "direction", {{"to_origin", moved.to_stream}, {"to_client", moved.to_socket}});

  metrics.counters("culvert_edge_refused_connections_total",
                   "Public connections that were refused or cut, by reason.", "reason",
                   {
                       {"max_connections", counters.refused_max_connections},
                       {"max_hellos", counters.refused_max_hellos},
                       {"tenant_full", counters.refused_tenant_full},
                       {"tenant_rate", counters.refused_tenant_rate},
                       {"client_full", counters.refused_client_full},
                       {"client_rate", counters.refused_client_rate},
                       {"connection_rate", counters.refused_connection_rate},
                       {"overload", counters.refused_overload},
                       {"hub_full", counters.refused_hub_full},
                       {"source_full", counters.dropped_source_full},
                       {"hello_timeout", counters.refused_hello_timeout},
                       {"not_tls", counters.refused_not_tls},
                       {"plain_http", counters.refused_plain_http},
                       {"proxy_header", counters.refused_proxy_header},
                       {"certificate", counters.refused_certificate},
                       {"unknown_hostname", counters.refused_unknown_hostname},
                       {"no_agent", counters.refused_no_agent},
                       {"suspended", counters.refused_suspended},
                       {"stream_limit", counters.refused_stream_limit},
                       {"stalled_client", counters.stalled_clients_cut},
                       {"agent", counters.refused_by_agent},
                       {"tls_handshake", counters.failed_tls_handshake},
                   });
  metrics.counter("culvert_edge_cut_proxy_headers_total",
                  "PROXY headers of trusted proxies with more TLVs than go on to the origin.",
                  counters.proxy_tlvs_cut);

  metrics.gauge("culvert_edge_udp_flows", "Flows of UDP ports: client addresses that send to one.",
                static_cast<double>(counters.udp_flows_active.load(std::memory_order_relaxed)));
  metrics.counter("culvert_edge_udp_flows_total", "Flows of UDP ports that began.", counters.udp_flows);
  metrics.counter("culvert_edge_evicted_udp_flows_total", "Flows that ended to make room for others.",
                  counters.udp_flows_evicted);
  metrics.counter("culvert_edge_moved_udp_flows_total", "Flows that went to another agent when theirs left.",
                  counters.udp_flows_moved);
  metrics.counters(
      "culvert_edge_udp_datagrams_total", "Datagrams of UDP ports, by direction.", "direction",
      {{"to_origin", counters.udp_datagrams_to_origin}, {"to_client", counters.udp_datagrams_to_client}});
  metrics.counters(
      "culvert_edge_udp_bytes_total", "Payload of datagrams of UDP ports, by direction.", "direction",
      {{"to_origin", counters.udp_bytes_to_origin}, {"to_client", counters.udp_bytes_to_client}});
  metrics.counter(
      "culvert_edge_udp_datagrams_in_streams_total",
      "Datagrams for agents that did not go as QUIC datagrams: too large, or the first of a port.",
      counters.udp_in_stream);
  metrics.counters("culvert_edge_dropped_udp_datagrams_total",
                   "Datagrams of UDP ports that were dropped, by reason.", "reason",
                   {
                       {"suspended", counters.udp_dropped_suspended},
                       {"no_agent", counters.udp_dropped_no_agent},
                       {"bandwidth", counters.udp_dropped_bandwidth},
                       {"new_flow_rate", counters.udp_dropped_rate},
                       {"flows_full", counters.udp_dropped_full},
                       {"spoofed", counters.udp_dropped_spoofed},
                       {"no_channel", counters.udp_dropped_no_channel},
                       {"congestion", counters.udp_dropped_congestion},
                       {"stream_stalled", counters.udp_dropped_stream_stalled},
                       {"worker_behind", counters.udp_dropped_worker_behind},
                       {"not_sent", counters.udp_dropped_not_sent},
                       {"unknown_flow", counters.udp_dropped_unknown_flow},
                       {"malformed", counters.udp_dropped_malformed},
                   });

  metrics.gauge("culvert_edge_tunnels", "Tunnels of agents open now.",
                static_cast<double>(counters.tunnels_active.load(std::memory_order_relaxed)));
  metrics.counter("culvert_edge_tunnels_total", "Tunnels accepted.", counters.tunnels_accepted);
  metrics.counter("culvert_edge_suspected_tunnels_total", "Times that a tunnel left data unanswered.",
                  counters.tunnels_suspected);
  metrics.counter("culvert_edge_silent_tunnels_total", "Tunnels closed because they left data unanswered.",
                  counters.tunnels_closed_silent);
  metrics.gauge(
      "culvert_edge_unhealthy_services",
      "Services that do not work now, as the agents say that have them; one of several agents counts for "
      "each.",
      static_cast<double>(counters.services_unhealthy.load(std::memory_order_relaxed)));
  metrics.counter("culvert_edge_failed_services_total",
                  "Times that an agent said that a service stopped working.", counters.services_failed);
  metrics.counters("culvert_edge_refused_tunnels_total", "Tunnels that were refused, by reason.", "reason",
                   {
                       {"hello", counters.refused_tunnel_hello},
                       {"no_lease", counters.refused_tunnel_no_lease},
                       {"limit", counters.refused_tunnel_limit},
                   });
}

}  // namespace culvert::edge
