#include "edge/shared.h"

namespace culvert::edge {

size_t Shared::scarce_connections() const {
  using enum Overload::Resource;
  if (overload.state(kMemory) >= OverloadState::kShedding)
    return counters.connections_active.load(std::memory_order_relaxed);
  return overload.state(kConnections) >= OverloadState::kShedding ? options.get()->max_connections : 0;
}

void Shared::follow_own_limits(const route::Delta& changes) {
  for (const route::Route& changed : changes.upserts) {
    tenants.set_own(changed.tenant, own_connections(changed.own_limits));
    flows.set_own(changed.tenant, own_flows(changed.own_limits));
  }
}

void Shared::watch_overload() {
  const auto now = options.get();
  const size_t most_memory = now->max_memory.value_or(machine_memory / 4 * 3);
  overload.update({{{counters.connections_active.load(std::memory_order_relaxed), now->max_connections},
                    {unserved.size(), unserved.limits().total},
                    {most_memory == 0 ? 0 : config.memory_in_use(), most_memory}}});
}

}  // namespace culvert::edge
