#include "quic/progress_watch.h"

#include <algorithm>

namespace culvert::quic {

void ProgressWatch::start(TimePoint now) {
  acked_at_ = now;
  patience_ = usual_patience_;
  next_look_ = now + patience_;
}

void ProgressWatch::network_changed(uint64_t acks, TimePoint now) {
  acks_ = acks;
  acked_at_ = now;
  patience_ = kNoProgress;
  next_look_ = now + patience_ / 2;
}

bool ProgressWatch::look(uint64_t acks, Duration round_trip, TimePoint now) {
  if (acks != acks_) {
    acks_ = acks;
    acked_at_ = now;
    patience_ = usual_patience_;
  }
  const Duration patience = std::max(patience_, kNoProgressRoundTrips * round_trip);
  const bool stuck = now - acked_at_ >= patience;
  if (stuck) acked_at_ = now;
  // An acknowledgement since then is noticed by the next look, so each comes after half of the time.
  next_look_ = now + (acked_at_ + patience - now) / 2 + std::chrono::milliseconds(1);
  return stuck;
}

}  // namespace culvert::quic
