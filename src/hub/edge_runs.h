#pragma once
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/key.h"
#include "base/result.h"
#include "base/socket_addr.h"

namespace culvert::hub {

// Which start of an edge's program speaks for it. Two that run with one token, as after a host was cloned,
// would take turns: agents would be sent to whichever announced itself last. Here the one that came last
// speaks, and the other is told. Sans-I/O; as this hub sees it.
class EdgeRuns {
 public:
  // One that spoke before may again when the last was silent for so long.
  static constexpr Duration kSilence = std::chrono::seconds(60);
  // How long a conflict is shown after it was seen last.
  static constexpr Duration kShown = std::chrono::minutes(5);

  // `run` is drawn by each start of the program; empty: it does not say, and is taken. kConflict: another one
  // has taken its place, and still speaks.
  Result<> admit(const EndpointId& edge, std::string_view run, const SocketAddr& client, TimePoint now);
  // Where another one with its token was seen lately.
  std::optional<std::string> other_place(const EndpointId& edge, TimePoint now) const;
  void forget(const EndpointId& edge) { speaking_.erase(edge); }

 private:
  static constexpr size_t kFormer = 8;
  struct Speaking {
    std::string run;
    std::string place;
    TimePoint heard;
    std::deque<std::string> former = {};  // the latest last
    std::string other_place = {};
    std::optional<TimePoint> conflict = {};
  };

  std::map<EndpointId, Speaking> speaking_;
};

}  // namespace culvert::hub
