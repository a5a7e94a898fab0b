#include "tunnel/pump_limits.h"

namespace culvert::tunnel {

void describe(SettingsBuilder& settings, PumpLimits& limits) {
  settings.add(
      {.name = "idle-timeout",
       .help = "for a carried connection to move nothing",
       .details = "The edge and the agent each have this limit; the shorter one counts. Raise both for "
                  "protocols that stay silent for longer."},
      limits.idle, std::chrono::seconds(1));
  settings.add(
      {.name = "half-open-timeout",
       .help = "the same after one side has ended",
       .details = "Also after the client or the origin is gone while bytes for the other side wait."},
      limits.half_open, std::chrono::seconds(1));
}

}  // namespace culvert::tunnel
