#include "endpoint/endpoint.h"

#include <algorithm>
#include <deque>
#include <map>
#include <unordered_set>

#include "base/check.h"
#include "base/machine_memory.h"
#include "quic/driver.h"

namespace culvert::endpoint {
namespace {

using net::Task;

// RFC 9001, 4.8: 0x100 plus the TLS alert no_application_protocol.
constexpr AppCode kNoApplicationProtocol = 0x178;

// Path events that were not read yet. A peer may cause any number of them.
constexpr size_t kMaxPathEvents = 64;

Error connect_error(const CloseReason& reason, const std::string& peer, const std::string& alpn) {
  if (reason.code == kNoApplicationProtocol) {
    return {ErrorCode::kInvalid, fmt::format("{} does not speak \"{}\"", peer, alpn)};
  }
  if (reason.kind == CloseReason::Kind::kHandshake) {
    // The transport's own deadline has no code.
    const ErrorCode code = reason.code == 0 ? ErrorCode::kTimeout : ErrorCode::kUnauthorized;
    return {code, fmt::format("{}: {}", peer, reason.message)};
  }
  return {ErrorCode::kUnavailable, fmt::format("{}: {}", peer, reason.message)};
}

class EndpointImpl;

class ConnectionImpl final : public Connection, public quic::ConnectionObserver {
 public:
  ConnectionImpl(net::EventLoop& loop, EndpointImpl& endpoint, std::shared_ptr<quic::Connection> quic);
  ~ConnectionImpl() override;

  const std::optional<EndpointId>& remote_id() const override { return remote_id_; }
  const std::string& alpn() const override { return alpn_; }
  bool is_open() const override { return connected_ && !reason_; }

  Task<Result<StreamPtr>> open_bidi() override { return open(&quic::Connection::open_bidi); }
  Task<Result<StreamPtr>> open_uni() override { return open(&quic::Connection::open_uni); }
  StreamPtr try_open_bidi() override { return quic_ ? quic_->open_bidi() : nullptr; }
  Task<Result<StreamPtr>> accept_bidi() override { return accept(&quic::Connection::accept_bidi); }
  Task<Result<StreamPtr>> accept_uni() override { return accept(&quic::Connection::accept_uni); }

  void admit() override {
    if (quic_) quic_->admit();
  }

  Result<> send_datagram(ByteView data) override {
    if (!quic_) return closed_error();
    return quic_->datagrams().send(data);
  }
  size_t max_datagram_size() const override { return quic_ ? quic_->datagrams().max_size() : 0; }
  Task<Result<Bytes>> receive_datagram() override;
  std::optional<Bytes> try_receive_datagram() override {
    return quic_ ? quic_->datagrams().receive() : std::nullopt;
  }
  void set_on_datagrams(std::function<void()> callback) override { on_datagrams_ = std::move(callback); }

  void close(AppCode code, std::string reason) override {
    if (quic_) quic_->close(code, std::move(reason));
  }
  Task<CloseReason> closed() override;
  TimePoint last_heard() const override { return quic_ ? quic_->liveness().last_heard() : TimePoint::min(); }
  Duration probe_timeout() const override { return quic_ ? quic_->liveness().probe_timeout() : Duration{}; }
  void set_on_silence(std::function<void(Silence)> callback) override { on_silence_ = std::move(callback); }

