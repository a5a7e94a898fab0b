#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "net/ready_socket.h"
#include "net/tcp.h"

namespace culvert::net {
namespace {

// Look-ups that wait for the thread. It does one at a time: more waiting than this cannot be served in time.
constexpr size_t kMaxWaiting = 256;
// A name with more addresses than this is a mistake or an attack on whoever tries them in turn.
constexpr size_t kMaxAddresses = 16;

using Addresses = std::vector<SocketAddr>;

// One question. Owned by the coroutine that asks and, while it is being answered, by the thread. Closing
// `answered` wakes the loop: unlike a post to the loop, that is harmless when the loop is gone.
struct Query {
  Query(std::string name, uint16_t service_port, int write_end)
      : host(std::move(name)), port(service_port), answered(write_end) {}
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;
  ~Query() {
    if (answered >= 0) ::close(answered);
  }

  const std::string host;
  const uint16_t port;
  int answered;  // the write end of a pipe; the thread's until it is closed
  std::mutex mutex;
  std::optional<Result<Addresses>> answer;
};

Result<Addresses> ask_system(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int status = getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (status != 0) {
    const int system_error = errno;
    const bool unknown = status == EAI_NONAME || status == EAI_NODATA;
    return fail(unknown ? ErrorCode::kNotFound : ErrorCode::kUnavailable, "cannot resolve {}: {}",
                quoted(host), status == EAI_SYSTEM ? std::strerror(system_error) : gai_strerror(status));
  }
  Addresses found;
  for (const addrinfo* entry = list; entry && found.size() < kMaxAddresses; entry = entry->ai_next) {
    const SocketAddr address = SocketAddr::from_sockaddr(entry->ai_addr).with_port(port);
    if (std::ranges::find(found, address) == found.end()) found.push_back(address);
  }
  freeaddrinfo(list);
  if (found.empty()) return fail(ErrorCode::kNotFound, "cannot resolve {}: it has no address", quoted(host));
  return found;
}

// The one thread that may block in getaddrinfo. It is never joined: getaddrinfo cannot be interrupted, and an
// exit must not wait for a dead name server. It touches nothing but this object, which is never destroyed,
// and queries it shares.
class ResolverThread {
 public:
  static ResolverThread& instance() {
    static auto* const thread = new ResolverThread;
    return *thread;
  }

  // False when too many wait.
  bool ask(const std::shared_ptr<Query>& query) {
    std::lock_guard lock(mutex_);
    std::erase_if(waiting_, [](const std::weak_ptr<Query>& other) { return other.expired(); });
    if (waiting_.size() >= kMaxWaiting) return false;
    waiting_.push_back(query);
    wake_.notify_one();
    return true;
  }

 private:
  ResolverThread() {
    std::thread([this] { run(); }).detach();
  }

  [[noreturn]] void run() {
    for (;;) {
      const auto query = next();
      if (!query) continue;  // nobody waits for it any more
      auto answer = ask_system(query->host, query->port);
      std::lock_guard lock(query->mutex);
      query->answer = std::move(answer);
      ::close(std::exchange(query->answered, -1));
    }
  }

  std::shared_ptr<Query> next() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return !waiting_.empty(); });
    auto query = waiting_.front().lock();
    waiting_.pop_front();
    return query;
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::weak_ptr<Query>> waiting_;
};

std::optional<SocketAddr> parse_literal(const std::string& host, uint16_t port) {
  std::array<uint8_t, 4> ip4;
  if (inet_pton(AF_INET, host.c_str(), ip4.data()) == 1) return SocketAddr::v4(ip4, port);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  const std::string bare = bracketed ? host.substr(1, host.size() - 2) : host;
  std::array<uint8_t, 16> ip6;
  if (inet_pton(AF_INET6, bare.c_str(), ip6.data()) == 1) return SocketAddr::v6(ip6, port);
  return std::nullopt;
}

// RFC 6761, 6.3: names below localhost are this machine, whatever a name server says.
bool is_localhost(std::string host) {
  std::ranges::transform(host, host.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (host.ends_with('.')) host.pop_back();
  return host == "localhost" || host.ends_with(".localhost");
}

// Keeps URLs, host:port and control characters (getaddrinfo stops at a NUL) from being asked for.
bool is_plausible_name(std::string_view host) {
  if (host.empty() || host.size() > 254) return false;
  return std::ranges::all_of(
      host, [](char c) { return c > ' ' && c < 0x7f && c != '[' && c != ']' && c != '/' && c != ':'; });
}

Task<Result<Addresses>> ask_thread(EventLoop& loop, std::string host, uint16_t port, TimePoint deadline) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
    co_return fail(ErrorCode::kUnavailable, "cannot resolve {}: {}", quoted(host), std::strerror(errno));
  }
  ReadySocket answered(loop, ends[0]);
  auto query = std::make_shared<Query>(host, port, ends[1]);
  const bool asked = answered.is_open() && ResolverThread::instance().ask(query);
  if (!asked)
    co_return fail(ErrorCode::kUnavailable, "cannot resolve {}: too many names are being resolved",
                   quoted(host));
  auto ready = std::make_shared<Notify>(loop);
  while (true) {
    answered.when_readable([ready] { ready->notify(); });
    const bool in_time = co_await ready->wait_until(deadline);
    if (!in_time) {
      co_return fail(ErrorCode::kTimeout, "cannot resolve {}: the name server did not answer in time",
                     quoted(host));
    }
    std::lock_guard lock(query->mutex);
    if (query->answer) co_return std::move(*query->answer);
    // Readiness may be told for nothing: an event of a descriptor that is closed already can reach its
    // successor.
  }
}

}  // namespace

Task<Result<Addresses>> resolve(EventLoop& loop, std::string host, uint16_t port, TimePoint deadline) {
  if (!is_plausible_name(host) && !parse_literal(host, port)) {
    co_return fail(ErrorCode::kNotFound, "{} is neither a host name nor an IP address", quoted(host));
  }
  if (auto literal = parse_literal(host, port)) co_return Addresses{*literal};
  if (is_localhost(host)) {
    // IPv4 first: more local services listen there, and who tries in turn finds the others.
    co_return Addresses{SocketAddr::v4({127, 0, 0, 1}, port),
                        SocketAddr::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, port)};
  }
  auto answer = co_await ask_thread(loop, std::move(host), port, deadline);
  co_return answer;
}

}  // namespace culvert::net
