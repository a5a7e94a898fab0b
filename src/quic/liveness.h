#pragma once
#include <algorithm>
#include <optional>

#include "base/clock.h"

namespace culvert::quic {

// When the peer was heard, and what it acknowledged: times of packets as the core tells them. Sans-I/O.
class Liveness {
 public:
  struct Report {
    TimePoint heard;  // when something was last received that only the peer can have sent
    TimePoint acked;  // when the latest packet was sent that the peer acknowledged
    // When the first packet that asks for an acknowledgement was sent since then.
    std::optional<TimePoint> waiting_since;
    Duration probe_timeout;
  };

  explicit Liveness(TimePoint now) : started_(now), last_heard_(now) {}

  void update(const Report& report) {
    last_heard_ = std::max(last_heard_, report.heard);
    acked_ = std::max(acked_, report.acked);
    waiting_since_ = report.waiting_since;
    probe_timeout_ = report.probe_timeout;
  }
  void transmitted(TimePoint now) { transmitted_at_ = now; }
  // Data was given to the core; returns what answered() needs to tell whether the peer was there since.
  TimePoint wrote_data() {
    data_written_ = transmitted_at_;
    return transmitted_at_;
  }

  TimePoint last_heard() const { return last_heard_; }
  Duration probe_timeout() const { return probe_timeout_; }
  const std::optional<TimePoint>& waiting_since() const { return waiting_since_; }
  // A packet is acknowledged that was sent after wrote_data() returned this.
  bool answered(TimePoint written_at) const { return acked_ > written_at; }
  // Data was written, and of what was sent after `since` nothing is acknowledged.
  bool is_unanswered(TimePoint since) const { return is_answer_owed() && std::max(acked_, started_) < since; }
  // Data was written, and no packet sent since then is acknowledged.
  bool is_answer_owed() const { return data_written_ && !answered(*data_written_); }

 private:
  TimePoint started_;
  TimePoint last_heard_;
  TimePoint acked_;
  std::optional<TimePoint> waiting_since_;
  Duration probe_timeout_{};
  TimePoint transmitted_at_;               // the last time that packets were written
  std::optional<TimePoint> data_written_;  // transmitted_at_ when data was last written
};

}  // namespace culvert::quic