  PathStats path_stats() const override { return quic_ ? quic_->paths().active() : last_stats_; }
  std::vector<PathStats> paths() const override {
    return has_paths() ? quic_->paths().all() : std::vector<PathStats>();
  }
  bool is_multipath() const override { return has_paths() && quic_->paths().is_multipath(); }
  Result<PathId> open_path(const SocketAddr& remote, bool backup) override {
    if (!has_paths()) return closed_error();
    return quic_->paths().open(remote, backup, loop_.now());
  }
  bool close_path(PathId path) override { return has_paths() && quic_->paths().close(path, loop_.now()); }
  bool set_backup(PathId path, bool backup) override {
    return has_paths() && quic_->paths().set_backup(path, backup);
  }
  bool set_path_timers(PathId path, Duration idle_timeout, Duration keep_alive) override {
    return has_paths() && quic_->paths().set_timers(path, idle_timeout, keep_alive, loop_.now());
  }
  bool ping_path(PathId path) override { return has_paths() && quic_->paths().ping(path); }
  bool add_candidate(const SocketAddr& address) override {
    return has_paths() && quic_->paths().add_candidate(address);
  }
  bool remove_candidate(const SocketAddr& address) override {
    return has_paths() && quic_->paths().remove_candidate(address);
  }
  Result<size_t> punch() override {
    if (!has_paths()) return closed_error();
    return quic_->paths().punch(loop_.now());
  }
  Task<Result<PathEvent>> next_path_event() override;

  void on_connected() override;
  void on_streams() override { changed_.notify(); }
  void on_datagrams() override {
    changed_.notify();
    const auto callback = on_datagrams_;  // it may be replaced from inside
    if (callback) callback();
  }
  void on_path(const PathEvent& event) override;
  void on_silence(Silence silence) override {
    const auto callback = on_silence_;  // it may be replaced from inside
    if (callback) callback(silence);
  }
  void on_closed(const CloseReason& reason) override;

  // The endpoint goes away, and with it everything the QUIC connection stands on.
  void detach();
  const std::optional<CloseReason>& close_reason() const { return reason_; }
  void set_on_settled(net::Notify* notify) { on_settled_ = notify; }

 private:
  Task<Result<StreamPtr>> open(StreamPtr (quic::Connection::*opener)());
  Task<Result<StreamPtr>> accept(StreamPtr (quic::Connection::*taker)());
  bool has_paths() const { return quic_ && quic_->state() == quic::Connection::State::kOpen; }
  std::unexpected<Error> closed_error() const {
    return fail(ErrorCode::kClosed, "the connection is closed: {}",
                reason_ ? reason_->message : "endpoint closed");
  }

  net::EventLoop& loop_;
  EndpointImpl* endpoint_;  // null once detached
  std::shared_ptr<quic::Connection> quic_;
  net::Notify changed_;
  net::Notify* on_settled_ = nullptr;  // of the connect() that waits
  bool connected_ = false;
  std::optional<EndpointId> remote_id_;
  std::string alpn_;
  std::optional<CloseReason> reason_;
  std::deque<PathEvent> path_events_;
  std::function<void(Silence)> on_silence_;
  std::function<void()> on_datagrams_;
  PathStats last_stats_{};
};

class EndpointImpl final : public Endpoint {
 public:
  EndpointImpl(net::EventLoop& loop, const EndpointId& id) : loop_(loop), id_(id) {}
  ~EndpointImpl() override {
    close(0, "endpoint closed");
    for (ConnectionImpl* connection : std::exchange(connections_, {})) connection->detach();
  }

  Result<> start(const Config& config) {
    for (const quic::Protocol& protocol : config.protocols) queues_.try_emplace(protocol.alpn, loop_);
    quic::Engine::Config engine{
        .key = config.key,
        .protocols = config.protocols,
        .limits = config.limits,
        .caps = config.caps.value_or(quic::EndpointLimits::for_machine(machine_memory(), config.workers)),
        .worker = config.worker,
        .workers = config.workers,
        .generation = config.generation};
    net::UdpOptions options{.has_connections = !config.protocols.empty()};
    if (config.workers > 1) {
      options.share = config.worker == 0 ? net::PortShare::kFirst : net::PortShare::kSibling;
      if (config.worker == config.workers - 1) options.steer_by_connection_id = config.workers;
    }
    auto packets = net::bind_udp(loop_, config.bind, options);
    if (!packets) return std::unexpected(packets.error());
    driver_ = std::make_unique<quic::Driver>(
        loop_, std::move(*packets), std::move(engine),
        [this](std::shared_ptr<quic::Connection> quic) { on_accepted(std::move(quic)); });
    return {};
  }

