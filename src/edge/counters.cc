#include "edge/counters.h"

namespace culvert::edge {

void report(const Counters& counters, Metrics& metrics) {
  const auto total = [&](std::string_view name, std::string_view help, const Counters::Count& count,
                         Metrics::Labels labels = {}) {
    metrics.counter(name, help, count.load(std::memory_order_relaxed), labels);
  };
  metrics.gauge("culvert_edge_connections", "Public connections open now.",
                static_cast<double>(counters.connections_active.load(std::memory_order_relaxed)));
  total("culvert_edge_connections_total", "Public connections accepted.", counters.connections_accepted);
  total("culvert_edge_hub_connections_total", "Public connections handed to the hub.",
        counters.connections_to_hub);
  total("culvert_edge_moved_connections_total",
        "Public connections that moved to the worker that has the tunnel.", counters.connections_moved);
  total("culvert_edge_rechecked_connections_total",
        "Open connections that were looked at because their route changed.", counters.connections_rechecked);
  total("culvert_edge_streams_total", "Connections that an agent took.", counters.streams_carried);
  total("culvert_edge_retried_streams_total", "Streams opened after another agent did not answer.",
        counters.streams_retried);
  constexpr std::string_view kBytes = "culvert_edge_bytes_total";
  constexpr std::string_view kBytesHelp = "Bytes of streams that have ended, by direction.";
  total(kBytes, kBytesHelp, counters.bytes_to_origin, {{"direction", "to_origin"}});
  total(kBytes, kBytesHelp, counters.bytes_to_client, {{"direction", "to_client"}});

  const auto refused = [&](std::string_view reason, const Counters::Count& count) {
    total("culvert_edge_refused_connections_total", "Public connections that were refused or cut, by reason.",
          count, {{"reason", reason}});
  };
  refused("max_connections", counters.refused_max_connections);
  refused("max_hellos", counters.refused_max_hellos);
  refused("tenant_full", counters.refused_tenant_full);
  refused("hub_full", counters.refused_hub_full);
  refused("source_full", counters.dropped_source_full);
  refused("hello_timeout", counters.refused_hello_timeout);
  refused("not_tls", counters.refused_not_tls);
  refused("plain_http", counters.refused_plain_http);
  refused("certificate", counters.refused_certificate);
  refused("unknown_hostname", counters.refused_unknown_hostname);
  refused("no_agent", counters.refused_no_agent);
  refused("stream_limit", counters.refused_stream_limit);
  refused("stalled_client", counters.stalled_clients_cut);
  refused("agent", counters.refused_by_agent);
  refused("tls_handshake", counters.failed_tls_handshake);

  metrics.gauge("culvert_edge_tunnels", "Tunnels of agents open now.",
                static_cast<double>(counters.tunnels_active.load(std::memory_order_relaxed)));
  total("culvert_edge_tunnels_total", "Tunnels accepted.", counters.tunnels_accepted);
  total("culvert_edge_suspected_tunnels_total", "Times that a tunnel left data unanswered.",
        counters.tunnels_suspected);
  total("culvert_edge_silent_tunnels_total", "Tunnels closed because they left data unanswered.",
        counters.tunnels_closed_silent);
  const auto refused_tunnel = [&](std::string_view reason, const Counters::Count& count) {
    total("culvert_edge_refused_tunnels_total", "Tunnels that were refused, by reason.", count,
          {{"reason", reason}});
  };
  refused_tunnel("hello", counters.refused_tunnel_hello);
  refused_tunnel("no_lease", counters.refused_tunnel_no_lease);
  refused_tunnel("limit", counters.refused_tunnel_limit);
}

}  // namespace culvert::edge
