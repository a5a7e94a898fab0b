#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "agent/lease_keeper.h"
#include "agent/stream_server.h"
#include "base/host_port.h"
#include "net/lifetime.h"

namespace culvert::agent {

// Proves for each edge that the agent's services answer at the edge's public address, by asking as a client
// would. Lives on one loop; what the constructor takes outlives it.
class Readiness {
 public:
  Readiness(net::EventLoop& loop, const Config& config, const LeaseKeeper& leases, StreamServer& streams,
            net::Lifetime& lifetime, AgentObserver& observer, Random& random, net::TaskGroup& tasks);
  Readiness(const Readiness&) = delete;

  // The first of these ports that the edge said it cannot listen on; nullopt: it listens on all, as far as it
  // told.
  using PortFault =
      std::function<std::optional<tunnel::PortState>(const EndpointId&, const route::PublicPort&)>;
  void set_port_fault(PortFault port_fault) { port_fault_ = std::move(port_fault); }

  // The edge has a tunnel, and the public reaches it at `place`: begins to ask there.
  void up(const EndpointId& edge, HostPort place);
  // It has none any more.
  void down(const EndpointId& edge);
  // The services of the configuration are others: nothing is proven of them. lease_changed() follows. Those
  // that it had before outlive this.
  void services_changed();
  // A service may have been accepted after all.
  void lease_changed();

 private:
  //  down ──up()──▶ proving ──every accepted service answered──▶ ready ──another is accepted──▶ proving
  //  down() leads back from anywhere.
  struct Edge {
    HostPort place;
    bool is_up = false;
    bool is_proving = false;
    std::set<const Service*> proven = {};  // since it is up
  };
  struct Answer {
    bool answered = false;
    bool origin_is_silent = false;  // the edge answered in its place
    std::string reason;
  };

  void begin(const EndpointId& edge);
  net::Task<> prove(EndpointId edge);
  net::Task<bool> ask_all(EndpointId edge, std::vector<const Service*> services, TimePoint began);
  net::Task<Answer> ask(EndpointId edge, HostPort place, const Service& service);
  net::Task<Answer> ask_web(HostPort place, const Service& service);
  net::Task<Answer> ask_port(HostPort place, const Service& service);
  Answer ask_udp_port(const EndpointId& edge, const Service& service) const;
  route::PublicPort public_ports(const Service& service) const;
  std::string public_url(const Service& service, const HostPort& place) const;
  void silent(const Service& service, Answer answer, TimePoint since);
  void tell(const Edge& edge, TimePoint began);
  std::vector<const Service*> accepted() const;
  std::vector<const Service*> unproven(const Edge& edge) const;
  net::Task<> check_name(HostPort place, std::string hostname);
  bool is_up(const EndpointId& edge) const;
  bool any_up() const;

  net::EventLoop& loop_;
  const Config& config_;
  const LeaseKeeper& leases_;
  StreamServer& streams_;
  net::Lifetime& lifetime_;
  AgentObserver& observer_;
  Random& random_;
  net::TaskGroup& tasks_;
  PortFault port_fault_;
  std::string target_;  // of its own requests, so that they are told from those of the public
  std::map<EndpointId, Edge> edges_;
  std::set<const Service*> reported_;  // as silent, until ready
  std::set<const Service*> ready_;     // told to the observer
};

}  // namespace culvert::agent