  const EndpointId& id() const override { return id_; }
  SocketAddr local_addr() const override { return driver_->local_addr(); }
  void report(Metrics& metrics) const override;
  Task<Result<ConnectionPtr>> connect(EndpointAddr addr, std::string alpn, TimePoint deadline) override;
  Task<Result<ConnectionPtr>> connect(quic::X509Server server, std::vector<SocketAddr> addrs,
                                      std::string alpn, TimePoint deadline) override;
  Task<Result<ConnectionPtr>> accept(std::string alpn) override;
  Result<> rebind() override {
    if (closed_) return fail(ErrorCode::kClosed, "the endpoint is closed");
    return driver_->rebind();
  }
  void close(AppCode code, std::string reason) override {
    if (std::exchange(closed_, true)) return;
    if (driver_) driver_->close(code, reason);
    for (auto& [alpn, queue] : queues_) {
      queue.waiting.clear();
      queue.changed.notify();
    }
  }

  void add(ConnectionImpl* connection) { connections_.insert(connection); }
  void remove(ConnectionImpl* connection) { connections_.erase(connection); }

 private:
  // Connections of one protocol whose handshake is complete and that were not accepted yet.
  struct Queue {
    explicit Queue(net::EventLoop& loop) : changed(loop) {}
    std::deque<std::shared_ptr<ConnectionImpl>> waiting;
    net::Notify changed;
    uint64_t refused = 0;  // it was full
  };

  // To every address; the first that is open is the result. `peer` is for messages.
  template <class Peer>
  Task<Result<ConnectionPtr>> dial(Peer peer, std::vector<SocketAddr> addrs, std::string alpn,
                                   std::string peer_text, TimePoint deadline);

  void on_accepted(std::shared_ptr<quic::Connection> quic) {
    auto found = queues_.find(quic->alpn());
    if (found == queues_.end()) return quic->close(0, "this protocol is not served here");
    Queue& queue = found->second;
    if (queue.waiting.size() >= kMaxAccepted || closed_) {
      ++queue.refused;
      return quic->close(0, "too many connections are waiting to be accepted");
    }
    queue.waiting.push_back(std::make_shared<ConnectionImpl>(loop_, *this, std::move(quic)));
    queue.changed.notify();
  }

