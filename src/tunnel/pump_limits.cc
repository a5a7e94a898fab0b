#include "tunnel/pump_limits.h"

namespace culvert::tunnel {

void describe(SettingsBuilder& settings, PumpLimits& limits) {
  settings.add(
      {.name = "idle-timeout",
       .help = "how long a forwarded connection may transfer nothing before it is reset",
       .details =
           "The edge and the agent each have this limit, and the shorter one ends the connection. Raise both "
           "for protocols that stay silent for longer."},
      limits.idle, std::chrono::seconds(1));
  settings.add(
      {.name = "half-open-timeout",
       .help = "the same limit once one direction has ended",
       .details =
           "It also applies once the client or the origin is gone while bytes for the other side wait."},
      limits.half_open, std::chrono::seconds(1));
}

}  // namespace culvert::tunnel
