#pragma once
#include <algorithm>

#include "base/clock.h"
#include "base/random.h"

namespace culvert::agent {

// Waits between attempts: uniform between nothing and a bound that doubles ("full jitter"), so that a
// thousand agents of a restarted node do not come back in the same instant.
class Backoff {
 public:
  static constexpr Duration kFirst = std::chrono::milliseconds(100);
  // After an outage of any length an agent is back within 5 s: this wait, a declaration and a handshake.
  static constexpr Duration kCap = std::chrono::seconds(4);

  Duration next(Random& random) {
    Duration wait(static_cast<Duration::rep>(random.below(static_cast<uint64_t>(bound_.count()) + 1)));
    bound_ = std::min(bound_ * 2, kCap);
    return wait;
  }
  void reset() { bound_ = kFirst; }

 private:
  Duration bound_ = kFirst;
};

}  // namespace culvert::agent