  net::EventLoop& loop_;
  EndpointId id_;
  bool closed_ = false;
  std::map<std::string, Queue, std::less<>> queues_;  // by protocol
  std::unordered_set<ConnectionImpl*> connections_;
  std::unique_ptr<quic::Driver> driver_;
};

// ---- Connection

ConnectionImpl::ConnectionImpl(net::EventLoop& loop, EndpointImpl& endpoint,
                               std::shared_ptr<quic::Connection> quic)
    : loop_(loop), endpoint_(&endpoint), quic_(std::move(quic)), changed_(loop) {
  endpoint_->add(this);
  quic_->set_observer(this);
  if (quic_->state() == quic::Connection::State::kOpen) on_connected();
}

ConnectionImpl::~ConnectionImpl() {
  if (quic_) {
    quic_->set_observer(nullptr);
    quic_->close(0, "");
  }
  if (endpoint_ != nullptr) endpoint_->remove(this);
}

void ConnectionImpl::on_connected() {
  connected_ = true;
  if (quic_->has_remote_id()) remote_id_ = quic_->remote_id();
  alpn_ = quic_->alpn();
  changed_.notify();
  if (on_settled_ != nullptr) on_settled_->notify();
}

void ConnectionImpl::on_closed(const CloseReason& reason) {
  reason_ = reason;
  changed_.notify();
  if (on_settled_ != nullptr) on_settled_->notify();
}

void ConnectionImpl::detach() {
  last_stats_ = quic_->paths().active();
  quic_->set_observer(nullptr);
  if (!reason_) reason_ = CloseReason{CloseReason::Kind::kLocal, 0, "the endpoint was closed"};
  quic_.reset();
  endpoint_ = nullptr;
  changed_.notify();
}

Task<Result<StreamPtr>> ConnectionImpl::open(StreamPtr (quic::Connection::*opener)()) {
  while (true) {
    if (reason_) co_return closed_error();
    StreamPtr stream = (quic_.get()->*opener)();
    if (stream) co_return stream;
    co_await changed_.wait();
  }
}

Task<Result<StreamPtr>> ConnectionImpl::accept(StreamPtr (quic::Connection::*taker)()) {
  while (true) {
    StreamPtr stream = quic_ ? (quic_.get()->*taker)() : nullptr;
    if (stream) co_return stream;
    if (reason_) co_return closed_error();
    co_await changed_.wait();
  }
}

Task<Result<Bytes>> ConnectionImpl::receive_datagram() {
  while (true) {
    std::optional<Bytes> datagram = quic_ ? quic_->datagrams().receive() : std::nullopt;
    if (datagram) co_return std::move(*datagram);
    if (reason_) co_return closed_error();
    co_await changed_.wait();
  }
}

void ConnectionImpl::on_path(const PathEvent& event) {
  if (path_events_.size() == kMaxPathEvents) path_events_.pop_front();
  path_events_.push_back(event);
  changed_.notify();
}

Task<Result<PathEvent>> ConnectionImpl::next_path_event() {
  while (path_events_.empty()) {
    if (reason_) co_return closed_error();
    co_await changed_.wait();
  }
  PathEvent event = path_events_.front();
  path_events_.pop_front();
  co_return event;
}

Task<CloseReason> ConnectionImpl::closed() {
  while (!reason_) co_await changed_.wait();
  co_return *reason_;
}

// ---- Endpoint

Task<Result<ConnectionPtr>> EndpointImpl::connect(EndpointAddr addr, std::string alpn, TimePoint deadline) {
  std::string text = "endpoint " + addr.id.short_text();
  Result<ConnectionPtr> connected =
      co_await dial(addr.id, std::move(addr.ip_addrs), std::move(alpn), std::move(text), deadline);
  co_return connected;
}

Task<Result<ConnectionPtr>> EndpointImpl::connect(quic::X509Server server, std::vector<SocketAddr> addrs,
                                                  std::string alpn, TimePoint deadline) {
  std::string text = "server " + server.name;
  Result<ConnectionPtr> connected =
      co_await dial(std::move(server), std::move(addrs), std::move(alpn), std::move(text), deadline);
  co_return connected;
}

template <class Peer>
Task<Result<ConnectionPtr>> EndpointImpl::dial(Peer peer, std::vector<SocketAddr> addrs, std::string alpn,
                                               std::string peer_text, TimePoint deadline) {
  if (closed_) co_return fail(ErrorCode::kClosed, "the endpoint is closed");
  if (addrs.empty()) co_return fail(ErrorCode::kInvalid, "{} has no IP address to dial", peer_text);
  net::Notify settled(loop_);
  std::vector<std::shared_ptr<ConnectionImpl>> attempts;
  for (const SocketAddr& remote : addrs) {
    std::shared_ptr<quic::Connection> dialled = driver_->connect(remote, peer, alpn);
    if (dialled == nullptr) continue;
    auto attempt = std::make_shared<ConnectionImpl>(loop_, *this, std::move(dialled));
    attempt->set_on_settled(&settled);
    attempts.push_back(std::move(attempt));
  }

  std::shared_ptr<ConnectionImpl> winner;
  Error error{ErrorCode::kTimeout, fmt::format("{} did not answer in time", peer_text)};
  bool in_time = true;
  while (!winner && in_time) {
    size_t failed = 0;
    for (const std::shared_ptr<ConnectionImpl>& attempt : attempts) {
      if (attempt->is_open()) winner = attempt;
      if (!attempt->close_reason()) continue;
      ++failed;
      // An address where another peer answers says more than one without an answer.
      Error mine = connect_error(*attempt->close_reason(), peer_text, alpn);
      if (error.code == ErrorCode::kTimeout || mine.code != ErrorCode::kUnavailable) error = mine;
    }
    if (winner || failed == attempts.size()) break;
    in_time = co_await settled.wait_until(deadline);
  }
  for (const std::shared_ptr<ConnectionImpl>& attempt : attempts) attempt->set_on_settled(nullptr);
  if (!winner) co_return std::unexpected(error);
  co_return winner;
}

Task<Result<ConnectionPtr>> EndpointImpl::accept(std::string alpn) {
  auto found = queues_.find(alpn);
  if (found == queues_.end())
    co_return fail(ErrorCode::kInvalid, "this endpoint does not speak \"{}\"", alpn);
  Queue& queue = found->second;
  while (true) {
    if (closed_) co_return fail(ErrorCode::kClosed, "the endpoint is closed");
    if (!queue.waiting.empty()) {
      ConnectionPtr connection = std::move(queue.waiting.front());
      queue.waiting.pop_front();
      co_return connection;
    }
    co_await queue.changed.wait();
  }
}

void EndpointImpl::report(Metrics& metrics) const {
  quic::report(driver_->engine().counters(), metrics);
  for (const auto& [alpn, queue] : queues_) report_refused(alpn, queue.refused, metrics);
}

// ---- Streams

// Lives in the frame of a coroutine that waits for one direction of a stream.
class StreamWaiter final : public quic::StreamObserver {
 public:
  explicit StreamWaiter(net::EventLoop& loop) : notify_(loop) {}
  void on_readable() override { notify_.notify(); }
  void on_writable() override { notify_.notify(); }
  void on_closed() override { notify_.notify(); }
  net::Notify& notify() { return notify_; }

