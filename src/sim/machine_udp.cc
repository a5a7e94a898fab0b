#include "sim/machine_udp.h"

#include <algorithm>
#include <optional>

namespace culvert::sim {
namespace {

// As net::UdpOptions::steer_by_connection_id says: several sockets of one port share it by the first byte of
// the destination connection id, behind a long header or a short one.
size_t steer(ByteView data, size_t sockets) {
  const size_t place = !data.empty() && (data.front() & 0x80) != 0 ? 6 : 1;
  return place < data.size() ? (data[place] & 0x7fu) % sockets : 0;
}

void arrive(Simulation& simulation, const SocketAddr& from, const SocketAddr& to, ByteView data) {
  Machine* machine = simulation.machine_at(to);
  if (machine == nullptr) return;
  const auto& sockets = machine->udp_ports()[to.port()];
  simulation.note(data.size() * 2 + (sockets.empty() ? 0 : 1));
  if (!sockets.empty()) sockets[steer(data, sockets.size())]->arrived(data, from, to);
}

class SimulatedPackets final : public net::PacketIo, public UdpPort {
 public:
  SimulatedPackets(Machine& machine, net::EventLoop& loop, const SocketAddr& local,
                   const std::optional<SocketAddr>& remote)
      : machine_(machine), loop_(loop), local_(local), remote_(remote) {
    machine_.udp_ports()[local_.port()].push_back(this);
  }
  ~SimulatedPackets() override {
    *is_alive_ = false;
    shut();
  }

  SocketAddr local_addr() const override { return local_; }
  void start(std::function<void(const net::ReceivedDatagram&)> each,
             std::function<void()> batch_end) override {
    each_ = std::move(each);
    batch_end_ = std::move(batch_end);
  }
  SendStatus send(const net::DatagramBatch& batch) override {
    if (!machine_.is_plugged()) return SendStatus::kUnreachable;
    ByteView rest = batch.data;
    do {
      const ByteView datagram = rest.first(std::min(rest.size(), batch.segment_size));
      rest = rest.subspan(datagram.size());
      send_one(datagram, batch.remote);
    } while (!rest.empty());
    return SendStatus::kSent;
  }
  void when_writable(std::function<void()> callback) override { loop_.post(std::move(callback)); }
  Result<> rebind() override {
    shut();
    local_ = local_.with_port(machine_.free_port());
    machine_.udp_ports()[local_.port()].push_back(this);
    is_open_ = true;
    return {};
  }
  void close() override { shut(); }

  void arrived(ByteView data, const SocketAddr& remote, const SocketAddr& local) override {
    if (remote_ && *remote_ != remote) return;
    waiting_.push_back({to_bytes(data), remote, local});
    if (waiting_.size() > 1) return;
    loop_.post([this, is_alive = is_alive_] {
      if (*is_alive) read_all();
    });
  }

 private:
  struct Waiting {
    Bytes data;
    SocketAddr remote;
    SocketAddr local;
  };

  void send_one(ByteView data, const SocketAddr& remote) {
    Simulation& simulation = machine_.simulation();
    const SocketAddr from = machine_.address().with_port(local_.port());
    const Machine* other = simulation.machine_at(remote);
    if (other == nullptr) return;
    const Wire& wire = simulation.wire(machine_, *other);
    if (wire.is_cut || simulation.chance(wire.loss)) return;
    const int copies = simulation.chance(wire.duplicate) ? 2 : 1;
    for (int i = 0; i < copies; ++i) {
      simulation.after(
          wire.delay + simulation.up_to(wire.jitter),
          [&simulation, from, remote, copy = to_bytes(data)] { arrive(simulation, from, remote, copy); });
    }
  }
  void read_all() {
    if (!each_) return;
    for (const Waiting& datagram : std::exchange(waiting_, {})) {
      each_({.data = datagram.data, .remote = datagram.remote, .local = datagram.local, .ecn = 0});
      if (!is_open_) return;
    }
    batch_end_();
  }
  void shut() {
    if (!std::exchange(is_open_, false)) return;
    std::erase(machine_.udp_ports()[local_.port()], static_cast<UdpPort*>(this));
    waiting_.clear();
  }

  Machine& machine_;
  net::EventLoop& loop_;
  SocketAddr local_;
  const std::optional<SocketAddr> remote_;  // the one peer
  bool is_open_ = true;
  std::function<void(const net::ReceivedDatagram&)> each_;
  std::function<void()> batch_end_;
  std::vector<Waiting> waiting_;
  std::shared_ptr<bool> is_alive_ = std::make_shared<bool>(true);
};

}  // namespace

Result<std::unique_ptr<net::PacketIo>> open_packets(Machine& machine, net::EventLoop& loop,
                                                    const SocketAddr& address,
                                                    const net::UdpOptions& options) {
  const uint16_t port = address.port() != 0 ? address.port() : machine.free_port();
  const bool is_taken = !machine.udp_ports()[port].empty();
  if (is_taken && options.share != net::PortShare::kSibling)
    return fail(ErrorCode::kConflict, "UDP {} is in use", address.to_string());
  return std::make_unique<SimulatedPackets>(machine, loop, address.with_port(port), options.remote);
}

}  // namespace culvert::sim
