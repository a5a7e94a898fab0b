#include "sim/machine_tcp.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace culvert::sim {

TcpEnd::TcpEnd(Machine& machine, const SocketAddr& local, const SocketAddr& remote)
    : machine_(machine), local_(local), remote_(remote) {
  machine_.ends().push_back(this);
}

TcpEnd::~TcpEnd() { std::erase(machine_.ends(), this); }

void TcpEnd::join(const std::shared_ptr<TcpEnd>& a, const std::shared_ptr<TcpEnd>& b) {
  a->peer_ = b;
  b->peer_ = a;
}

net::IoResult TcpEnd::read(MutableBytes into) {
  if (!is_open_ || error_ != 0) return {net::IoStatus::kError};
  if (received_.empty()) return {has_fin_ ? net::IoStatus::kEof : net::IoStatus::kWantRead};
  const size_t count = std::min(into.size(), received_.size());
  std::copy_n(received_.begin(), count, into.begin());
  received_.erase(received_.begin(), received_.begin() + static_cast<ptrdiff_t>(count));
  if (peer_) {
    peer_->unread_ -= count;
    peer_->changed();
  }
  return {net::IoStatus::kOk, count};
}

net::IoResult TcpEnd::write(std::span<const ByteView> from) {
  if (!is_open_ || sent_fin_ || error_ != 0) return {net::IoStatus::kError};
  Bytes data;
  for (const ByteView part : from) {
    const size_t room = kWindow - unread_ - data.size();
    const ByteView taken = part.first(std::min(room, part.size()));
    data.insert(data.end(), taken.begin(), taken.end());
  }
  if (data.empty()) return {net::IoStatus::kWantWrite};
  const size_t count = data.size();
  unread_ += count;
  // Now and then the peer sees it in two parts.
  Simulation& simulation = machine_.simulation();
  if (count > 1 && simulation.chance(0.1)) {
    const auto first = static_cast<ptrdiff_t>(1 + simulation.random().below(count - 1));
    send({.data = Bytes(data.begin(), data.begin() + first)});
    data.erase(data.begin(), data.begin() + first);
  }
  send({.data = std::move(data)});
  return {net::IoStatus::kOk, count};
}

net::IoResult TcpEnd::finish() {
  if (!is_open_ || error_ != 0) return {net::IoStatus::kError};
  if (!std::exchange(sent_fin_, true)) send({.fin = true});
  return {net::IoStatus::kOk};
}

// RFC 1122, 4.2.2.13: bytes without a reader are answered with RST.
void TcpEnd::close() {
  if (!is_open_) return;
  if (!received_.empty()) return reset();
  is_open_ = false;
  if (error_ == 0 && !std::exchange(sent_fin_, true)) send({.fin = true});
  changed();
}

void TcpEnd::reset() {
  if (!is_open_) return;
  is_open_ = false;
  kill();
}

void TcpEnd::kill() {
  if (error_ == 0) {
    wire_.clear();
    send({.rst = true});
  }
  fail(ECONNRESET);
}

void TcpEnd::send(Segment segment) {
  Simulation& simulation = machine_.simulation();
  segment.sent = simulation.now();
  const Machine* other = machine_.reached_from_here(remote_);
  const Wire& wire = simulation.wire(machine_, other != nullptr ? *other : machine_);
  segment.arrives = segment.sent + wire.delay + simulation.up_to(wire.jitter);
  while (simulation.chance(wire.loss)) segment.arrives += kRetransmit;
  if (!wire_.empty()) segment.arrives = std::max(segment.arrives, wire_.back().arrives);
  wire_.push_back(std::move(segment));
  if (!std::exchange(is_delivering_, true))
    simulation.at(wire_.front().arrives, [self = shared_from_this()] { self->deliver(); });
}

bool TcpEnd::can_reach(const TcpEnd& peer) const {
  if (local_.is_loopback()) return true;
  if (machine_.simulation().wire(machine_, peer.machine_).is_cut) return false;
  // A kernel ends what it kills, and is unplugged then.
  if (wire_.front().rst) return true;
  return machine_.is_plugged() && peer.machine_.is_plugged() && machine_.has(local_) &&
         peer.machine_.has(peer.local_);
}

void TcpEnd::deliver() {
  is_delivering_ = false;
  const auto self = shared_from_this();
  while (!wire_.empty() && peer_) {
    const TimePoint now = machine_.simulation().now();
    TimePoint next = wire_.front().arrives;
    if (next <= now && !can_reach(*peer_)) {
      if (now - wire_.front().sent > kGiveUp) return fail(ETIMEDOUT);
      next = now + kRetransmit;
    }
    if (next > now) {
      is_delivering_ = true;
      machine_.simulation().at(next, [self] { self->deliver(); });
      return;
    }
    Segment segment = std::move(wire_.front());
    wire_.pop_front();
    const std::shared_ptr<TcpEnd> peer = peer_;
    const bool is_last = segment.fin && peer->sent_fin_ && peer->wire_.empty();
    if (segment.rst) peer_ = nullptr;
    peer->take(std::move(segment));
    if (is_last) {  // both directions are over
      peer->peer_ = nullptr;
      peer_ = nullptr;
    }
  }
  if (!peer_) wire_.clear();
}

