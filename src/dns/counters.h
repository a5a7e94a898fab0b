#pragma once
#include <cstdint>

#include "base/metrics.h"

namespace culvert::dns {

// What an Authority answered since it began. Of its thread.
struct AnswerCounters {
  uint64_t answered = 0;  // with records
  uint64_t empty = 0;     // the name has none of the type
  uint64_t no_such_name = 0;
  uint64_t refused = 0;  // not of our zones, another class, or a transfer
  uint64_t format_error = 0;
  uint64_t not_implemented = 0;  // another opcode
  uint64_t bad_version = 0;      // of EDNS
  uint64_t unknown_key = 0;      // signed: this server shares a key with nobody
  uint64_t ignored = 0;          // no complete header, or an answer
};

// What a Server did since it began. Of its thread.
struct ServerCounters {
  uint64_t udp_queries = 0;
  uint64_t tcp_queries = 0;
  uint64_t limited_truncated = 0;  // over the rate of its source, sent to TCP
  uint64_t limited_dropped = 0;    // over the rate of its source, not answered
  uint64_t dropped_size = 0;       // longer than any query, or from port 0, which takes no answer
  uint64_t dropped_blocked = 0;    // the socket took no more
  uint64_t truncated = 0;          // did not fit UDP
  uint64_t connections = 0;        // open now
  uint64_t accepted = 0;
  uint64_t refused_source_full = 0;  // connections of a source that has too many
  uint64_t evicted = 0;              // the oldest, when there were too many
  uint64_t cut_timeout = 0;          // no complete query in time, or the client did not read
  uint64_t cut_malformed = 0;        // a length that no query has
};

void report(const AnswerCounters& counters, Metrics& metrics);
void report(const ServerCounters& counters, Metrics& metrics);

}  // namespace culvert::dns
