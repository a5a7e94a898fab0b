#include "quic/silence_watch.h"

#include <algorithm>

namespace culvert::quic {

void SilenceWatch::rest() {
  verdict_ = Silence::kNone;
  watching_.reset();
  next_look_ = TimePoint::max();
}

bool SilenceWatch::look(const Seen& seen, TimePoint now) {
  if (!seen.waiting_since || !seen.owed) {
    rest();
    return false;
  }
  const Duration suspect_after = std::max(kSuspectPtos * seen.pto, kSuspectFloor);
  const Duration dead_after = std::max(kDeadPtos * seen.pto, kDeadFloor);
  if (watching_ != seen.waiting_since) {
    verdict_ = Silence::kNone;
    watching_ = seen.waiting_since;
    silent_ = {};
    probes_ = 0;
    last_look_ = *watching_;
    next_look_ = *watching_ + suspect_after;
  }
  if (now < next_look_ || verdict_ == Silence::kDead) return false;

  const Duration planned = next_look_ - last_look_;
  if (seen.can_send) silent_ += std::min(now - last_look_, planned + kLateness);
  last_look_ = now;
  if (silent_ < suspect_after) {
    next_look_ = now + (suspect_after - silent_);
    return false;
  }
  verdict_ = Silence::kSuspect;
  if (silent_ >= dead_after && probes_ >= kLeastProbes) {
    verdict_ = Silence::kDead;
    next_look_ = TimePoint::max();
    return false;
  }
  if (seen.can_send) ++probes_;
  next_look_ = now + std::clamp(seen.pto, kProbeFloor, kProbeCap);
  return true;
}

}  // namespace culvert::quic
