#pragma once
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"

namespace culvert::hubapi {

// The hub's time as its answers tell it, so that a request can be signed with it whatever the clock of this
// machine says, and however that clock is set meanwhile.
class HubClock {
 public:
  // `local` is used until the first answer, and compared with the hub's.
  explicit HubClock(WallClock local) : local_(std::move(local)) {}

  // An answer of the hub, to a request that was sent at `asked` and answered at `answered`, gave its time.
  void learn(UnixTime hub_time, TimePoint asked, TimePoint answered);
  UnixTime time_at(TimePoint at) const;
  // "this machine's clock is 75 s behind the hub's", when the two differ by more than what a hub accepts.
  std::optional<std::string> warning() const;

 private:
  struct Known {
    UnixTime hub_time;
    TimePoint at;
    std::chrono::seconds local_ahead;
  };
  WallClock local_;
  std::optional<Known> known_;
};

}  // namespace culvert::hubapi
