#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/key.h"
#include "edge/counters.h"
#include "edge/options.h"
#include "edge/tenant_slots.h"
#include "edge/tunnel_registry.h"
#include "edge/unserved.h"
#include "route/liveness.h"
#include "route/snapshot.h"
#include "tls/certificates.h"
#include "tls/detached_stream.h"

namespace culvert::edge {

class Worker;

struct Config {
  SecretKey key;
  Options options = {};
  // Names of the hub's own service, lower case; connections for them, and those without a name, go to the
  // control plane.
  std::unordered_set<std::string> hub_names;
  std::string public_addr;  // told to agents: "host:port" where the public reaches this edge
  std::string version;      // told to agents
  Duration tunnel_hello_timeout = std::chrono::seconds(5);
  // How long a connection looks for an agent that answers, while the route has open tunnels.
  Duration open_patience = std::chrono::seconds(5);
  // Tunnels of one worker between handshake and welcome: any peer with a key may open one.
  size_t max_unwelcomed = 1024;
};

// A connection that the hub is to serve, and what was read from it.
struct HubConnection {
  tls::DetachedStream socket;
  Bytes received;
  std::string server_name;  // empty: none given
};

// Short against the control plane's patience with a silent agent (hub::Leases::kSilence).
constexpr Duration kReportInterval = std::chrono::seconds(2);

// How the edge tells the control plane. Called from workers' threads.
struct ControlPlane {
  std::function<bool(HubConnection)> serve_hub;  // false: no room, and the connection is closed
  std::function<void(EndpointId)> agent_left;    // it said goodbye
  // One report of each worker in kReportInterval at most: the agents that it heard since its last one.
  std::function<void(std::vector<route::AgentHeard>)> agents_heard = [](const auto&) {};
  // The agent's last tunnel closed without a goodbye, and no other took its place.
  std::function<void(EndpointId)> tunnel_closed = [](EndpointId) {};
  std::function<void()> stopped;  // every worker has ended
};

// All routes, and how they differ from those of the update before. Every worker takes every update, in the
// order of their numbers, though not at the same moment.
struct RouteUpdate {
  uint64_t number;
  route::SnapshotPtr routes;
  std::shared_ptr<const route::Delta> changes;
  std::shared_ptr<std::atomic<unsigned>> workers_left;  // that have not taken it yet
};

// What the workers of one edge have in common. Outlives them.
struct Shared {
  Shared(Config c, std::shared_ptr<tls::Certificates> certs, uint64_t first_connection)
      : config(std::move(c)),
        certificates(std::move(certs)),
        tunnels(config.options.balance),
        unserved(unserved_limits(config.options)),
        tenants(tenant_limit(config.options)),
        next_connection(first_connection) {}

  Config config;
  std::shared_ptr<tls::Certificates> certificates;
  ControlPlane control;          // set before the workers run
  std::vector<Worker*> workers;  // by index; set before they run
  TunnelRegistry tunnels;
  Unserved unserved;
  TenantSlots tenants;
  Counters counters;
  std::atomic<uint64_t> next_connection;  // ids for the logs of both ends
};

}  // namespace culvert::edge
