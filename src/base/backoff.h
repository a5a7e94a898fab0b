#pragma once
#include <algorithm>

#include "base/clock.h"
#include "base/random.h"

namespace culvert {

// Waits between attempts: uniform between nothing and a bound that doubles ("full jitter"), so that a
// thousand agents of a restarted node do not come back in the same instant.
class Backoff {
 public:
  static constexpr Duration kFirst = std::chrono::milliseconds(100);
  // After an outage of any length an agent is back within 5 s: this wait, a declaration and a handshake.
  static constexpr Duration kCap = std::chrono::seconds(4);
  // For a peer that has refused and will refuse again until a person acts: half of this on average, so that
  // a thousand revoked agents ask a hub some 7 times a second and not 500 times.
  static constexpr Duration kRefusedCap = std::chrono::minutes(5);

  // `cap` may differ from call to call; a smaller one applies at once.
  Duration next(Random& random, Duration cap = kCap) {
    Duration bound = std::min(bound_, cap);
    Duration wait(static_cast<Duration::rep>(random.below(static_cast<uint64_t>(bound.count()) + 1)));
    bound_ = std::min(bound * 2, cap);
    return wait;
  }
  void reset() { bound_ = kFirst; }

 private:
  Duration bound_ = kFirst;
};

}  // namespace culvert
