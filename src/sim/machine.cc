#include "sim/machine.h"

#include <algorithm>

#include "base/check.h"
#include "net/network_watch.h"
#include "sim/machine_tcp.h"
#include "sim/machine_udp.h"

namespace culvert::sim {

// Tells a program of this machine that its network changed.
class RouteWatch final : public net::NetworkWatch {
 public:
  RouteWatch(Machine& machine, net::EventLoop& loop, std::function<void()> on_change)
      : machine_(machine), loop_(loop), on_change_(std::move(on_change)) {
    machine_.watches().push_back(this);
  }
  ~RouteWatch() override {
    *is_alive_ = false;
    std::erase(machine_.watches(), this);
  }

  void changed() {
    machine_.simulation().after(kSettle, [this, is_alive = is_alive_] {
      if (!*is_alive) return;
      loop_.post([this, is_alive] {
        if (*is_alive) on_change_();
      });
    });
  }

 private:
  Machine& machine_;
  net::EventLoop& loop_;
  std::function<void()> on_change_;
  std::shared_ptr<bool> is_alive_ = std::make_shared<bool>(true);
};

Machine::Machine(Simulation& simulation, const SocketAddr& address)
    : simulation_(simulation), number_(simulation.next_number_++), address_(address.with_port(0)) {
  CHECK(address.is_v4());
  simulation_.machines_.push_back(this);
}

Machine::~Machine() {
  CHECK(open_sockets() == 0);
  std::erase(simulation_.machines_, this);
}

bool Machine::has(const SocketAddr& address) const { return address.with_port(0) == address_; }

Machine* Machine::reached_from_here(const SocketAddr& address) {
  if (address.is_loopback()) return this;
  return is_plugged_ ? simulation_.machine_at(address) : nullptr;
}

void Machine::move_to(const SocketAddr& address) {
  address_ = address.with_port(0);
  for (RouteWatch* watch : watches_) watch->changed();
}

void Machine::unplug() {
  const std::vector<TcpEnd*> ends = ends_;
  for (TcpEnd* end : ends) {
    if (!end->local().is_loopback()) end->kill();
  }
  is_plugged_ = false;
}

size_t Machine::open_sockets() const {
  size_t count = ends_.size() + watches_.size();
  for (const auto& [port, sockets] : tcp_ports_) count += sockets.size();
  for (const auto& [port, sockets] : udp_ports_) count += sockets.size();
  return count;
}

Result<std::unique_ptr<net::TcpListener>> Machine::listen_tcp(net::EventLoop& loop, const SocketAddr& address,
                                                              const net::ListenOptions& options) {
  return open_listener(*this, loop, address, options);
}

std::unique_ptr<net::ConnectAttempt> Machine::connect_tcp(net::EventLoop& loop, const SocketAddr& address,
                                                          const net::ConnectOptions& /*options*/,
                                                          std::shared_ptr<net::Notify> changed) {
  return begin_connection(*this, loop, address, std::move(changed));
}

Result<std::unique_ptr<net::ByteStream>> Machine::connect_unix(net::EventLoop& /*loop*/,
                                                               const std::string& path) {
  return fail(ErrorCode::kNotFound, "cannot connect to unix:{}: there is no such file", path);
}

Result<std::unique_ptr<net::PacketIo>> Machine::bind_udp(net::EventLoop& loop, const SocketAddr& address,
                                                         const net::UdpOptions& options) {
  return open_packets(*this, loop, address, options);
}

Result<std::unique_ptr<net::NetworkWatch>> Machine::watch_network(net::EventLoop& loop,
                                                                  std::function<void()> on_change) {
  return std::make_unique<RouteWatch>(*this, loop, std::move(on_change));
}

Result<SocketAddr> Machine::source_address_for(const SocketAddr& remote) {
  if (!remote.is_v4()) return fail(ErrorCode::kUnavailable, "no route to {}", remote.to_string());
  return remote.is_loopback() ? remote.with_port(0) : address_;
}

void Machine::loop_begins(net::EventLoop& loop) { simulation_.loops_.push_back(&loop); }

void Machine::loop_ends(net::EventLoop& loop) { std::erase(simulation_.loops_, &loop); }

}  // namespace culvert::sim
