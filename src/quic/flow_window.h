#pragma once
#include <cstdint>

#include "base/clock.h"

namespace culvert::quic {

// What all receive windows of an endpoint may take together beyond their initial size.
class WindowBudget {
 public:
  explicit WindowBudget(uint64_t limit) : left_(limit) {}
  // Up to `wanted`, possibly 0.
  uint64_t take(uint64_t wanted);
  void give_back(uint64_t amount) { left_ += amount; }
  uint64_t left() const { return left_; }

 private:
  uint64_t left_;
};

// The receive window of one stream or connection. It doubles while the application uses more than half of it
// within two round trips (the sender, not the reader, is then what waits), up to a cap and as far as the
// budget goes.
class FlowWindow {
 public:
  FlowWindow(uint64_t initial, uint64_t cap) : initial_(initial), size_(initial), cap_(cap) {}

  // The application consumed `bytes`; returns how many bytes the window grows by.
  uint64_t consumed(uint64_t bytes, TimePoint now, Duration round_trip, WindowBudget& budget);
  // Returns what was taken from the budget.
  void release(WindowBudget& budget);
  uint64_t size() const { return size_; }

 private:
  uint64_t initial_;
  uint64_t size_;
  uint64_t cap_;
  uint64_t used_ = 0;  // since epoch_
  TimePoint epoch_{};
};

}  // namespace culvert::quic
