#pragma once
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "agent/agent.h"
#include "agent/counters.h"
#include "agent/lease_keeper.h"
#include "agent/network_mover.h"
#include "agent/readiness.h"
#include "agent/stream_server.h"
#include "endpoint/endpoint.h"
#include "net/lifetime.h"
#include "origin/health_checks.h"
#include "tunnel/control.h"
#include "tunnel/udp_channel.h"

namespace culvert::agent {

// The way to one edge: dials it, serves the streams that it opens, and dials again after a loss.
//
//    dialling ──hello, welcome──▶ serving ──closed or drained──▶ (declare again) ──▶ dialling
//
// Between failures it waits by its own back-off; it ends when the hub no longer names the edge, or when the
// agent stops. While a draining tunnel ends, its successor serves. Lives on one loop.
class EdgeLink : public std::enable_shared_from_this<EdgeLink> {
 public:
  // The parts of the agent that links use. All outlive every link.
  struct Parts {
    net::EventLoop& loop;
    const Config& config;
    endpoint::Endpoint& endpoint;
    net::Lifetime& lifetime;
    LeaseKeeper& leases;
    StreamServer& streams;
    Readiness& readiness;
    origin::HealthChecks& health;
    AgentObserver& observer;
    NetworkMover& network;
    Random& random;
    net::TaskGroup& tasks;
    net::Notify& drained;  // a tunnel did, or closed, after stop()
    Counters& counters;
  };

  EdgeLink(const Parts& agent, const EndpointId& edge) : agent_(agent), edge_(edge), changed_(agent.loop) {}
  EdgeLink(const EdgeLink&) = delete;

  net::Task<> run();
  // Closes the tunnels if the hub no longer names the edge.
  void lease_changed();
  // Tells the edge what has changed of the origin of a service.
  void tell(const tunnel::Health& health);
  // Ends the waits of run(), once the lifetime says so, and asks the edge to open no more streams.
  void stop();
  // An edge has welcomed the agent, and the tunnel is open.
  bool is_connected() const { return !tunnels_.empty(); }
  // Of a tunnel to it, how data goes there now, one that drains last; nullopt: there is none.
  std::optional<endpoint::PathStats> path() const;
  // Those of a port or a range that the edge said it cannot listen on.
  std::vector<tunnel::PortState> port_faults(const route::PublicPort& ports) const;
  // After stop(): every stream of every tunnel has ended, as the edge sees it, and none will come.
  bool is_drained() const;
  // After stop(): the edge was heard since.
  bool answers() const;

 private:
  // One connection to the edge, from its welcome to its end.
  struct Tunnel {
    endpoint::ConnectionPtr connection;
    tunnel::ControlStream control;
    std::shared_ptr<tunnel::UdpChannels> udp;
    HostPort place;            // where the public reaches the edge
    bool is_draining = false;  // the edge goes away
    bool is_drained = false;   // after stop()
    std::optional<endpoint::CloseReason> closed = {};
    std::map<route::PublicPort, std::string> port_faults = {};  // as the edge told
  };
  using TunnelPtr = std::shared_ptr<Tunnel>;

  bool is_named() const { return agent_.leases.find_edge(edge_) != nullptr; }
  net::Task<Result<endpoint::EndpointAddr>> locate();
  net::Task<Result<endpoint::ConnectionPtr>> connect();
  net::Task<Result<TunnelPtr>> dial();
  net::Task<> serve(TunnelPtr tunnel);
  net::Task<> watch_control(TunnelPtr tunnel);
  net::Task<> accept_streams(TunnelPtr tunnel);
  HostPort place_of(const tunnel::Welcome& welcome) const;
  void up(const TunnelPtr& tunnel);
  void down(const TunnelPtr& tunnel);
  void drain(Tunnel& tunnel);
  void take(Tunnel& tunnel, const tunnel::PortState& state);

  const Parts agent_;
  const EndpointId edge_;
  TunnelPtr joining_;            // between hello and welcome: the edge may open streams before we know
  std::set<TunnelPtr> tunnels_;  // that serve
  net::Notify changed_;          // a tunnel drains or has closed
  TimePoint stopped_at_ = TimePoint::max();
};

}  // namespace culvert::agent