void TcpEnd::take(Segment segment) {
  machine_.simulation().note(segment.data.size() * 4 + segment.fin * 2 + segment.rst);
  if (segment.rst) return fail(ECONNRESET);
  if (!segment.data.empty() && !is_open_) return kill();
  received_.insert(received_.end(), segment.data.begin(), segment.data.end());
  if (segment.fin) has_fin_ = true;
  changed();
}

void TcpEnd::fail(int error) {
  const bool waits = std::ranges::any_of(wire_, &Segment::rst);
  if (error_ == 0) error_ = error;
  received_.clear();
  if (!waits) {
    wire_.clear();
    peer_ = nullptr;
  }
  changed();
}

void TcpEnd::changed() {
  if (on_change_) on_change_();
}

namespace {

class SimulatedStream final : public net::ByteStream {
 public:
  SimulatedStream(net::EventLoop& loop, std::shared_ptr<TcpEnd> end) : loop_(&loop), end_(std::move(end)) {
    listen();
  }
  ~SimulatedStream() override {
    *is_alive_ = false;
    end_->set_on_change(nullptr);
    end_->close();
  }

  net::IoResult try_read(MutableBytes into) override {
    CHECK(!into.empty());
    return end_->read(into);
  }
  using ByteStream::try_write;
  net::IoResult try_write(std::span<const ByteView> from) override {
    for (const ByteView part : from) CHECK(!part.empty());
    return end_->write(from);
  }
  net::IoResult try_finish() override { return end_->finish(); }
  void when_readable(net::ReadyCallback callback) override { wait(kRead, std::move(callback), false); }
  void when_writable(net::ReadyCallback callback) override { wait(kWrite, std::move(callback), false); }
  void soon_readable(net::ReadyCallback callback) override { wait(kRead, std::move(callback), true); }
  void cancel() override {
    // Destroying a callback may destroy this.
    const std::array<net::ReadyCallback, 2> dropped{std::exchange(callbacks_[kRead], nullptr),
                                                    std::exchange(callbacks_[kWrite], nullptr)};
  }
  void leave_loop() override {
    CHECK(!callbacks_[kRead] && !callbacks_[kWrite]);
    end_->set_on_change(nullptr);
    loop_ = nullptr;
  }
  void join_loop(net::EventLoop& loop) override {
    loop_ = &loop;
    listen();
  }
  void close() override { end_->close(); }
  void reset() override { end_->reset(); }
  bool is_open() const override { return end_->is_open(); }
  bool peer_has_ended() const override { return end_->peer_has_ended(); }
  SocketAddr local_addr() const override { return end_->local(); }
  SocketAddr remote_addr() const override { return end_->remote(); }
  std::string last_error() const override {
    return end_->is_open() ? std::strerror(end_->error()) : "closed here";
  }
  net::EventLoop& loop() override {
    CHECK(loop_);
    return *loop_;
  }

 private:
  enum Direction { kRead, kWrite };

  void listen() {
    end_->set_on_change([this] {
      if (callbacks_[kRead] && end_->is_readable()) run_soon(kRead);
      if (callbacks_[kWrite] && end_->is_writable()) run_soon(kWrite);
    });
  }
  void wait(Direction direction, net::ReadyCallback callback, bool at_once) {
    CHECK(!callbacks_[direction]);
    callbacks_[direction] = std::move(callback);
    ++waits_[direction];
    if (at_once || (direction == kRead ? end_->is_readable() : end_->is_writable())) run_soon(direction);
  }
  // `waits_` tells one that was queued before cancel() from that of a later wait.
  void run_soon(Direction direction) {
    loop_->post([this, is_alive = is_alive_, direction, wait = waits_[direction]] {
      if (!*is_alive || wait != waits_[direction]) return;
      if (auto callback = std::exchange(callbacks_[direction], nullptr)) callback();
    });
  }

  net::EventLoop* loop_;  // nullptr while it belongs to none
  std::shared_ptr<TcpEnd> end_;
  std::array<net::ReadyCallback, 2> callbacks_;
  std::array<uint64_t, 2> waits_{};
  std::shared_ptr<bool> is_alive_ = std::make_shared<bool>(true);
};

}  // namespace

// ---- Listeners

TcpPort::TcpPort(Machine& its_machine, net::EventLoop& its_loop, uint16_t its_port)
    : machine(its_machine), loop(its_loop), port(its_port), changed(its_loop) {
  machine.tcp_ports()[port].push_back(this);
}

TcpPort::~TcpPort() { close(); }

void TcpPort::arrived(std::shared_ptr<TcpEnd> end) {
  waiting.push_back(std::move(end));
  changed.notify();
}

void TcpPort::close() {
  if (!std::exchange(is_open, false)) return;
  std::erase(machine.tcp_ports()[port], this);
  for (const auto& end : std::exchange(waiting, {})) end->kill();
  changed.notify();
}

