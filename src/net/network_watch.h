#pragma once
#include <functional>
#include <memory>
#include <optional>

#include "base/result.h"
#include "base/socket_addr.h"
#include "net/event_loop.h"

namespace culvert::net {

// Tells when this host's links, addresses or routes change (RTNETLINK). Changes come in bursts: the callback
// runs once, kSettle after the first of a burst. Lives on one loop; ends with its destruction.
class NetworkWatch {
 public:
  static constexpr Duration kSettle = std::chrono::milliseconds(200);

  // kIo when the kernel gives no such socket (some containers): the caller goes on without.
  static Result<std::unique_ptr<NetworkWatch>> start(EventLoop& loop, std::function<void()> on_change);
  virtual ~NetworkWatch() = default;
};

// The local address that the kernel would send from to reach `remote`; kUnavailable when there is no route.
Result<SocketAddr> source_address_for(EventLoop& loop, const SocketAddr& remote);

// The largest IP packet that the kernel believes can reach `remote`: of its route, or what routers on the way
// reported lately. nullopt when it cannot tell.
std::optional<size_t> path_mtu(EventLoop& loop, const SocketAddr& remote);

}  // namespace culvert::net
