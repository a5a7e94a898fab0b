#include "sim/timeline.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace culvert::sim {

void Timeline::at(TimePoint when, std::function<void()> action) {
  events_.push({std::max(when, now_), next_order_++, std::move(action)});
}

bool Timeline::step() {
  bool worked = false;
  while (!events_.empty() && events_.top().when <= now_) {
    auto action = std::move(const_cast<Event&>(events_.top()).action);
    events_.pop();
    action();
    worked = true;
  }
  return run_ready() || worked;
}

TimePoint Timeline::next_event() const {
  return std::min(events_.empty() ? TimePoint::max() : events_.top().when, next_ready());
}

bool Timeline::run_until(const std::function<bool()>& condition, Duration limit) {
  const TimePoint end = now_ + limit;
  while (true) {
    // Something that is ready again and again at one moment is a bug, not slowness.
    for (int rounds = 0; step(); ++rounds) CHECK(rounds < 100'000);
    if (condition()) return true;
    const TimePoint next = next_event();
    if (next > end) {
      now_ = end;
      return false;
    }
    now_ = std::max(now_, next);
    on_advanced();
  }
}

void Timeline::run_for(Duration time) {
  run_until([] { return false; }, time);
}

}  // namespace culvert::sim
