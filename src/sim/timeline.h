#pragma once
#include <cstdint>
#include <functional>
#include <queue>
#include <tuple>
#include <vector>

#include "base/clock.h"

namespace culvert::sim {

// Tests only: simulated time. It stands still while anything is ready to run, and then jumps to the next
// moment at which something happens.
class Timeline {
 public:
  Timeline() = default;
  Timeline(const Timeline&) = delete;

  TimePoint now() const { return now_; }
  // Calls `action` at that moment, or at the next step when it is past; those of one moment in their order.
  void at(TimePoint when, std::function<void()> action);
  void after(Duration delay, std::function<void()> action) { at(now_ + delay, std::move(action)); }

  // Runs until the condition holds; false when `limit` of simulated time went by first.
  bool run_until(const std::function<bool()>& condition, Duration limit);
  void run_for(Duration time);

 protected:
  ~Timeline() = default;

 private:
  struct Event {
    TimePoint when;
    uint64_t order;
    std::function<void()> action;
    bool operator<(const Event& other) const {
      return std::tie(other.when, other.order) < std::tie(when, order);
    }
  };

  // Runs what is ready at now() beside the events. False: nothing was.
  virtual bool run_ready() = 0;
  // When something is ready next, beside the events.
  virtual TimePoint next_ready() const = 0;
  // now() is a later moment.
  virtual void on_advanced() {}

  bool step();
  TimePoint next_event() const;

  TimePoint now_{std::chrono::hours(1)};
  std::priority_queue<Event> events_;
  uint64_t next_order_ = 0;
};

}  // namespace culvert::sim
