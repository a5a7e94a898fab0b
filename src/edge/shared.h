#pragma once
#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/key.h"
#include "edge/counters.h"
#include "edge/directory.h"
#include "edge/unserved.h"
#include "tls/certificates.h"

namespace culvert::edge {

class Worker;

struct Config {
  SecretKey key;
  SocketAddr tcp_listen;
  SocketAddr udp_listen;
  unsigned workers = 1;
  // Names of the hub's own service, lower case; connections for them, and those without a name, go to the
  // control plane.
  std::unordered_set<std::string> hub_names;
  std::string public_addr;  // told to agents: "host:port" where the public reaches this edge
  std::string version;      // told to agents
  Duration hello_timeout = std::chrono::seconds(10);
  Duration drain_timeout = std::chrono::seconds(10);
  size_t max_connections = 20'000;
  // Of those that Unserved counts, from one source; not set: a quarter of all.
  std::optional<size_t> max_unserved_per_source = std::nullopt;
  Duration tunnel_hello_timeout = std::chrono::seconds(5);
  // Tunnels of one worker between handshake and welcome: anybody with a key may open one.
  size_t max_unwelcomed = 1024;
};

// A connection that the hub is to serve: the descriptor, and what was read from it.
struct HubConnection {
  int fd;
  Bytes received;
  std::string server_name;  // empty: none given
};

// How the edge tells the control plane. Called from workers' threads.
struct ControlPlane {
  std::function<void(HubConnection)> serve_hub;
  std::function<void(EndpointId)> agent_left;  // it said goodbye
  std::function<void()> stopped;               // every worker has ended
};

// Clients that have not finished their hello or handshake may take half of all places, so that slow ones
// cannot keep everybody out; small configurations keep a few.
inline Unserved::Limits unserved_limits(const Config& config) {
  constexpr size_t kMinUnserved = 64;
  constexpr size_t kMinPerSource = 32;
  const size_t total = std::max(kMinUnserved, config.max_connections / 2);
  return {total, config.max_unserved_per_source.value_or(std::max(kMinPerSource, total / 4))};
}

// What the workers of one edge have in common. Outlives them.
struct Shared {
  Shared(Config c, std::shared_ptr<tls::Certificates> certs, uint64_t first_connection)
      : config(std::move(c)),
        certificates(std::move(certs)),
        unserved(unserved_limits(config)),
        next_connection(first_connection) {}

  Config config;
  std::shared_ptr<tls::Certificates> certificates;
  ControlPlane control;          // set before the workers run
  std::vector<Worker*> workers;  // by index; set before they run
  Directory directory;
  Unserved unserved;
  Counters counters;
  std::atomic<uint64_t> next_connection;  // ids for the logs of both ends
};

}  // namespace culvert::edge
