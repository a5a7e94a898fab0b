#pragma once
#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"

namespace culvert::agent {

// When to report that a hub does not answer: at once, and then now and then for as long as it lasts.
class HubSilence {
 public:
  static constexpr Duration kFirstPause = std::chrono::seconds(10);  // between reports; then it doubles
  static constexpr Duration kMaxPause = std::chrono::minutes(5);

  // An attempt failed. For how long that has been so, if it is to be reported. Another reason is reported
  // earlier.
  std::optional<Duration> failed(const std::string& reason, TimePoint now) {
    if (!since_) {
      since_ = now;
      pause_ = kFirstPause;
    } else if (now < reported_ + (reason == reason_ ? pause_ : kFirstPause)) {
      return std::nullopt;
    } else {
      pause_ = std::min(2 * pause_, kMaxPause);
    }
    reported_ = now;
    reason_ = reason;
    return now - *since_;
  }
  // The hub answered. How long it had not, if that was reported.
  std::optional<Duration> ended(TimePoint now) {
    if (!since_) return std::nullopt;
    return now - *std::exchange(since_, std::nullopt);
  }

 private:
  std::optional<TimePoint> since_;
  TimePoint reported_{};
  Duration pause_{};
  std::string reason_;
};

}  // namespace culvert::agent
