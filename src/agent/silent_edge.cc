#include "agent/silent_edge.h"

#include <fmt/format.h>

#include "net/network_watch.h"

namespace culvert::agent {
namespace {

// RFC 9000, 14: a path carries datagrams of 1200 bytes or no QUIC. With the headers of UDP and IP.
size_t least_mtu(const SocketAddr& address) { return 1200 + 8 + (address.is_v4() ? 20 : 40); }

}  // namespace

std::string silent_edge(net::EventLoop& loop, const std::vector<std::string>& names,
                        const std::vector<SocketAddr>& addresses) {
  for (const SocketAddr& address : addresses) {
    const auto mtu = net::path_mtu(loop, address);
    if (!mtu || *mtu >= least_mtu(address)) continue;
    return fmt::format(
        "no answer from UDP {}: the path to {} carries packets of {} bytes at most, and QUIC needs {}; raise "
        "the MTU of the interface or tunnel on this path",
        fmt::join(names, ", "), address.to_string(), *mtu, least_mtu(address));
  }
  return fmt::format(
      "no answer from UDP {}; open this UDP port in the firewalls of the node's host and of its provider, "
      "and let UDP out here. If it is open, the path may not carry packets of 1248 bytes, which QUIC needs: "
      "check the MTU of tunnels on it",
      fmt::join(names, ", "));
}

}  // namespace culvert::agent
