#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "net/lookup.h"
#include "net/ready_socket.h"
#include "net/system.h"
#include "net/tcp.h"
#include "net/tcp_stream.h"

namespace culvert::net {
namespace {

// RFC 8305, 5 and 3: their recommended values.
constexpr Duration kAttemptDelay = std::chrono::milliseconds(250);
constexpr Duration kResolutionDelay = std::chrono::milliseconds(50);

class SystemAttempt final : public ConnectAttempt {
 public:
  SystemAttempt(EventLoop& loop, const SocketAddr& address, const ConnectOptions& options,
                std::shared_ptr<Notify> changed)
      : address_(address), changed_(std::move(changed)) {
    const int fd =
        ::socket(address.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
      outcome_ = errno;
      return;
    }
    set_tcp_options(fd);
    if (options.writes_at_once) {
      // The kernel keeps the last ACK of the handshake back, for some 40 ms at most.
      const int off = 0;
      setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof off);
    }
    socket_.emplace(loop, fd);
    if (!socket_->is_open()) {
      outcome_ = ENOMEM;
      return;
    }
    sockaddr_storage storage;
    const socklen_t length = address.to_sockaddr(storage);
    outcome_ = ::connect(fd, reinterpret_cast<const sockaddr*>(&storage), length) == 0 ? 0 : errno;
    // On loopback the answer has come before connect() returns: no turn of the loop is needed to learn of it.
    if (outcome_ == EINPROGRESS) outcome_ = ask_kernel();
    if (outcome_ == EINPROGRESS) wait();
  }

  const SocketAddr& address() const override { return address_; }
  int outcome() const override { return outcome_; }
  std::unique_ptr<ByteStream> take() override {
    return std::make_unique<TcpStream>(std::move(*socket_), address_);
  }

 private:
  void wait() {
    socket_->when_writable([this] {
      outcome_ = ask_kernel();
      if (outcome_ == EINPROGRESS) return wait();
      changed_->notify();
    });
  }

