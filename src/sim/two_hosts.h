#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "sim/network.h"
#include "sim/transfer.h"

// Tests only: a client and a server in the simulator, and what each does with its connections.
namespace culvert::sim {

inline SecretKey test_key(uint8_t fill) { return *SecretKey::from_seed(Bytes(32, fill)); }

struct TwoHosts {
  static constexpr const char* kAlpn = "test/1";
  static inline const SocketAddr kClientAddr = SocketAddr::v4({10, 0, 0, 2}, 50000);
  static inline const SocketAddr kServerAddr = SocketAddr::v4({10, 0, 0, 1}, 443);

  explicit TwoHosts(uint64_t seed, const LinkConfig& link = {}, quic::Limits limits = {})
      : net(seed),
        client_host(net, kClientAddr, {.key = test_key(1), .accept_alpns = {}, .limits = limits}),
        server_host(net, kServerAddr, server_config(limits)) {
    net.set_default_link(link);
    server_host.set_on_accepted([this](std::shared_ptr<quic::Connection> accepted) {
      servers.push_back(std::make_unique<Peer>(std::move(accepted)));
      if (on_accepted) on_accepted(*servers.back());
    });
  }

  static quic::Engine::Config server_config(const quic::Limits& limits) {
    return {.key = test_key(2), .accept_alpns = {kAlpn}, .limits = limits};
  }

  bool connect(Duration limit = std::chrono::seconds(30)) {
    const size_t before = servers.size();
    clients.push_back(
        std::make_unique<Peer>(client_host.connect(kServerAddr, test_key(2).public_key(), kAlpn)));
    return net.run_until([&] { return client().connected() && servers.size() > before; }, limit);
  }
  Peer& client() { return *clients.back(); }
  Peer& server() { return *servers.back(); }
  void set_links(const LinkConfig& up, const LinkConfig& down) {
    net.set_link(client_host, server_host, up);
    net.set_link(server_host, client_host, down);
  }

  Network net;
  Host client_host;
  Host server_host;
  std::function<void(Peer&)> on_accepted;
  std::vector<std::unique_ptr<Peer>> clients;
  std::vector<std::unique_ptr<Peer>> servers;
};

}  // namespace culvert::sim
