#include "hub/api_counters.h"

namespace culvert::hub {

void report(const ApiCounters& counters, Metrics& metrics) {
  metrics.counter("culvert_hub_declarations_total", "Declarations that were accepted.",
                  counters.declarations);
  metrics.counters("culvert_hub_entry_changes_total",
                   "Changes of their entries that tenants asked for, by result.", "result",
                   {{"stored", counters.entries}, {"refused", counters.entries_refused}});
  metrics.counters("culvert_hub_refused_services_total",
                   "Services that agents declared and were refused, again with each declaration, by kind.",
                   "kind", {{"hostname", counters.refused_hostnames}, {"port", counters.refused_ports}});
  metrics.counters("culvert_hub_refused_requests_total", "Requests that were refused, by reason.", "reason",
                   {
                       {"signature", counters.bad_signatures},
                       {"rate", counters.rate_limited},
                       {"edge_rate", counters.edge_limited},
                       {"source_rate", counters.source_limited},
                       {"operator_key", counters.bad_bearers},
                       {"invalid", counters.invalid},
                       {"instance", counters.other_instance},
                       {"unknown_invite", counters.unknown_invites},
                       {"invite_ended", counters.ended_invites},
                       {"agent_conflict", counters.agent_conflicts},
                       {"lease_limit", counters.lease_limits},
                       {"busy", counters.busy},
                   });
}

}  // namespace culvert::hub