  int ask_kernel() const {
    sockaddr_storage peer;
    socklen_t length = sizeof peer;
    if (getpeername(socket_->fd(), reinterpret_cast<sockaddr*>(&peer), &length) == 0) return 0;
    if (errno != ENOTCONN) return errno;
    int error = 0;
    length = sizeof error;
    if (getsockopt(socket_->fd(), SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
    // None: readiness may be spurious, as an event of a descriptor that is closed can reach its successor.
    return error != 0 ? error : EINPROGRESS;
  }

  const SocketAddr address_;
  const std::shared_ptr<Notify> changed_;
  std::optional<ReadySocket> socket_;
  int outcome_ = 0;
};
using AttemptPtr = std::unique_ptr<ConnectAttempt>;

// The addresses of a lookup in the order in which they are tried, as they become known.
class AddressQueue {
 public:
  AddressQueue(std::shared_ptr<Lookup> lookup, uint16_t port) : lookup_(std::move(lookup)), port_(port) {}

  bool is_empty() const { return v4_ == known(true).size() && v6_ == known(false).size(); }
  bool has_started() const { return v4_ + v6_ > 0; }

  // When the first may be tried: IPv6 at once, IPv4 a little later if the answer about IPv6 is due.
  TimePoint may_start_at() const {
    if (has_started() || lookup_->is_v4_first() || lookup_->v6().answered) return TimePoint::min();
    return *lookup_->v4().answered + kResolutionDelay;
  }

  SocketAddr take() {
    bool v4 = has_started() ? !last_was_v4_ : lookup_->is_v4_first();
    if ((v4 ? v4_ : v6_) == known(v4).size()) v4 = !v4;
    last_was_v4_ = v4;
    return known(v4)[v4 ? v4_++ : v6_++].with_port(port_);
  }

 private:
  const std::vector<SocketAddr>& known(bool v4) const {
    return v4 ? lookup_->v4().addresses : lookup_->v6().addresses;
  }

  const std::shared_ptr<Lookup> lookup_;
  const uint16_t port_;
  size_t v4_ = 0, v6_ = 0;  // taken of each
  bool last_was_v4_ = false;
};

// One race for one host; lives in the frame of tcp_connect.
class Race {
 public:
  Race(EventLoop& loop, const std::string& host, uint16_t port, const ConnectOptions& options)
      : loop_(loop),
        host_(host),
        options_(options),
        lookup_(look_up(loop, host)),
        queue_(lookup_, port),
        changed_(std::make_shared<Notify>(loop)),
        watch_(lookup_, *changed_) {}

  Notify& changed() { return *changed_; }

  // Starts what is due and collects what has ended; true when the race is over. Otherwise it goes on at the
  // next change, or at `next`.
  bool advance(TimePoint now, TimePoint& next) {
    collect();
    while (!winner_ && !queue_.is_empty()) {
      const TimePoint due = std::max(queue_.may_start_at(), next_attempt_);
      if (now < due) break;
      attempts_.push_back(make_connect_attempt(loop_, queue_.take(), options_, changed_));
      next_attempt_ = now + kAttemptDelay;
      collect();
    }
    if (winner_) return true;
    next = TimePoint::max();
    if (!queue_.is_empty()) next = std::max(queue_.may_start_at(), next_attempt_);
    if (!queue_.is_empty() || !attempts_.empty()) return false;
    next = lookup_->settled_at();
    return next <= now;
  }

  Result<std::unique_ptr<ByteStream>> result(bool in_time) {
    if (winner_) return winner_->take();
    if (!lookup_->has_addresses()) return std::unexpected(lookup_->error());
    for (const AttemptPtr& attempt : attempts_) add_failure(attempt->address(), "no answer in time");
    while (!queue_.is_empty()) add_failure(queue_.take(), "not tried in time");
    std::string message;
    if (failures_ == 1) {
      message = fmt::format("cannot connect to {}", reasons_);
      const bool is_literal = reasons_.starts_with(host_) || reasons_.starts_with("[" + host_ + "]");
      if (!is_literal) message = fmt::format("cannot connect to {}: {}", host_, reasons_);
    } else {
      message = fmt::format("cannot connect to {}: {} addresses failed: {}", host_, failures_, reasons_);
    }
    return std::unexpected(
        Error{in_time ? ErrorCode::kUnavailable : ErrorCode::kTimeout, std::move(message)});
  }

 private:
  void collect() {
    std::erase_if(attempts_, [this](AttemptPtr& attempt) {
      if (winner_ || attempt->outcome() == EINPROGRESS) return false;
      if (attempt->outcome() == 0) {
        winner_ = std::move(attempt);
      } else {
        add_failure(attempt->address(), std::strerror(attempt->outcome()));
        next_attempt_ = TimePoint::min();
      }
      return true;
    });
  }

  void add_failure(const SocketAddr& address, const char* reason) {
    reasons_ += fmt::format("{}{}: {}", failures_ == 0 ? "" : "; ", address.to_string(), reason);
    ++failures_;
  }

  EventLoop& loop_;
  const std::string& host_;
  const ConnectOptions options_;
  const std::shared_ptr<Lookup> lookup_;
  AddressQueue queue_;
  const std::shared_ptr<Notify> changed_;
  const Lookup::Watch watch_;
  std::vector<AttemptPtr> attempts_;
  AttemptPtr winner_;
  TimePoint next_attempt_ = TimePoint::min();
  std::string reasons_;
  size_t failures_ = 0;
};

}  // namespace

std::unique_ptr<ConnectAttempt> connect_on_system(EventLoop& loop, const SocketAddr& address,
                                                  const ConnectOptions& options,
                                                  std::shared_ptr<Notify> changed) {
  return std::make_unique<SystemAttempt>(loop, address, options, std::move(changed));
}

std::unique_ptr<ConnectAttempt> make_connect_attempt(EventLoop& loop, const SocketAddr& address,
                                                     ConnectOptions options,
                                                     std::shared_ptr<Notify> changed) {
  return loop.platform().connect_tcp(loop, address, options, std::move(changed));
}

Task<Result<std::unique_ptr<ByteStream>>> tcp_connect(EventLoop& loop, SocketAddr address, TimePoint deadline,
                                                      ConnectOptions options) {
  auto changed = std::make_shared<Notify>(loop);
  const AttemptPtr attempt = make_connect_attempt(loop, address, options, changed);
  if (attempt->outcome() == EINPROGRESS) co_await changed->wait_until(deadline);
  if (attempt->outcome() == 0) co_return attempt->take();
  if (attempt->outcome() == EINPROGRESS)
    co_return fail(ErrorCode::kTimeout, "cannot connect to {}: no answer in time", address.to_string());
  co_return fail(ErrorCode::kUnavailable, "cannot connect to {}: {}", address.to_string(),
                 std::strerror(attempt->outcome()));
}

Task<Result<std::unique_ptr<ByteStream>>> tcp_connect(EventLoop& loop, std::string host, uint16_t port,
                                                      TimePoint deadline, ConnectOptions options) {
  Race race(loop, host, port, options);
  while (true) {
    const TimePoint now = loop.now();
    TimePoint next = TimePoint::max();
    const bool is_over = race.advance(now, next);
    if (is_over || deadline <= now) co_return race.result(is_over);
    co_await race.changed().wait_until(std::min(deadline, next));
  }
}

}  // namespace culvert::net
