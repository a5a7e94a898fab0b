#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "acme/challenge_table.h"
#include "base/key.h"
#include "base/machine_memory.h"
#include "edge/access_log.h"
#include "edge/counters.h"
#include "edge/live_options.h"
#include "edge/options.h"
#include "edge/overload.h"
#include "edge/port_faults.h"
#include "edge/public_connection.h"
#include "edge/static_route.h"
#include "edge/tunnel_registry.h"
#include "edge/udp_batch.h"
#include "edge/unserved.h"
#include "net/platform.h"
#include "route/liveness.h"
#include "tls/certificates.h"
#include "tunnel/control.h"

namespace culvert::edge {

struct Config {
  SecretKey key;
  Options options = {};
  // Names of the hub's own service, lower case; connections for them, and those without a name, go to the
  // control plane.
  std::unordered_set<std::string> hub_names;
  std::string public_addr;  // told to agents: "host:port" where the public reaches this edge
  std::string version;      // told to agents
  // Of certificates that are ordered; nullptr: there are none.
  std::shared_ptr<const acme::ChallengeTable> challenges = nullptr;
  // Without tunnels there is no UDP socket, and only the hub's names are served.
  bool takes_tunnels = true;
  Duration tunnel_hello_timeout = std::chrono::seconds(5);
  std::function<uint64_t()> memory_in_use = culvert::memory_in_use;
  // How long a connection looks for an agent that answers, while the route has open tunnels.
  Duration open_patience = std::chrono::seconds(5);
  // Tunnels of one worker between handshake and welcome: any peer with a key may open one.
  size_t max_unwelcomed = 1024;
  // Of this process, as endpoint::Config.
  uint8_t generation = 0;
  // After the start: agents of the process before this one are on their way, and clients wait for them.
  Duration agents_grace = Duration::zero();
};

// Short against the control plane's patience with a silent agent (hub::Leases::kSilence).
constexpr Duration kReportInterval = std::chrono::seconds(2);

// How the edge tells the control plane. Called from workers' threads.
struct ControlPlane {
  // It is detached; its host is a name of the hub, or empty. False: no room, and it was closed. Not set:
  // there is no hub here.
  std::function<bool(PublicConnection)> serve_hub;
  std::function<void(EndpointId)> agent_left;  // it said goodbye
  // One report of each worker in kReportInterval at most: the agents that it heard since its last one.
  std::function<void(std::vector<route::AgentHeard>)> agents_heard = [](const auto&) {};
  // The agent's last tunnel closed without a goodbye, and no other took its place.
  std::function<void(EndpointId)> tunnel_closed = [](EndpointId) {};
  std::function<void()> stopped;  // every worker has ended
};

// What a worker is to the others. From any thread.
class Peer {
 public:
  virtual ~Peer() = default;
  // Takes over a connection, detached, for which one of its tunnels was picked.
  virtual void adopt(PublicConnection connection) = 0;
  // The client lost its place among the pending ones.
  virtual void drop_pending(uint64_t id) = 0;
  // Tells the agents of this port that have a tunnel there.
  virtual void tell_agents(tunnel::PortState state) = 0;
  // Datagrams for a tunnel of this worker.
  virtual void carry_udp(UdpBatch batch, UdpTransit::Part part) = 0;
  // Datagrams from agents for clients of a port of this worker.
  virtual void return_udp(UdpBatch batch, UdpTransit::Part part) = 0;
  // A tunnel of any worker has ended, or its agent stops.
  virtual void tunnel_changed(uint64_t generation, bool has_ended) = 0;
  // One was added, while agents are expected.
  virtual void tunnel_came() = 0;
};

// A client that waits for an agent of its route.
class WaitingClient {
 public:
  explicit WaitingClient(std::atomic<size_t>& count) : count_(count) { ++count_; }
  WaitingClient(const WaitingClient&) = delete;
  ~WaitingClient() { --count_; }

 private:
  std::atomic<size_t>& count_;
};

// What the workers of one edge have in common. Outlives them.
struct Shared {
  Shared(Config c, std::shared_ptr<tls::Certificates> certs, net::Platform& its_platform)
      : platform(its_platform),
        config(std::move(c)),
        options(config.options),
        access_log(platform, config.key.public_key().to_string()),
        certificates(std::move(certs)),
        tunnels(config.options.balance),
        unserved(unserved_limits(config.options)),
        sources(source_limits(config.options)),
        tenants(tenant_limits(config.options)),
        flows(flow_limits(config.options)),
        bandwidth(config.options.max_bandwidth),
        udp_bandwidth(config.options.max_bandwidth),
        next_connection(platform.random().u64()) {}

  // How long a client may take for its hello, its handshake, or what a proxy tells of it.
  Duration patience(Duration usual) const { return overload.patience(usual); }
  Duration hello_patience() const { return patience(options.get()->hello_timeout); }
  // Of these connections nobody gets more than an equal part. 0: there are enough.
  size_t scarce_connections() const;
  // Every worker does so after it took the routes: one that had the old ones yet may have taken places by
  // them.
  void follow_own_limits(const route::Delta& changes);
  // Looks at what is used; on one thread.
  void watch_overload();

  // Every worker does so.
  void tell_agents(const tunnel::PortState& state) const {
    for (Peer* worker : workers) worker->tell_agents(state);
  }

  void tunnel_changed(uint64_t generation, bool has_ended) const {
    for (Peer* worker : workers) worker->tunnel_changed(generation, has_ended);
  }
  void tunnel_came() const {
    if (!expects_agents(platform.now())) return;
    for (Peer* worker : workers) worker->tunnel_came();
  }
  bool expects_agents(TimePoint now) const { return now < agents_expected_until; }
  // The one that listens on the port.
  unsigned worker_of(const route::PublicPort& port) const {
    return port.number % static_cast<unsigned>(workers.size());
  }

  net::Platform& platform;  // of the workers' loops
  Config config;            // its options as they were at the start
  LiveOptions options;
  AccessLog access_log;
  std::shared_ptr<tls::Certificates> certificates;
  ControlPlane control;  // set before the workers run
  // Of an origin beside the edge that a worker reached, or not; from any thread. Set before they run.
  std::function<void(StaticOriginPtr, std::optional<origin::OriginFault>)> origin_observed;
  std::vector<Peer*> workers;                          // by index; set before they run
  TimePoint agents_expected_until = TimePoint::min();  // set before they run
  TunnelRegistry tunnels;
  Unserved unserved;
  // Of public connections.
  SourcePlaces sources;
  TenantPlaces tenants;
  TenantPlaces flows;                // of UDP ports
  tunnel::ByteBudget bandwidth;      // of public connections
  tunnel::ByteBudget udp_bandwidth;  // of UDP ports: paced connections would leave datagrams nothing
  Overload overload;
  const uint64_t machine_memory = culvert::machine_memory();
  PortFaults port_faults;
  Counters counters;
  // Somebody tells this edge what its routes are; otherwise it must know by itself when they end.
  std::atomic<bool> hub_is_heard = true;
  // Processes whose datagrams come through this one: it ends after them.
  std::atomic<size_t> predecessors = 0;
  std::atomic<size_t> waiting_clients = 0;  // Carrier::waits_for_agents
  std::atomic<uint64_t> next_connection;    // ids for the logs of both ends
};

}  // namespace culvert::edge
