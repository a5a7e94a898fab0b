#pragma once
#include <chrono>
#include <functional>

// The one place that asks the system for the time. Protocol code is handed a TimePoint; everything that has a
// loop asks the loop (net::EventLoop::now), so that it runs in simulated time as well.
namespace culvert {

using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;
using UnixTime = std::chrono::sys_time<std::chrono::seconds>;

TimePoint monotonic_now();
UnixTime unix_now();

// Wall time as a dependency, for what compares dates: signatures, expiries, certificates.
using WallClock = std::function<UnixTime()>;

}  // namespace culvert
