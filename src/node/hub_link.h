#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/backoff.h"
#include "base/metrics.h"
#include "base/rate_limit.h"
#include "hubapi/edge_api.h"
#include "hubapi/edge_client.h"
#include "hubapi/route_replica.h"
#include "hubapi/token.h"
#include "net/event_loop.h"
#include "node/edge_status.h"
#include "node/route_file.h"
#include "node/tunnel_reporter.h"
#include "route/liveness.h"

namespace culvert::node {

// Keeps an edge that has no hub in its process in step with its hub: announces it, follows the routes,
// reports the tunnels, and serves from the routes on its disk while no hub answers. Lives on the control
// loop.
class HubLink {
 public:
  struct Parts {
    hubapi::EdgeToken token;
    hubapi::EdgeAnnouncement announcement;
    std::filesystem::path route_file;  // empty: nothing is kept
    // The routes as a whole, and changes of them; the edge is to have each at once.
    std::function<void(const route::SnapshotPtr&)> replace_routes;
    std::function<void(const route::Delta&)> apply_routes;
    // Whether the hub is heard now; called when that changes, and at the start.
    std::function<void(bool)> hub_is_heard = [](bool) {};
    // Agents are to declare again within this time.
    std::function<void(Duration)> declare_again;
    // What the hub knows the process by that follows it as this edge; empty: one of its own.
    std::string run = {};
  };
  struct Counters {
    uint64_t connects = 0;   // streams of routes that began
    uint64_t snapshots = 0;  // taken from the hub
    uint64_t changes = 0;    // taken from the hub
    uint64_t file_errors = 0;
    bool is_following = false;
    size_t routes = 0;
  };

  HubLink(net::EventLoop& loop, Parts parts);
  HubLink(const HubLink&) = delete;
  // For the process that goes on as this edge.
  const std::string& run() const { return run_; }

  // Serves from the routes on the disk, if there are any, and begins to follow.
  void start();
  // What the workers of the edge tell, as edge::ControlPlane.
  void agents_heard(const std::vector<route::AgentHeard>& agents) { reporter_.heard(agents); }
  void agent_left(const EndpointId& agent);
  void tunnel_closed(const EndpointId& agent);

  // Tells the hub that the edge ends; nothing is followed from then on.
  void leave();
  // Ends everything that runs but the goodbye, which takes a moment where the hub answers.
  void close();
  net::Task<> join();

  // Why the edge cannot serve; nullopt: it has routes.
  std::optional<std::string> fault() const;
  Counters counters() const;
  // What there is to say of the hub and its routes.
  EdgeStatus status() const;

 private:
  net::Task<> follow();
  net::Task<> report();
  net::Task<> say_goodbye();
  Result<> take(std::string_view line);
  Result<> take_event(const hubapi::RouteReplica::Event& event);
  void keep(bool is_snapshot);
  void load();
  void forget_all();
  void failed(const Error& error);

  net::EventLoop& loop_;
  const Parts parts_;
  const std::string run_;
  hubapi::EdgeClient client_;
  std::optional<hubapi::RouteReplica> replica_;
  RouteFile file_;
  std::string batch_;  // lines since the last seal
  TunnelReporter reporter_;
  Counters counters_;
  std::optional<Error> failure_;       // since the hub was followed last
  hubapi::EdgeWelcome welcome_;        // the last one
  std::optional<UnixTime> turned_at_;  // when the hub was followed, or was not any more
  std::optional<UnixTime> heard_at_;   // of the hub, with the routes that are here
  bool is_revoked_ = false;
  bool is_refused_ = false;  // by the hub's last answer
  bool wants_snapshot_ = false;
  TimePoint file_retry_ = TimePoint::max();  // when the file is written again after an error
  bool is_ending_ = false;
  net::Notify ending_;
  net::Notify report_now_;
  RateLimit lines_{3, std::chrono::seconds(30)};
  net::TaskGroup goodbye_;
  net::TaskGroup tasks_;
};

void report(const HubLink::Counters& counters, Metrics& metrics);

}  // namespace culvert::node
