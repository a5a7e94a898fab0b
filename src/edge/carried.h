#pragma once
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/key.h"
#include "base/socket_addr.h"
#include "edge/counters.h"
#include "edge/tunnel_registry.h"
#include "route/snapshot.h"
#include "tunnel/pump.h"

namespace culvert::edge {

// A public connection while its bytes are carried; what its close record says.
struct CarriedConnection {
  std::string host;      // as the client asked for it
  route::RouteId route;  // by which its agent was picked
  TunnelRegistry::Pick pick;
  route::TlsMode tls_mode;
  SocketAddr client;
  SocketAddr public_addr;
  uint64_t id;
  TimePoint accepted;
  ConnectionSlot slot;
  size_t header_size;  // of the stream's first bytes, the rest of which are the client's
  std::shared_ptr<tunnel::Pump> pump;
};

// The public connections that a worker carries, by route: so that a change of routes costs what it concerns,
// however much else is carried.
class Carried {
 public:
  CarriedConnection& add(CarriedConnection connection);
  CarriedConnection remove(uint64_t id);
  // nullptr: it has ended.
  CarriedConnection* find(uint64_t id);
  size_t size() const { return all_.size(); }

  // `routes` are in force after `changes`: the ids of the connections whose agent they give no longer to
  // the hostname. Not those of agents without any route: the end of their tunnel ends them.
  std::vector<uint64_t> recheck(const route::Snapshot& routes, const route::Delta& changes);
  // Connections that recheck() looked at so far.
  uint64_t rechecked() const { return rechecked_; }

 private:
  using Key = std::tuple<std::string, std::string, uint64_t>;  // route, host, id
  static Key key_of(const CarriedConnection& connection);
  std::set<uint64_t> concerned_by(const route::Delta& changes) const;

  std::unordered_map<uint64_t, CarriedConnection> all_;
  std::set<Key> by_route_;
  uint64_t rechecked_ = 0;
};

}  // namespace culvert::edge
