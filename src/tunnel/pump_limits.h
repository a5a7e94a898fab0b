#pragma once
#include "base/clock.h"
#include "base/settings.h"

namespace culvert::tunnel {

// How long a carried connection may move nothing. Both ends of a tunnel have such limits; the shorter one
// counts.
struct PumpLimits {
  Duration idle = std::chrono::hours(1);
  // After one direction has ended, or the peer of the socket is gone: what rests then is mostly a leak.
  Duration half_open = std::chrono::minutes(5);
};

// Into the section that was chosen.
void describe(SettingsBuilder& settings, PumpLimits& limits);

}  // namespace culvert::tunnel
