#pragma once
#include <cstddef>
#include <cstdint>

#include "base/clock.h"

namespace culvert::quic {

// CUBIC (RFC 9438) slows down at every loss; BBR version 3 measures the path, and keeps one with random loss
// busy.
enum class CongestionControl : uint8_t { kCubic, kBbr3 };

// Caps and timeouts of a QUIC endpoint. Every queue a peer can fill is named here.
struct Limits {
  Duration idle_timeout = std::chrono::seconds(30);  // the same as iroh's
  Duration keep_alive = std::chrono::seconds(5);     // NATs forget UDP flows after 30 s at worst
  Duration handshake_timeout = std::chrono::seconds(10);
  // Whether ConnectionObserver::on_silence tells of peers that do not answer data. It sends PINGs to them.
  bool watch_silence = false;

  // What the peer may send on a stream without a reader, and on one that is read. The second is in force
  // once an eighth of it was read, so the first must be larger than that.
  uint64_t initial_stream_window = 320 * 1024;
  uint64_t max_stream_window = 2 * 1024 * 1024;
  // Bytes that arrived and were not consumed. Past the cap the stream whose reader has been idle longest is
  // evicted with overload_code: stalled readers do not stop the others.
  // At most half of EndpointLimits::max_receive_memory in any case.
  uint64_t max_connection_buffered = 64 * 1024 * 1024;
  uint64_t overload_code = 7;
  // For servers whose application looks at new connections before it lets them in: what a peer may send on
  // all streams beyond what was read, until Connection::admit(). Until then it pays first at the endpoint's
  // caps. 0: connections are admitted when they are accepted.
  uint64_t unadmitted_window = 0;
  // Bytes written and not acknowledged.
  uint64_t max_connection_unacknowledged = 8 * 1024 * 1024;
  // Bytes written that the core does not take yet; each stream may add a share of what is left.
  uint64_t max_connection_pending = 16 * 1024 * 1024;

  // Open at once, opened by the peer. Closed ones are given back in groups of an eighth, so that the peer may
  // count on seven eighths.
  uint64_t max_streams_bidi = 1024;
  uint64_t max_streams_uni = 16;
  size_t max_queued_datagrams = 256;               // received ones of a connection; the oldest is dropped
  size_t max_queued_datagram_bytes = 1024 * 1024;  // each way
  bool datagrams = true;                           // false: the peer may send none
  size_t max_udp_payload =
      1452;  // 1500 minus IPv6 and UDP headers; path MTU discovery climbs to it from 1200

  uint32_t max_paths = 8;                                 // 1: no multipath
  uint32_t max_nat_candidates = 32;                       // of the peer; 0: no NAT traversal
  Duration path_idle_timeout = std::chrono::seconds(15);  // with multipath
  Duration path_keep_alive = std::chrono::seconds(5);
  bool send_observed_addresses = false;  // tells peers that ask for it the address that they are seen at
  bool receive_observed_addresses = false;
  CongestionControl congestion_control = CongestionControl::kCubic;
};

// Of each limit the stricter one.
Limits strictest(const Limits& a, const Limits& b);

// Caps of a whole endpoint.
struct EndpointLimits {
  // Bytes that arrived and were not consumed. Past it streams are evicted as at
  // Limits::max_connection_buffered: of peers that are not admitted, then of the connection that buffers
  // most.
  uint64_t max_receive_memory = 512 * 1024 * 1024;
  // Bytes that were written and are not acknowledged: SendBudget shares them.
  uint64_t max_send_memory = 256 * 1024 * 1024;
  size_t max_connections = 65536;
  // Handshakes whose peer's address is not validated; from then on clients get a Retry, which costs no state.
  size_t max_unvalidated = 128;
  // All handshakes; more are refused.
  size_t max_handshakes = 4096;

  // For one of `workers` endpoints that share a machine with so many bytes of memory: an eighth of it for
  // what is received and a sixteenth for what is sent, over all workers.
  static EndpointLimits for_machine(uint64_t memory, unsigned workers);
};

}  // namespace culvert::quic
