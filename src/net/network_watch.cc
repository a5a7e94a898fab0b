#include "net/network_watch.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "net/ready_socket.h"
#include "net/system.h"

namespace culvert::net {
namespace {

class NetlinkWatch final : public NetworkWatch {
 public:
  NetlinkWatch(EventLoop& loop, int fd, std::function<void()> callback)
      : socket(loop, fd), settle(loop), on_change(std::move(callback)) {}

  bool is_open() const { return socket.is_open(); }
  void wait() {
    socket.when_readable([this] { drain(); });
  }

 private:
  // What changed does not matter, only that something did; a lost message (ENOBUFS) is a change as well.
  void drain() {
    if (!socket.is_open()) return;
    uint8_t message[8192];
    bool changed = false;
    while (true) {
      ssize_t got = recv(socket.fd(), message, sizeof message, 0);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno != ENOBUFS) break;
      changed = true;
    }
    if (changed && !settling) {
      settling = true;
      settle.after(kSettle, [this] {
        settling = false;
        on_change();
      });
    }
    wait();
  }

  ReadySocket socket;
  Timer settle;
  std::function<void()> on_change;
  bool settling = false;
};

}  // namespace

Result<std::unique_ptr<NetworkWatch>> NetworkWatch::start(EventLoop& loop, std::function<void()> on_change) {
  return loop.platform().watch_network(loop, std::move(on_change));
}

Result<SocketAddr> source_address_for(EventLoop& loop, const SocketAddr& remote) {
  return loop.platform().source_address_for(remote);
}

std::optional<size_t> path_mtu(EventLoop& loop, const SocketAddr& remote) {
  return loop.platform().path_mtu(remote);
}

Result<std::unique_ptr<NetworkWatch>> watch_system_network(EventLoop& loop, std::function<void()> on_change) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (fd < 0) return fail(ErrorCode::kIo, "cannot watch the network: {}", std::strerror(errno));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups =
      RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    int error = errno;
    close(fd);
    return fail(ErrorCode::kIo, "cannot watch the network: {}", std::strerror(error));
  }
  auto watch = std::make_unique<NetlinkWatch>(loop, fd, std::move(on_change));
  if (!watch->is_open())
    return fail(ErrorCode::kIo, "cannot watch the network: the loop takes no more descriptors");
  watch->wait();
  return watch;
}

Result<SocketAddr> system_source_address_for(const SocketAddr& remote) {
  int fd = socket(remote.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return fail(ErrorCode::kUnavailable, "no socket to reach {}: {}", remote.to_string(),
                std::strerror(errno));
  sockaddr_storage address{};
  socklen_t length = remote.to_sockaddr(address);
  // Connecting a UDP socket sends nothing; the kernel only chooses the route and the source.
  bool chosen = connect(fd, reinterpret_cast<const sockaddr*>(&address), length) == 0;
  length = sizeof address;
  chosen = chosen && getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0;
  int error = errno;
  close(fd);
  if (!chosen)
    return fail(ErrorCode::kUnavailable, "no route to {}: {}", remote.to_string(), std::strerror(error));
  return SocketAddr::from_sockaddr(reinterpret_cast<const sockaddr*>(&address)).with_port(0);
}

std::optional<size_t> system_path_mtu(const SocketAddr& remote) {
  const int fd = socket(remote.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::nullopt;
  sockaddr_storage address{};
  const socklen_t length = remote.to_sockaddr(address);
  int mtu = 0;
  socklen_t size = sizeof mtu;
  const bool known = connect(fd, reinterpret_cast<const sockaddr*>(&address), length) == 0 &&
                     getsockopt(fd, remote.is_v4() ? IPPROTO_IP : IPPROTO_IPV6,
                                remote.is_v4() ? IP_MTU : IPV6_MTU, &mtu, &size) == 0;
  close(fd);
  return known && mtu > 0 ? std::optional(static_cast<size_t>(mtu)) : std::nullopt;
}

}  // namespace culvert::net
