#pragma once
#include <cstdint>

#include "base/metrics.h"

namespace culvert::hub {

// What the API has done and refused since the hub was opened. Of the hub's loop.
struct ApiCounters {
  uint64_t declarations = 0;    // accepted
  uint64_t bad_signatures = 0;  // of declarations, and wrong keys, secrets, replays
  uint64_t rate_limited = 0;    // of a tenant: its invite, one of its leases, its entries
  uint64_t edge_limited = 0;    // of an edge
  uint64_t source_limited = 0;  // of a source, without a look at the signature
  uint64_t bad_bearers = 0;
  // Refused declarations whose signature and rate were right, or were not looked at yet.
  uint64_t invalid = 0;         // could not be decoded
  uint64_t other_instance = 0;  // signed for another one than this
  uint64_t unknown_invites = 0;
  uint64_t ended_invites = 0;    // revoked or expired
  uint64_t agent_conflicts = 0;  // the agent id has a lease of another invite
  uint64_t lease_limits = 0;     // the invite has as many leases as it may
  uint64_t entries = 0;          // changes of tenants' entries
  uint64_t entries_refused = 0;
  uint64_t refused_hostnames = 0;  // of declarations that were accepted
  uint64_t refused_ports = 0;
  uint64_t busy = 0;  // the store or the replay guard could not be asked
};

void report(const ApiCounters& counters, Metrics& metrics);

}  // namespace culvert::hub
