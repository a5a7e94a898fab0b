#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "net/ready_socket.h"
#include "net/tcp.h"

namespace culvert::net {
namespace {

std::unexpected<Error> cannot_connect(const SocketAddr& address, int system_error) {
  return fail(ErrorCode::kUnavailable, "cannot connect to {}: {}", address.to_string(),
              std::strerror(system_error));
}

int connect_result(int fd) {
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
  return error;
}

}  // namespace

Task<Result<std::unique_ptr<ByteStream>>> tcp_connect(EventLoop& loop, SocketAddr address,
                                                      TimePoint deadline) {
  const int fd =
      ::socket(address.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) co_return cannot_connect(address, errno);
  ReadySocket socket(loop, fd);
  if (!socket.is_open()) co_return cannot_connect(address, ENOMEM);
  sockaddr_storage storage;
  const socklen_t length = address.to_sockaddr(storage);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&storage), length) != 0) {
    if (errno != EINPROGRESS) co_return cannot_connect(address, errno);
    auto ready = std::make_shared<Notify>(loop);
    socket.when_writable([ready] { ready->notify(); });
    const bool in_time = co_await ready->wait_until(deadline);
    if (!in_time) {
      co_return fail(ErrorCode::kTimeout, "cannot connect to {}: no answer in time", address.to_string());
    }
    if (const int error = connect_result(fd)) co_return cannot_connect(address, error);
  }
  co_return make_tcp_stream(loop, socket.release());
}

Task<Result<std::unique_ptr<ByteStream>>> tcp_connect(EventLoop& loop, std::string host, uint16_t port,
                                                      TimePoint deadline) {
  auto addresses = co_await resolve(loop, host, port, deadline);
  if (!addresses) co_return std::unexpected(addresses.error());
  Error last{ErrorCode::kUnavailable, "no address"};
  for (size_t i = 0; i < addresses->size(); ++i) {
    // An address that swallows packets must leave time for the others.
    const TimePoint now = monotonic_now();
    const auto share = static_cast<int64_t>(addresses->size() - i);
    const TimePoint attempt_deadline =
        std::min(deadline, now + std::max(Duration(0), deadline - now) / share);
    auto stream = co_await tcp_connect(loop, (*addresses)[i], attempt_deadline);
    if (stream) co_return std::move(*stream);
    last = stream.error();
  }
  if (addresses->size() > 1)
    last.message = fmt::format("{}: {} addresses failed; {}", host, addresses->size(), last.message);
  co_return std::unexpected(std::move(last));
}

}  // namespace culvert::net