 private:
  net::Notify notify_;
};

}  // namespace

Result<std::unique_ptr<Endpoint>> Endpoint::bind(net::EventLoop& loop, Config config) {
  auto endpoint = std::make_unique<EndpointImpl>(loop, config.key.public_key());
  Result<> started = endpoint->start(config);
  if (!started) return std::unexpected(started.error());
  return endpoint;
}

Task<Result<size_t>> read_some(net::EventLoop& loop, StreamPtr stream, MutableBytes into,
                               TimePoint deadline) {
  StreamWaiter waiter(loop);
  while (true) {
    ByteView ready = stream->readable();
    if (!ready.empty()) {
      size_t count = std::min(ready.size(), into.size());
      std::ranges::copy(ready.first(count), into.begin());
      stream->consume(count);
      co_return count;
    }
    if (stream->finished()) co_return size_t{0};
    if (stream->was_reset())
      co_return fail(ErrorCode::kReset, "the peer reset the stream with code {}", stream->reset_code());
    if (!stream->is_open()) co_return fail(ErrorCode::kClosed, "the connection is closed");
    stream->set_reader(&waiter);
    bool in_time = co_await waiter.notify().wait_until(deadline);
    stream->set_reader(nullptr);
    if (!in_time) co_return fail(ErrorCode::kTimeout, "nothing came on the stream in time");
  }
}

Task<Result<>> write_all(net::EventLoop& loop, StreamPtr stream, ByteView from, TimePoint deadline) {
  StreamWaiter waiter(loop);
  while (true) {
    from = from.subspan(stream->write(from));
    if (from.empty()) co_return Result<>();
    if (!stream->is_open()) co_return fail(ErrorCode::kClosed, "the connection is closed");
    if (stream->was_stopped()) {
      co_return fail(ErrorCode::kReset, "the peer stopped the stream with code {}", stream->stop_code());
    }
    stream->set_writer(&waiter);
    bool in_time = co_await waiter.notify().wait_until(deadline);
    stream->set_writer(nullptr);
    if (!in_time) co_return fail(ErrorCode::kTimeout, "the peer took nothing from the stream in time");
  }
}

void report_refused(const std::string& alpn, uint64_t refused, Metrics& metrics) {
  metrics.counter("culvert_quic_accept_queue_full_total",
                  "Connections that were closed because too many of their protocol waited to be accepted.",
                  refused, {{"alpn", alpn}});
}

}  // namespace culvert::endpoint
