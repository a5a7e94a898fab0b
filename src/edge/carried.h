#pragma once
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "base/key.h"
#include "edge/public_connection.h"
#include "edge/worker_traffic.h"
#include "route/snapshot.h"
#include "tunnel/pump.h"

namespace culvert::edge {

// A public connection whose bytes a pump carries.
struct CarriedConnection {
  PublicConnection connection;
  route::RouteId route;  // by which its agent was picked
  PublicKey tenant;      // the route's
  size_t header_size;    // of the stream's first bytes, the rest of which are the client's
  std::shared_ptr<tunnel::AnyPump> pump;
  WorkerTraffic::Use traffic = {};  // of the route and the target by which it was picked
};

// The public connections that a worker carries, by route: so that a change of routes costs what it concerns,
// however much else is carried.
class Carried {
 public:
  // The connection has a pick.
  void add(CarriedConnection carried);
  CarriedConnection remove(uint64_t id);
  // nullptr: it has ended.
  CarriedConnection* find(uint64_t id);
  size_t size() const { return all_.size(); }

  // `routes` are in force after `changes`: the ids of the connections whose agent they no longer give to what
  // the client asked for. Not those of agents without any route: the end of their tunnel ends them.
  std::vector<uint64_t> recheck(const route::Snapshot& routes, const route::Delta& changes);
  // Connections that recheck() looked at so far.
  uint64_t rechecked() const { return rechecked_; }

 private:
  using Key = std::tuple<std::string, std::string, uint64_t>;  // route, host, id
  static Key key_of(const CarriedConnection& carried);
  std::set<uint64_t> concerned_by(const route::Delta& changes) const;

  std::unordered_map<uint64_t, CarriedConnection> all_;
  std::set<Key> by_route_;
  uint64_t rechecked_ = 0;
};

}  // namespace culvert::edge
