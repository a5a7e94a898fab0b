#include "base/clock.h"

namespace culvert {

TimePoint monotonic_now() { return std::chrono::steady_clock::now(); }

UnixTime unix_now() { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); }

}  // namespace culvert
