#pragma once
#include <optional>

#include "base/clock.h"

namespace culvert::quic {

// What is thought of a peer that does not answer.
enum class Silence : uint8_t {
  kNone,
  kSuspect,  // data is unanswered for a few round trips
  kDead,     // and probes were not answered either
};

inline const char* to_string(Silence silence) {
  switch (silence) {
    case Silence::kNone:
      return "none";
    case Silence::kSuspect:
      return "suspect";
    case Silence::kDead:
      return "dead";
  }
  return "unknown";
}

// Decides from unanswered data whether a peer is there. An idle connection is never judged: its timeouts are
// QUIC's own. Sans-I/O; single-threaded.
//
//   kNone ──max(3 PTO, 250 ms)──▶ kSuspect ──max(8 PTO, 2 s) and two probes unanswered──▶ kDead
//     ▲──────anything authentic──────┴──────────────────────────────────────────────────────┘
//
// Silence counts only while this process was there to hear: after a pause (it was stopped, its machine was
// suspended) the answers may be waiting in the socket.
class SilenceWatch {
 public:
  static constexpr Duration kSuspectFloor = std::chrono::milliseconds(250);
  static constexpr int kSuspectPtos = 3;
  static constexpr Duration kDeadFloor = std::chrono::seconds(2);
  static constexpr int kDeadPtos = 8;
  // Probes that must have gone unanswered. While nothing pauses there are five or more between the two
  // verdicts, of which a loss of 20 % each way takes a third with it.
  static constexpr int kLeastProbes = 2;
  static constexpr Duration kProbeFloor = std::chrono::milliseconds(100);
  static constexpr Duration kProbeCap = std::chrono::seconds(1);
  // How late a look may be before the rest counts as a pause.
  static constexpr Duration kLateness = std::chrono::milliseconds(50);

  struct Seen {
    bool owed;  // data was written, and no packet sent since then is acknowledged
    // When the first packet that asks for an acknowledgement was sent since the peer was last heard.
    std::optional<TimePoint> waiting_since;
    Duration pto;
    bool can_send;  // false: packets do not leave this host now, so nothing can be concluded
  };

  // After packets were received or sent, and at next_look(). True: send a PING now.
  bool look(const Seen& seen, TimePoint now);
  TimePoint next_look() const { return next_look_; }  // TimePoint::max(): not before something is sent
  Silence verdict() const { return verdict_; }

 private:
  void rest();

  Silence verdict_ = Silence::kNone;
  std::optional<TimePoint> watching_;  // Seen::waiting_since that is being timed
  Duration silent_{};                  // of it, as far as it counts
  TimePoint last_look_;
  TimePoint next_look_ = TimePoint::max();
  int probes_ = 0;
};

}  // namespace culvert::quic
