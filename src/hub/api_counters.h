#pragma once
#include <cstdint>

#include "base/metrics.h"

namespace culvert::hub {

// What the API has done and refused since the hub was opened. Of the hub's loop.
struct ApiCounters {
  uint64_t declarations = 0;    // accepted
  uint64_t bad_signatures = 0;  // of declarations, and wrong keys, secrets, replays
  uint64_t rate_limited = 0;    // of an invite or a lease
  uint64_t source_limited = 0;  // of a source, without a look at the signature
  uint64_t bad_bearers = 0;
};

void report(const ApiCounters& counters, Metrics& metrics);

}  // namespace culvert::hub