namespace {

net::Task<Result<std::unique_ptr<net::ByteStream>>> accept_next(std::shared_ptr<TcpPort> port) {
  while (port->waiting.empty() && port->is_open) co_await port->changed.wait();
  if (!port->is_open) co_return fail(ErrorCode::kClosed, "the listener is closed");
  auto end = std::move(port->waiting.front());
  port->waiting.pop_front();
  co_return std::make_unique<SimulatedStream>(port->loop, std::move(end));
}

class SimulatedListener final : public net::TcpListener {
 public:
  SimulatedListener(std::shared_ptr<TcpPort> port, const SocketAddr& local)
      : port_(std::move(port)), local_(local) {}
  ~SimulatedListener() override { port_->close(); }

  SocketAddr local_addr() const override { return local_; }
  net::Task<Result<std::unique_ptr<net::ByteStream>>> accept() override { return accept_next(port_); }
  void close() override { port_->close(); }

 private:
  std::shared_ptr<TcpPort> port_;
  SocketAddr local_;
};

}  // namespace

Result<std::unique_ptr<net::TcpListener>> open_listener(Machine& machine, net::EventLoop& loop,
                                                        const SocketAddr& address,
                                                        const net::ListenOptions& options) {
  const uint16_t port = address.port() != 0 ? address.port() : machine.free_port();
  const bool is_taken = !machine.tcp_ports()[port].empty();
  if (is_taken && options.share != net::PortShare::kSibling)
    return fail(ErrorCode::kConflict, "{} is in use", address.to_string());
  return std::make_unique<SimulatedListener>(std::make_shared<TcpPort>(machine, loop, port),
                                             address.with_port(port));
}

// ---- Dialling

namespace {

// A SYN that is not answered is sent again.
constexpr Duration kSynAgain = std::chrono::seconds(1);

class SimulatedAttempt final : public net::ConnectAttempt {
 public:
  SimulatedAttempt(Machine& machine, net::EventLoop& loop, const SocketAddr& address,
                   std::shared_ptr<net::Notify> changed)
      : machine_(machine), loop_(loop), address_(address), changed_(std::move(changed)) {
    if (!address.is_v4()) {
      outcome_ = ENETUNREACH;
      return;
    }
    local_ = (address.is_loopback() ? address : machine.address()).with_port(machine.free_port());
    knock();
  }
  ~SimulatedAttempt() override {
    *is_alive_ = false;
    if (end_) end_->kill();
  }

  const SocketAddr& address() const override { return address_; }
  int outcome() const override { return outcome_; }
  std::unique_ptr<net::ByteStream> take() override {
    return std::make_unique<SimulatedStream>(loop_, std::exchange(end_, nullptr));
  }

 private:
  void later(Duration delay, void (SimulatedAttempt::*what)()) {
    machine_.simulation().after(delay, [this, what, is_alive = is_alive_] {
      if (*is_alive) (this->*what)();
    });
  }
  void knock() {
    Simulation& simulation = machine_.simulation();
    const Machine* other = machine_.reached_from_here(address_);
    const bool is_local = local_.is_loopback() || machine_.has(local_);
    if (other == nullptr || !is_local || simulation.wire(machine_, *other).is_cut ||
        simulation.chance(simulation.wire(machine_, *other).loss))
      return later(kSynAgain, &SimulatedAttempt::knock);
    later(simulation.wire(machine_, *other).delay, &SimulatedAttempt::arrive);
  }
  void arrive() {
    Machine* other = machine_.reached_from_here(address_);
    if (other == nullptr) return later(kSynAgain, &SimulatedAttempt::knock);
    Simulation& simulation = machine_.simulation();
    const auto& ports = other->tcp_ports()[address_.port()];
    if (ports.empty()) {
      outcome_ = ECONNREFUSED;
    } else {
      end_ = std::make_shared<TcpEnd>(machine_, local_, address_);
      const auto far = std::make_shared<TcpEnd>(*other, address_, local_);
      TcpEnd::join(end_, far);
      ports[simulation.random().below(ports.size())]->arrived(far);
      outcome_ = 0;
    }
    later(simulation.wire(*other, machine_).delay, &SimulatedAttempt::tell);
  }
  void tell() {
    loop_.post([changed = changed_] { changed->notify(); });
  }

  Machine& machine_;
  net::EventLoop& loop_;
  const SocketAddr address_;
  SocketAddr local_;
  std::shared_ptr<net::Notify> changed_;
  std::shared_ptr<TcpEnd> end_;
  int outcome_ = EINPROGRESS;
  std::shared_ptr<bool> is_alive_ = std::make_shared<bool>(true);
};

}  // namespace

std::unique_ptr<net::ConnectAttempt> begin_connection(Machine& machine, net::EventLoop& loop,
                                                      const SocketAddr& address,
                                                      std::shared_ptr<net::Notify> changed) {
  return std::make_unique<SimulatedAttempt>(machine, loop, address, std::move(changed));
}

}  // namespace culvert::sim
