#pragma once
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "agent/local_routes.h"
#include "endpoint/endpoint.h"
#include "hubapi/token.h"
#include "net/lifetime.h"
#include "net/network_watch.h"

namespace culvert::agent {

// Follows the network under an agent: a host whose address changed moves its tunnels to a new socket, and one
// that got a network does not wait for the end of a back-off. Lives on one loop; what the constructor takes
// outlives it.
class NetworkMover {
 public:
  NetworkMover(net::EventLoop& loop, const hubapi::InviteToken& token, net::Lifetime& lifetime);
  NetworkMover(const NetworkMover&) = delete;

  // Watches for `endpoint`, which outlives it. A kernel that does not report changes is not an error.
  void start(endpoint::Endpoint& endpoint);

  // Where an edge is being looked for, until forget(): a change of the way there matters.
  void look_for(const EndpointId& edge, const std::vector<SocketAddr>& addresses);
  void forget(const EndpointId& edge);
  // A tunnel, between its welcome and its end.
  void add(const endpoint::ConnectionPtr& tunnel);
  void remove(const endpoint::ConnectionPtr& tunnel);

 private:
  void watch_routes();
  void network_changed();

  net::EventLoop& loop_;
  const hubapi::InviteToken& token_;
  net::Lifetime& lifetime_;
  endpoint::Endpoint* endpoint_ = nullptr;
  LocalRoutes routes_;  // to the hub and to all edges
  std::map<EndpointId, std::vector<SocketAddr>> edges_;
  std::map<endpoint::ConnectionPtr, SocketAddr> sources_;  // the local address its packets left from last
  std::unique_ptr<net::NetworkWatch> watch_;
};

}  // namespace culvert::agent
