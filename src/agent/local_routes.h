#pragma once
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "base/result.h"
#include "base/socket_addr.h"

namespace culvert::agent {

// The local address from which this host reaches each of some destinations. The kernel reports every change
// of links, addresses and routes, those of unrelated containers among them; this says whether one of them
// concerns the destinations.
class LocalRoutes {
 public:
  // The address that packets to `remote` leave from; an error when there is no route.
  using Lookup = std::function<Result<SocketAddr>(const SocketAddr& remote)>;
  // Each is looked up at each report, five times a second at most.
  static constexpr size_t kMaxDestinations = 32;

  explicit LocalRoutes(Lookup lookup);

  // Replaces the destinations (the first kMaxDestinations are used). One that stays keeps what the last look
  // found, so that a change in between is not missed.
  void watch(const std::set<SocketAddr>& destinations);
  // Looks again: true when a destination has become reachable, or is reached from another address.
  bool changed();

 private:
  Lookup lookup_;
  std::map<SocketAddr, std::optional<SocketAddr>> seen_;  // nullopt: no route
};

}  // namespace culvert::agent
