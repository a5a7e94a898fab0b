#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "base/rate_limit.h"
#include "net/bind.h"
#include "net/ready_socket.h"
#include "net/shared_sockets.h"
#include "net/system.h"
#include "net/tcp.h"
#include "net/tcp_stream.h"

namespace culvert::net {
namespace {

using namespace std::chrono_literals;

// How long to wait for descriptors to be closed elsewhere. Meanwhile connections queue in the backlog.
constexpr Duration kTableFullPause = 100ms;
// accept4 that finds a connection does not suspend: under a flood the rest of the loop gets its turn this
// often.
constexpr unsigned kAcceptsPerTurn = 64;

bool is_table_full(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

// The connection died before it was accepted, or the network told so: accept(2), "Error handling".
bool is_about_one_connection(int error) {
  switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case ETIMEDOUT:
      return true;
    default:
      return false;
  }
}

struct Listening final : Shareable {
  Listening(EventLoop& owner, int fd)
      : loop(owner), socket(owner, fd), local(bound_address(fd)), closed(owner), resumed(owner) {}

  void pause() override {
    is_paused = true;
    socket.pause_reading();
  }
  void resume() override {
    is_paused = false;
    socket.resume_reading();
    resumed.notify();
  }
  void read_feed(Descriptor /*feed*/) override {}
  void forget(uint8_t /*generation*/) override {}

  void shut() {
    registration.reset();
    socket.close();
    closed.notify();
    resumed.notify();
  }

  void warn(int error) {
    if (!warnings.allow(loop.now())) return;
    log_warn("accept_paused", "listen={} reason={} more_like_it={} hint={}", local.to_string(),
             quoted(std::strerror(error)), warnings.take_refused(), quoted("raise the limit of open files"));
  }

  EventLoop& loop;
  ReadySocket socket;
  SocketAddr local;
  Notify closed;
  Notify resumed;
  bool is_paused = false;
  SharedSockets::Registration registration;
  RateLimit warnings{1, 10s};
  unsigned accepted_in_a_row = 0;
};
using ListeningPtr = std::shared_ptr<Listening>;

Task<> wait_readable(ListeningPtr impl) {
  auto ready = std::make_shared<Notify>(impl->loop);
  impl->socket.when_readable([ready] { ready->notify(); });
  co_await ready->wait();
}

// Shares the listener's insides: the listener may be destroyed while this waits.
Task<Result<std::unique_ptr<ByteStream>>> accept_next(ListeningPtr impl) {
  if (++impl->accepted_in_a_row >= kAcceptsPerTurn) {
    impl->accepted_in_a_row = 0;
    co_await boost::asio::post(impl->loop.executor(), boost::asio::use_awaitable_t<Executor>{});
  }
  while (impl->socket.is_open()) {
    if (impl->is_paused) {
      co_await impl->resumed.wait();
      continue;
    }
    sockaddr_storage remote;
    socklen_t length = sizeof remote;
    const int fd = ::accept4(impl->socket.fd(), reinterpret_cast<sockaddr*>(&remote), &length,
                             SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      co_return std::make_unique<TcpStream>(ReadySocket(impl->loop, fd),
                                            SocketAddr::from_sockaddr(reinterpret_cast<sockaddr*>(&remote)));
    }
    const int error = errno;
    if (error == EAGAIN) {
      impl->accepted_in_a_row = 0;
      co_await wait_readable(impl);
    } else if (is_table_full(error)) {
      impl->warn(error);
      co_await impl->closed.wait_until(impl->loop.now() + kTableFullPause);
    } else if (!is_about_one_connection(error)) {
      co_return fail(ErrorCode::kIo, "cannot accept on {}: {}", impl->local.to_string(),
                     std::strerror(error));
    }
  }
  co_return fail(ErrorCode::kClosed, "the listener on {} is closed", impl->local.to_string());
}

class SystemListener final : public TcpListener {
 public:
  explicit SystemListener(ListeningPtr impl) : impl_(std::move(impl)) {}
  ~SystemListener() override { impl_->shut(); }

  SocketAddr local_addr() const override { return impl_->local; }
  Task<Result<std::unique_ptr<ByteStream>>> accept() override { return accept_next(impl_); }
  void close() override { impl_->shut(); }

 private:
  ListeningPtr impl_;
};

}  // namespace

Result<std::unique_ptr<TcpListener>> TcpListener::listen(EventLoop& loop, const SocketAddr& address,
                                                         ListenOptions options) {
  return loop.platform().listen_tcp(loop, address, options);
}

namespace {

Result<Descriptor> open_listening(const SocketAddr& address, const ListenOptions& options) {
  auto fd = open_bound(address, SOCK_STREAM, options.share);
  if (!fd) return std::unexpected(fd.error());
  Descriptor socket(*fd);
  set_tcp_options(*fd);
  if (::listen(*fd, options.backlog) != 0) return std::unexpected(bind_error(address, SOCK_STREAM, errno));
  if (options.share == PortShare::kFirst) {
    if (auto allowed = allow_siblings(*fd, address, SOCK_STREAM); !allowed)
      return std::unexpected(allowed.error());
  }
  return socket;
}

}  // namespace

Result<std::unique_ptr<TcpListener>> listen_on_system(EventLoop& loop, const SocketAddr& address,
                                                      const ListenOptions& options,
                                                      const std::shared_ptr<SharedSockets>& shared) {
  Descriptor socket;
  if (shared) socket = std::move(shared->claim(SocketKind::kTcp, address).socket);
  if (!socket) {
    auto opened = open_listening(address, options);
    if (!opened) return std::unexpected(opened.error());
    socket = std::move(*opened);
  }
  auto impl = std::make_shared<Listening>(loop, socket.release());
  if (!impl->socket.is_open()) return std::unexpected(bind_error(address, SOCK_STREAM, ENOMEM));
  if (shared) {
    impl->registration = shared->add({.kind = SocketKind::kTcp,
                                      .address = impl->local,
                                      .fd = impl->socket.fd(),
                                      .loop = &loop,
                                      .socket = impl});
  }
  return std::make_unique<SystemListener>(std::move(impl));
}

}  // namespace culvert::net
