#pragma once
#include <cstdint>

#include "base/metrics.h"

namespace culvert::quic {

struct EngineCounters {
  uint64_t datagrams_received = 0;
  uint64_t datagrams_dropped = 0;    // malformed, or of no connection that we know
  uint64_t handshakes_started = 0;   // by peers
  uint64_t handshakes_refused = 0;   // at a cap
  uint64_t handshakes_rejected = 0;  // by TLS, in the client's first packet
  uint64_t handshakes_failed = 0;    // later
  uint64_t retries_sent = 0;
  uint64_t keys_verified = 0;   // signatures of peers; resumed handshakes do without
  uint64_t stateless_sent = 0;  // version negotiations and stateless resets
  // Streams that were reset because of what they buffered: at EndpointLimits::max_receive_memory,
  // at Limits::max_connection_buffered, and for small unread frames.
  uint64_t evicted_endpoint_full = 0;
  uint64_t evicted_connection_full = 0;
  uint64_t evicted_small_frames = 0;
  // For want of EndpointLimits::max_send_memory: streams that were reset, and connections that were closed
  // because their peer acknowledged nothing.
  uint64_t evicted_senders = 0;
  uint64_t evicted_connections = 0;
  uint64_t receive_memory = 0;            // bytes, now
  uint64_t send_memory = 0;               // bytes, now
  uint64_t unread_datagrams_dropped = 0;  // RFC 9221: the application did not take them in time
  uint64_t core_faults = 0;               // bugs of the QUIC core that ended a connection
};

void report(const EngineCounters& counters, Metrics& metrics);

}  // namespace culvert::quic
