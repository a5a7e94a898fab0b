#include "quic/flow_window.h"

#include <algorithm>

namespace culvert::quic {

uint64_t WindowBudget::take(uint64_t wanted) {
  uint64_t taken = std::min(wanted, left_);
  left_ -= taken;
  return taken;
}

uint64_t FlowWindow::consumed(uint64_t bytes, TimePoint now, Duration round_trip, WindowBudget& budget) {
  if (epoch_ == TimePoint{}) epoch_ = now;
  used_ += bytes;
  if (used_ < size_ / 2) return 0;

  // Using the whole window in two round trips is the rate at which the window itself begins to limit the
  // sender.
  double share = static_cast<double>(used_) / static_cast<double>(size_);
  bool fast =
      static_cast<double>((now - epoch_).count()) < 2 * share * static_cast<double>(round_trip.count());
  used_ = 0;
  epoch_ = now;
  if (!fast || size_ >= cap_) return 0;
  uint64_t growth = budget.take(std::min(size_, cap_ - size_));
  size_ += growth;
  return growth;
}

void FlowWindow::release(WindowBudget& budget) {
  budget.give_back(size_ - initial_);
  size_ = initial_;
}

}  // namespace culvert::quic
