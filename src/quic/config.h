#pragma once
#include <cstddef>
#include <cstdint>

#include "base/clock.h"

namespace culvert::quic {

// Caps and timeouts of a QUIC endpoint. Every queue a peer can fill is named here.
struct Limits {
  Duration idle_timeout = std::chrono::seconds(30);  // the same as iroh's
  Duration keep_alive = std::chrono::seconds(5);     // NATs forget UDP flows after 30 s at worst
  Duration handshake_timeout = std::chrono::seconds(10);

  // Receive windows start here and double while a window is used up within two round trips.
  uint64_t initial_stream_window = 256 * 1024;
  uint64_t initial_connection_window = 1024 * 1024;
  uint64_t max_stream_window = 16 * 1024 * 1024;
  uint64_t max_connection_window = 32 * 1024 * 1024;
  // All receive windows of the endpoint beyond the initial ones together; at the cap they stop growing.
  uint64_t max_endpoint_window = 256 * 1024 * 1024;
  // Bytes that arrived and were not consumed. A connection's credit is given on arrival, a stream's on
  // consumption, so stalled readers do not stop the others; past either cap the stream whose reader has stood
  // still longest is given up with overload_code.
  uint64_t max_connection_held = 64 * 1024 * 1024;
  uint64_t max_endpoint_held = 512 * 1024 * 1024;
  uint64_t overload_code = 7;
  // Bytes written and not acknowledged on one connection. Each stream may add a share of what is left of it,
  // at least 4 KiB: streams whose peers stall cannot use it up for the others.
  uint64_t max_send_memory = 24 * 1024 * 1024;

  uint64_t max_streams_bidi = 1024;  // open at once, opened by the peer
  uint64_t max_streams_uni = 16;
  size_t max_queued_datagrams = 256;               // each way, for one connection; the oldest is dropped
  size_t max_queued_datagram_bytes = 1024 * 1024;  // what waits to be received
  size_t max_datagram_frame = 65535;               // 0: the peer may send none
  size_t max_udp_payload = 1452;  // 1500 minus IPv6 and UDP headers; PMTUD climbs to it from 1200

  size_t max_connections = 65536;
  // Handshakes whose peer's address is not validated; from then on clients get a Retry, which costs no state.
  size_t max_unvalidated = 128;
  // All handshakes; more are refused.
  size_t max_handshakes = 4096;
};

}  // namespace culvert::quic
