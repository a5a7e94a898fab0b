#include "quic/config.h"

#include <algorithm>

namespace culvert::quic {

Limits strictest(const Limits& a, const Limits& b) {
  // 0 is no limit of its own.
  auto unadmitted = std::minmax(a.unadmitted_window, b.unadmitted_window);
  return {.idle_timeout = std::min(a.idle_timeout, b.idle_timeout),
          .keep_alive = std::min(a.keep_alive, b.keep_alive),
          .handshake_timeout = std::min(a.handshake_timeout, b.handshake_timeout),
          .watch_silence = a.watch_silence || b.watch_silence,
          .initial_stream_window = std::min(a.initial_stream_window, b.initial_stream_window),
          .max_stream_window = std::min(a.max_stream_window, b.max_stream_window),
          .max_connection_buffered = std::min(a.max_connection_buffered, b.max_connection_buffered),
          .overload_code = a.overload_code,
          .unadmitted_window = unadmitted.first > 0 ? unadmitted.first : unadmitted.second,
          .max_connection_unacknowledged =
              std::min(a.max_connection_unacknowledged, b.max_connection_unacknowledged),
          .max_connection_pending = std::min(a.max_connection_pending, b.max_connection_pending),
          .max_streams_bidi = std::min(a.max_streams_bidi, b.max_streams_bidi),
          .max_streams_uni = std::min(a.max_streams_uni, b.max_streams_uni),
          .max_queued_datagrams = std::min(a.max_queued_datagrams, b.max_queued_datagrams),
          .max_queued_datagram_bytes = std::min(a.max_queued_datagram_bytes, b.max_queued_datagram_bytes),
          .datagrams = a.datagrams && b.datagrams,
          .max_udp_payload = std::min(a.max_udp_payload, b.max_udp_payload),
          .max_paths = std::min(a.max_paths, b.max_paths),
          .max_nat_candidates = std::min(a.max_nat_candidates, b.max_nat_candidates),
          .path_idle_timeout = std::min(a.path_idle_timeout, b.path_idle_timeout),
          .path_keep_alive = std::min(a.path_keep_alive, b.path_keep_alive),
          .send_observed_addresses = a.send_observed_addresses && b.send_observed_addresses,
          .receive_observed_addresses = a.receive_observed_addresses && b.receive_observed_addresses,
          .congestion_control = a.congestion_control};
}

EndpointLimits EndpointLimits::for_machine(uint64_t memory, unsigned workers) {
  constexpr uint64_t kMiB = 1024 * 1024;
  // Below these nothing works well, above them a machine has better use for its memory.
  constexpr uint64_t kLeastReceive = 32 * kMiB;
  constexpr uint64_t kMostReceive = 1024 * kMiB;
  constexpr uint64_t kLeastSend = 16 * kMiB;
  constexpr uint64_t kMostSend = 512 * kMiB;
  EndpointLimits limits;
  limits.max_receive_memory = std::clamp(memory / 8, kLeastReceive, kMostReceive) / workers;
  limits.max_send_memory = std::clamp(memory / 16, kLeastSend, kMostSend) / workers;
  return limits;
}

}  // namespace culvert::quic
