#include "agent/counters.h"

namespace culvert::agent {

void Counters::count(const tunnel::PumpResult& result) {
  bytes_to_edge += result.bytes.to_stream;
  bytes_to_origin += result.bytes.to_socket;
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
  const auto declared = [&](std::string_view result, uint64_t count) {
    metrics.counter("culvert_agent_declarations_total", "Declarations to the hub, by their result.", count,
                    {{"result", result}});
  };
  declared("granted", counters.declarations_granted);
  declared("refused", counters.declarations_refused);
  declared("unanswered", counters.declarations_unanswered);

  metrics.counter("culvert_agent_tunnels_total", "Tunnels that an edge welcomed.", counters.tunnels_opened);
  metrics.counter("culvert_agent_lost_tunnels_total", "Tunnels that closed before the agent stopped.",
                  counters.tunnels_lost);
  metrics.counter("culvert_agent_failed_dials_total", "Attempts to open a tunnel that failed.",
                  counters.dials_failed);

  metrics.counter("culvert_agent_streams_total", "Streams that edges opened.", counters.streams_accepted);
  const auto failed = [&](std::string_view reason, uint64_t count) {
    metrics.counter("culvert_agent_failed_streams_total",
                    "Streams that were refused or did not end cleanly, by reason.", count,
                    {{"reason", reason}});
  };
  failed("limit", counters.refused_limit);
  failed("unnamed_edge", counters.refused_edge);
  failed("bad_header", counters.refused_header);
  failed("unknown_service", counters.refused_service);
  failed("origin_unreachable", counters.origin_unreachable);
  failed("origin_timeout", counters.origin_timeout);
  failed("origin_lost", counters.origin_lost);
  failed("origin_reset", counters.socket_reset);
  failed("stream_reset", counters.stream_reset);
  failed("tunnel_lost", counters.tunnel_lost);
  failed("idle", counters.idle);
  failed("cut", counters.cut);
  metrics.counter("culvert_agent_finished_streams_total", "Streams that ended cleanly in both directions.",
                  counters.finished);
  constexpr std::string_view kBytes = "culvert_agent_bytes_total";
  constexpr std::string_view kBytesHelp = "Bytes of streams that have ended, by direction.";
  metrics.counter(kBytes, kBytesHelp, counters.bytes_to_origin, {{"direction", "to_origin"}});
  metrics.counter(kBytes, kBytesHelp, counters.bytes_to_edge, {{"direction", "to_edge"}});
}

void report(const State& state, Metrics& metrics) {
  metrics.gauge("culvert_agent_lease", "1 while the agent holds a lease, otherwise 0.",
                state.has_lease ? 1 : 0);
  const auto services = [&](std::string_view which, size_t count) {
    metrics.gauge("culvert_agent_services", "Services of the agent, by whether the hub accepts them.",
                  static_cast<double>(count), {{"state", which}});
  };
  services("accepted", state.services_accepted);
  services("refused", state.services_refused);
  const auto edges = [&](std::string_view which, size_t count) {
    metrics.gauge("culvert_agent_edges", "Edges that the hub names, and those of them with an open tunnel.",
                  static_cast<double>(count), {{"state", which}});
  };
  edges("named", state.edges_named);
  edges("connected", state.edges_connected);
  metrics.gauge("culvert_agent_streams", "Streams that are served now.", static_cast<double>(state.streams));
}

}  // namespace culvert::agent
