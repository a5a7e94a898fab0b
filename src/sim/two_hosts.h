#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "sim/network.h"
#include "sim/transfer.h"

// Tests only: a client and a server in the simulator, and what each does with its connections.
namespace culvert::sim {

inline SecretKey test_key(uint8_t fill) { return *SecretKey::from_seed(Bytes(32, fill)); }

inline LinkConfig random_link(Random& random) {
  LinkConfig link;
  link.delay = std::chrono::microseconds(100 + random.below(100'000));
  link.bits_per_second = 1'000'000 * (1 + random.below(200));
  link.queue_bytes = 16'000 + random.below(256'000);
  link.loss = static_cast<double>(random.below(80)) / 1000;
  link.duplicate = static_cast<double>(random.below(50)) / 1000;
  link.reorder = static_cast<double>(random.below(100)) / 1000;
  link.mtu = 1200 + random.below(300);
  link.congestion_marks = random.below(2) == 0;
  return link;
}

struct TwoHosts {
  static constexpr const char* kAlpn = "test/1";
  static inline const SocketAddr kClientAddr = SocketAddr::v4({10, 0, 0, 2}, 50000);
  static inline const SocketAddr kServerAddr = SocketAddr::v4({10, 0, 0, 1}, 443);

  explicit TwoHosts(uint64_t seed, const LinkConfig& link = {}, quic::Limits limits = {},
                    quic::EndpointLimits caps = {})
      : net(seed),
        client_host(net, kClientAddr, {.key = test_key(1), .limits = limits, .caps = caps}),
        server_host(net, kServerAddr, server_config(limits, caps)) {
    net.set_default_link(link);
    server_host.set_on_accepted([this](std::shared_ptr<quic::Connection> accepted) {
      servers.push_back(std::make_unique<Peer>(std::move(accepted)));
      servers.back()->answer = server_answer;
      if (on_accepted) on_accepted(*servers.back());
    });
  }

  static quic::Engine::Config server_config(const quic::Limits& limits,
                                            const quic::EndpointLimits& caps = {}) {
    return {.key = test_key(2), .protocols = {{.alpn = kAlpn, .limits = limits}}, .caps = caps};
  }

  Peer& dial(const EndpointId& peer = test_key(2).public_key(), const std::string& alpn = kAlpn) {
    clients.push_back(std::make_unique<Peer>(client_host.connect(kServerAddr, peer, alpn)));
    return *clients.back();
  }
  bool connect(Duration limit = std::chrono::seconds(30)) {
    const size_t before = servers.size();
    dial();
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
  uint64_t server_answer = 0;  // Peer::answer of servers
  std::function<void(Peer&)> on_accepted;
  std::vector<std::unique_ptr<Peer>> clients;
  std::vector<std::unique_ptr<Peer>> servers;
};

}  // namespace culvert::sim
