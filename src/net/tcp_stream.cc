#include "net/tcp_stream.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "net/tcp.h"

namespace culvert::net {
namespace {

// Of one write; more than a full GRO batch of packets brings.
constexpr size_t kMaxParts = 64;

// What the kernel takes beyond what the peer's window lets it send. Its buffer grows to megabytes otherwise:
// a client that stops reading would hold as much there, and the stream that feeds it would pass for one that
// is read.
constexpr int kMaxNotSent = 128 * 1024;

// A peer that lost its power or its network sends nothing: found after two minutes. Each probe costs a packet
// a minute for an idle connection, and keeps the state of NATs and firewalls on the way alive.
constexpr int kProbeAfter = 60;  // seconds
constexpr int kProbeEvery = 15;  // seconds
constexpr int kProbes = 4;

void set_option(int fd, int level, int option, int value) {
  setsockopt(fd, level, option, &value, sizeof value);
}

SocketAddr peer_address(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (fd < 0 || getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return {};
  return SocketAddr::from_sockaddr(reinterpret_cast<const sockaddr*>(&storage));
}

}  // namespace

void set_tcp_options(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, kMaxNotSent);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, kProbeAfter);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, kProbeEvery);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, kProbes);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

// errno tells: try again when `want` is possible, or the end.
IoResult TcpStream::failed(IoStatus want) {
  if (errno == EAGAIN) return {want};
  error_ = errno;
  return {IoStatus::kError};
}

IoResult TcpStream::try_read(MutableBytes into) {
  CHECK(!into.empty());
  ssize_t count;
  do {
    count = ::recv(socket_->fd(), into.data(), into.size(), MSG_DONTWAIT);
  } while (count < 0 && errno == EINTR);
  drained_ = count > 0 ? static_cast<size_t>(count) < into.size() : count < 0 && errno == EAGAIN;
  return read(count);
}

// What recv or splice has answered.
IoResult TcpStream::read(ssize_t count) {
  if (count > 0) return {IoStatus::kOk, static_cast<size_t>(count)};
  // The kernel tells of an RST once: a write that met it leaves a read that looks like a clean end. After a
  // FIN the write would have failed with EPIPE.
  if (count == 0 && reset_) return {IoStatus::kError};
  if (count == 0) return {IoStatus::kEof};
  return failed(IoStatus::kWantRead);
}

IoResult TcpStream::try_write(std::span<const ByteView> from) {
  std::array<iovec, kMaxParts> parts;
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = std::min(from.size(), parts.size());
  size_t wanted = 0;
  for (size_t i = 0; i < message.msg_iovlen; ++i) {
    CHECK(!from[i].empty());
    parts[i] = {const_cast<uint8_t*>(from[i].data()), from[i].size()};
    wanted += from[i].size();
  }
  CHECK(message.msg_iovlen > 0);
  ssize_t count;
  do {
    count = ::sendmsg(socket_->fd(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (count < 0 && errno == EINTR);
  filled_ = count >= 0 ? static_cast<size_t>(count) < wanted : errno == EAGAIN;
  if (count >= 0) return {IoStatus::kOk, static_cast<size_t>(count)};
  if (errno == ECONNRESET) reset_ = true;
  return failed(IoStatus::kWantWrite);
}

// A pipe may be full of small parts long before it is full of bytes, so that fewer than were asked for say
// nothing of the socket.
IoResult TcpStream::try_splice_to(int pipe, size_t most) {
  ssize_t count;
  do {
    count = ::splice(socket_->fd(), nullptr, pipe, nullptr, most, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  } while (count < 0 && errno == EINTR);
  drained_ = count < 0 && errno == EAGAIN;
  return read(count);
}

IoResult TcpStream::try_splice_from(int pipe, size_t bytes) {
  ssize_t count;
  do {
    count = ::splice(pipe, nullptr, socket_->fd(), nullptr, bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  } while (count < 0 && errno == EINTR);
  filled_ = count < 0 && errno == EAGAIN;
  if (count >= 0) return {IoStatus::kOk, static_cast<size_t>(count)};
  if (errno == ECONNRESET) reset_ = true;
  return failed(IoStatus::kWantWrite);
}

IoResult TcpStream::try_finish() {
  if (::shutdown(socket_->fd(), SHUT_WR) == 0) return {IoStatus::kOk};
  return failed(IoStatus::kWantWrite);
}

void TcpStream::when_readable(ReadyCallback callback) {
  if (std::exchange(drained_, false)) return socket_->when_readable_again(std::move(callback));
  socket_->when_readable(std::move(callback));
}

void TcpStream::when_writable(ReadyCallback callback) {
  if (std::exchange(filled_, false)) return socket_->when_writable_again(std::move(callback));
  socket_->when_writable(std::move(callback));
}

void TcpStream::leave_loop() {
  detached_.reset(socket_->release());
  socket_.reset();
}

bool TcpStream::peer_has_ended() const {
  pollfd state{.fd = socket_->fd(), .events = POLLRDHUP, .revents = 0};
  return ::poll(&state, 1, 0) > 0 && (state.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

std::string TcpStream::last_error() const {
  if (error_ == EBADF) return "the connection was closed here";
  return error_ ? std::strerror(error_) : "no error";
}

std::unique_ptr<TcpStream> TcpStream::adopt(EventLoop& loop, int fd) {
  ReadySocket socket(loop, fd);
  const SocketAddr remote = peer_address(socket.fd());
  return std::make_unique<TcpStream>(std::move(socket), remote);
}

Descriptor take_socket(std::unique_ptr<ByteStream> stream) {
  auto* const tcp = dynamic_cast<TcpStream*>(stream.get());
  return tcp != nullptr && tcp->is_open() ? tcp->take() : Descriptor();
}

std::unique_ptr<ByteStream> adopt_socket(EventLoop& loop, Descriptor socket) {
  return TcpStream::adopt(loop, socket.release());
}

}  // namespace culvert::net
