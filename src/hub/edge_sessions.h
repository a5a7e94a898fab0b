#pragma once
#include <functional>
#include <map>
#include <memory>
#include <set>

#include "http/exchange.h"
#include "hub/edges.h"
#include "hub/leases.h"
#include "hub/route_publisher.h"
#include "hubapi/edge_api.h"
#include "net/event_loop.h"

namespace culvert::hub {

// The edges that follow this hub: the streams in which they are told the routes, and the agents that they
// hear. Lives on the hub's loop.
class EdgeSessions {
 public:
  // Between lines of a stream at most, so that an edge knows that its hub is there.
  static constexpr Duration kAlive = std::chrono::seconds(10);
  // An edge that has not reported for this long hears nobody any more, and its stream is ended: it is away.
  // Edges report every hubapi::kReportInterval.
  static constexpr Duration kSilence = std::chrono::seconds(25);
  // A stream whose edge does not read is closed: it begins again where it was.
  static constexpr Duration kWriteTime = std::chrono::seconds(15);

  // All outlive it.
  EdgeSessions(net::EventLoop& loop, const RoutePublisher& publisher, Leases& leases)
      : loop_(loop), publisher_(publisher), leases_(leases), silence_timer_(loop) {}
  EdgeSessions(const EdgeSessions&) = delete;

  // Answers with the routes until the stream breaks, the edge is revoked, it begins another stream, or
  // close(). `held` is what the edge has; nullopt: nothing.
  net::Task<> stream(http::Exchange& exchange, EndpointId edge, std::optional<hubapi::HeldRoutes> held);
  // kConflict: the report does not follow the one before; the edge begins another session.
  Result<> report(const EndpointId& edge, const hubapi::TunnelReport& report);

  // The publisher has another version.
  void published();
  // Agents are to declare again within this time.
  void declare_again(Duration spread);
  // Cuts the stream of an edge that was revoked, and hears nobody through it any more.
  void revoke(const EndpointId& edge);
  void close();

  struct State {
    bool is_connected = false;
    size_t agents = 0;  // that it hears
  };
  State state_of(const EndpointId& edge) const;
  size_t streams() const { return streams_.size(); }

 private:
  struct Stream;
  struct Hearing {
    uint64_t session;
    uint64_t next;  // number of the report that is due
    TimePoint reported = {};
    std::set<EndpointId> agents = {};
  };

  net::Task<Result<>> send_snapshot(http::Exchange& exchange, Stream& stream);
  net::Task<Result<>> send_changes(http::Exchange& exchange, Stream& stream);
  void end_stream(const EndpointId& edge);
  void stop_hearing(std::map<EndpointId, Hearing>::iterator edge);
  void look_for_silent();

  net::EventLoop& loop_;
  const RoutePublisher& publisher_;
  Leases& leases_;
  std::map<EndpointId, std::shared_ptr<Stream>> streams_;
  std::map<EndpointId, Hearing> hearing_;
  net::Timer silence_timer_;
  bool closed_ = false;
};

}  // namespace culvert::hub
