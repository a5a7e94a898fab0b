#include "base/clock.h"

namespace culvert {

TimePoint monotonic_now() { return std::chrono::steady_clock::now(); }

UnixTime unix_now() { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); }

const Clock& system_clock() {
  class SystemClock final : public Clock {
    TimePoint now() const override { return monotonic_now(); }
    UnixTime unix_now() const override { return culvert::unix_now(); }
  };
  static const SystemClock clock;
  return clock;
}

}  // namespace culvert
