#pragma once
#include <chrono>

// The one place that asks the system for the time; everything else is handed a TimePoint or one of these
// clocks.
namespace culvert {

using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;
using UnixTime = std::chrono::sys_time<std::chrono::seconds>;

TimePoint monotonic_now();
UnixTime unix_now();

// Wall time as a dependency, for what compares dates: signatures, expiries, certificates.
using WallClock = UnixTime (*)();

}  // namespace culvert
