#pragma once
#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/clock.h"

namespace culvert {

// Token bucket: `burst` at once, then one more each `interval`; without an interval there is no limit, also
// when the times of several threads come out of order. Used to keep unauthenticated peers from filling logs
// and tables.
class RateLimit {
 public:
  RateLimit(uint32_t burst, Duration interval) : interval_(interval), window_(interval * burst) {}

  // True when one more is allowed at `now`; counts the refusals in between.
  bool allow(TimePoint now) {
    if (is_unlimited()) return true;
    TimePoint earliest = now - window_;
    if (next_ < earliest) next_ = earliest;
    if (next_ + interval_ > now) {
      ++refused_;
      return false;
    }
    next_ += interval_;
    return true;
  }

  // What allow() would say; counts nothing.
  bool would_allow(TimePoint now) const {
    return is_unlimited() || std::max(next_, now - window_) + interval_ <= now;
  }

  // It would allow a whole burst, as one that was never used.
  bool is_rested(TimePoint now) const { return next_ <= now - window_; }

  // Refusals since the last call; for "and N more like it".
  uint64_t take_refused() { return std::exchange(refused_, 0); }

 private:
  bool is_unlimited() const { return interval_ == Duration::zero(); }

  Duration interval_;
  Duration window_;
  TimePoint next_ = TimePoint::min() + std::chrono::hours(1);
  uint64_t refused_ = 0;
};

}  // namespace culvert
