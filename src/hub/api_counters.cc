#include "hub/api_counters.h"

namespace culvert::hub {

void report(const ApiCounters& counters, Metrics& metrics) {
  metrics.counter("culvert_hub_declarations_total", "Declarations that were accepted.",
                  counters.declarations);
  const auto refused = [&](std::string_view reason, uint64_t count) {
    metrics.counter("culvert_hub_refused_requests_total", "Requests that were refused, by reason.", count,
                    {{"reason", reason}});
  };
  refused("signature", counters.bad_signatures);
  refused("rate", counters.rate_limited);
  refused("source_rate", counters.source_limited);
  refused("operator_key", counters.bad_bearers);
  refused("invalid", counters.invalid);
  refused("unknown_invite", counters.unknown_invites);
  refused("invite_ended", counters.ended_invites);
  refused("agent_conflict", counters.agent_conflicts);
  refused("lease_limit", counters.lease_limits);
  refused("busy", counters.busy);
}

}  // namespace culvert::hub
