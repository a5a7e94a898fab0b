#include "quic/send_budget.h"

#include <algorithm>

#include "base/check.h"

namespace culvert::quic {

// Before the share's parts are changed.
void SendBudget::take(Share& share, uint64_t bytes) {
  CHECK(bytes <= free_);
  if (share.total() == 0 && bytes > 0) ++users_;
  free_ -= bytes;
}

// After the share's parts were changed.
void SendBudget::give_back(Share& share, uint64_t bytes) {
  free_ += bytes;
  if (share.total() == 0 && bytes > 0) --users_;
}

uint64_t SendBudget::grow(Share& share, uint64_t wanted, uint64_t max_window) {
  const uint64_t enough = std::max(2 * share.window, share.window + wanted);
  const uint64_t aim = std::min(enough + kStep - 1, max_window) / kStep * kStep;
  if (aim <= share.window) return 0;
  const uint64_t allowed = left_for(share.window) / kStep * kStep;
  if (aim - share.window > allowed) is_short_ = true;
  const uint64_t extra = std::min(aim - share.window, allowed);
  if (extra == 0) return 0;
  take(share, extra);
  if (share.window > 0) {
    by_age_.splice(by_age_.end(), by_age_, share.place);
  } else {
    share.place = by_age_.insert(by_age_.end(), &share);
  }
  share.window += extra;
  return extra;
}

void SendBudget::shrink(Share& share, uint64_t window) {
  CHECK(window < share.window && window % kStep == 0);
  const uint64_t less = share.window - window;
  share.window = window;
  if (window == 0) by_age_.erase(share.place);
  give_back(share, less);
}

// The next stream of the connection gets a part of what is left for it, so that this never runs out; stalled
// streams beyond that get little each.
size_t SendBudget::room(const Share& share, uint64_t max_pending) const {
  const uint64_t left = max_pending - std::min(share.pending, max_pending);
  const uint64_t room = std::min(std::clamp(left / kStreams, kUsualRoom, kMostRoom), left_for(share.pending));
  return room < kLeastRoom ? 0 : static_cast<size_t>(room);
}

void SendBudget::add_pending(Share& share, uint64_t bytes) {
  take(share, bytes);
  share.pending += bytes;
}

void SendBudget::remove_pending(Share& share, uint64_t bytes) {
  CHECK(bytes <= share.pending);
  share.pending -= bytes;
  give_back(share, bytes);
}

void SendBudget::release(Share& share) {
  if (share.window > 0) shrink(share, 0);
  remove_pending(share, share.pending);
}

SendBudget::Share* SendBudget::next_to_shrink() {
  if (by_age_.empty()) return nullptr;
  by_age_.splice(by_age_.end(), by_age_, by_age_.begin());
  return by_age_.back();
}

}  // namespace culvert::quic
