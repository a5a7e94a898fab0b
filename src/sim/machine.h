#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "net/platform.h"
#include "sim/simulation.h"

// Tests only: a host in the simulated network.
namespace culvert::sim {

class TcpEnd;
class TcpPort;
class UdpPort;
class RouteWatch;

// One host with one address, and what its event loops stand on. Outlives its loops and sockets. It takes what
// is sent to its address and, from itself, to loopback.
class Machine final : public net::Platform {
 public:
  // `address`: of IPv4, its port is ignored.
  Machine(Simulation& simulation, const SocketAddr& address);
  ~Machine() override;
  Machine(const Machine&) = delete;

  Simulation& simulation() const { return simulation_; }
  uint64_t number() const { return number_; }
  const SocketAddr& address() const { return address_; }
  bool has(const SocketAddr& address) const;
  bool is_plugged() const { return is_plugged_; }

  // Another address, as from another network: connections of TCP stay with the old one and die, sockets of
  // UDP go on, and the host's programs are told.
  void move_to(const SocketAddr& address);
  // As when its programs are killed: no packet leaves any more, and the kernel ends all connections of TCP.
  // What runs here runs on, cut off for good. Another machine may take the address.
  void unplug();
  // Sets the wall clock forward, or back.
  void set_clock(std::chrono::seconds ahead) { clock_ahead_ = ahead; }

  // Sockets that exist here: 0 once all that ran here has ended.
  size_t open_sockets() const;

  TimePoint now() const override { return simulation_.now(); }
  UnixTime unix_now() const override {
    return kStart + std::chrono::floor<std::chrono::seconds>(simulation_.now().time_since_epoch()) +
           clock_ahead_;
  }
  Random& random() override { return simulation_.random(); }
  Result<std::unique_ptr<net::TcpListener>> listen_tcp(net::EventLoop& loop, const SocketAddr& address,
                                                       const net::ListenOptions& options) override;
  std::unique_ptr<net::ConnectAttempt> connect_tcp(net::EventLoop& loop, const SocketAddr& address,
                                                   const net::ConnectOptions& options,
                                                   std::shared_ptr<net::Notify> changed) override;
  // A machine has no files.
  Result<std::unique_ptr<net::ByteStream>> connect_unix(net::EventLoop& loop,
                                                        const std::string& path) override;
  Result<std::unique_ptr<net::PacketIo>> bind_udp(net::EventLoop& loop, const SocketAddr& address,
                                                  const net::UdpOptions& options) override;
  Result<std::unique_ptr<net::NetworkWatch>> watch_network(net::EventLoop& loop,
                                                           std::function<void()> on_change) override;
  Result<SocketAddr> source_address_for(const SocketAddr& remote) override;
  std::optional<size_t> path_mtu(const SocketAddr& /*remote*/) override { return 1500; }
  bool runs_loops() const override { return true; }
  void loop_begins(net::EventLoop& loop) override;
  void loop_ends(net::EventLoop& loop) override;

  // For sockets. Several of one port share it, as workers do.
  template <class Port>
  using Ports = std::map<uint16_t, std::vector<Port*>>;
  Ports<TcpPort>& tcp_ports() { return tcp_ports_; }
  Ports<UdpPort>& udp_ports() { return udp_ports_; }
  std::vector<RouteWatch*>& watches() { return watches_; }
  std::vector<TcpEnd*>& ends() { return ends_; }
  uint16_t free_port() { return next_port_++; }
  // The machine that a packet from here reaches; nullptr: none.
  Machine* reached_from_here(const SocketAddr& address);

 private:
  static constexpr UnixTime kStart{std::chrono::seconds(1'800'000'000)};

  Simulation& simulation_;
  const uint64_t number_;
  SocketAddr address_;
  bool is_plugged_ = true;
  std::chrono::seconds clock_ahead_{};
  uint16_t next_port_ = 40000;
  Ports<TcpPort> tcp_ports_;
  Ports<UdpPort> udp_ports_;
  std::vector<RouteWatch*> watches_;
  std::vector<TcpEnd*> ends_;
};

}  // namespace culvert::sim
