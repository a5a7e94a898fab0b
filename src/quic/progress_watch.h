#pragma once
#include "base/clock.h"

namespace culvert::quic {

// Notices that a peer goes on sending and acknowledges nothing: it has lost the way to us, or waits for a
// validation of our address that failed and that the core (noq-proto 1.4) does not repeat. A client opens a
// new path then. Sans-I/O; single-threaded.
class ProgressWatch {
 public:
  // Without an acknowledgement for this long, or for several round trips, there is no progress. A peer that
  // is idle acknowledges keep-alives only; after a change of the network nothing need wait for one first.
  static constexpr Duration kNoProgress = std::chrono::seconds(3);
  static constexpr int kNoProgressRoundTrips = 8;

  explicit ProgressWatch(Duration keep_alive) : usual_patience_(2 * keep_alive + kNoProgress) {}

  // The handshake is complete. Before, and for servers, there is nothing to watch.
  void start(TimePoint now);
  // `acks`: how many acknowledgements were received until now.
  void network_changed(uint64_t acks, TimePoint now);
  // At next_look(). True: there is no progress.
  bool look(uint64_t acks, Duration round_trip, TimePoint now);
  TimePoint next_look() const { return next_look_; }

 private:
  Duration usual_patience_;
  Duration patience_{};
  TimePoint next_look_ = TimePoint::max();
  TimePoint acked_at_;  // when the number of acknowledgements was last seen to have grown
  uint64_t acks_ = 0;
};

}  // namespace culvert::quic
