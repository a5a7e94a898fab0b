#include "net/bind.h"

#include <unistd.h>

#include <cerrno>

namespace culvert::net {
namespace {

struct Meaning {
  ErrorCode code;
  std::string reason;
};

Meaning meaning_of(int system_error) {
  switch (system_error) {
    case EADDRINUSE:
      return {ErrorCode::kConflict,
              "the address is in use by another program; stop it or choose another address"};
    case EACCES:
    case EPERM:
      return {ErrorCode::kUnauthorized,
              "this user may not use the port; choose one above 1023, or allow it with "
              "`setcap cap_net_bind_service=+ep <program>`"};
    case EADDRNOTAVAIL:
      return {ErrorCode::kIo, "no interface of this machine has the address; 0.0.0.0 or [::] means all"};
    case EAFNOSUPPORT:
      return {ErrorCode::kIo, "this machine does not do IPv6; use an IPv4 address such as 0.0.0.0"};
    default:
      return {ErrorCode::kIo, std::strerror(system_error)};
  }
}

}  // namespace

Error bind_error(const SocketAddr& address, int type, int system_error) {
  Meaning meaning = meaning_of(system_error);
  return {meaning.code, fmt::format("cannot listen on {}/{}: {}", address.to_string(),
                                    type == SOCK_DGRAM ? "udp" : "tcp", meaning.reason)};
}

Result<> allow_siblings(int fd, const SocketAddr& address, int type) {
  const int on = 1;
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0) return {};
  return std::unexpected(bind_error(address, type, errno));
}

Result<int> open_bound(const SocketAddr& address, int type, PortShare share) {
  const int family = address.is_v4() ? AF_INET : AF_INET6;
  const int fd = ::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::unexpected(bind_error(address, type, errno));
  const int on = 1;
  const int off = 0;
  // On a datagram socket SO_REUSEADDR would let two programs share the port.
  if (type == SOCK_STREAM) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (share == PortShare::kSibling) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  if (family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  sockaddr_storage storage;
  const socklen_t length = address.to_sockaddr(storage);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&storage), length) != 0) {
    const int error = errno;
    ::close(fd);
    return std::unexpected(bind_error(address, type, error));
  }
  return fd;
}

SocketAddr every_address(uint16_t port) {
  const SocketAddr v6 = SocketAddr::v6({}, port);
  auto probe = open_bound(v6.with_port(0), SOCK_DGRAM, PortShare::kNone);
  if (!probe) return SocketAddr::v4({}, port);
  ::close(*probe);
  return v6;
}

SocketAddr bound_address(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (fd < 0 || getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return {};
  return SocketAddr::from_sockaddr(reinterpret_cast<const sockaddr*>(&storage));
}

}  // namespace culvert::net
