#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "endpoint/endpoint.h"
#include "net/event_loop.h"

namespace culvert {

// Shows the paths of one connection, and keeps the connection on the best one: a direct path where NAT
// traversal finds one, else the relay's.
//
//   relay ──round of NAT traversal──▶ direct, relay is backup
//     ▲──abandoned, or silent while the relay lives──┘
class PathKeeper {
 public:
  struct Config {
    bool is_client = false;
    std::optional<SocketAddr> relay =
        {};  // the remote address that is the relay; none: the paths are only shown
    std::vector<SocketAddr> candidates = {};  // where the peer may reach us directly
    std::function<void(const std::string&)> say;
  };

  PathKeeper(net::EventLoop& loop, endpoint::ConnectionPtr connection, Config config)
      : loop_(loop), connection_(std::move(connection)), config_(std::move(config)), changed_(loop) {}
  PathKeeper(const PathKeeper&) = delete;

  // Ends with the connection.
  net::Task<> run();

 private:
  struct Seen {
    SocketAddr remote;
    uint64_t received = 0;
    uint64_t sent = 0;  // when something was last received
    TimePoint heard;
    std::optional<TimePoint> unanswered;  // since when
    bool pinged = false;
  };

  net::Task<> follow_events();
  void look(TimePoint now);
  void compare(const std::vector<endpoint::PathStats>& paths, TimePoint now);
  void steer(const std::vector<endpoint::PathStats>& paths, TimePoint now);
  void start_round(TimePoint now);
  bool is_relay(const endpoint::PathStats& path) const { return path.remote == config_.relay; }
  bool is_suspect(endpoint::PathId path, TimePoint now) const;

  net::EventLoop& loop_;
  endpoint::ConnectionPtr connection_;
  Config config_;
  net::Notify changed_;
  std::map<endpoint::PathId, Seen> seen_;
  std::optional<endpoint::PathId> timed_relay_;  // has its timers
  TimePoint relay_answered_;                     // by a ping, while it is the backup
  TimePoint next_relay_;
  bool had_direct_ = false;
  bool round_wanted_ = false;
  int rounds_ = 0;  // since there was a direct path
  TimePoint next_round_;
};

}  // namespace culvert
