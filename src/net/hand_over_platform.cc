#include "net/hand_over_platform.h"

#include "net/network_watch.h"
#include "net/shared_sockets.h"
#include "net/system.h"
#include "net/tcp.h"
#include "net/udp_socket.h"

namespace culvert::net {

HandOverPlatform::HandOverPlatform() : sockets_(std::make_shared<SharedSockets>()) {}
HandOverPlatform::~HandOverPlatform() = default;

void HandOverPlatform::give(std::vector<HandedSocket> sockets) { sockets_->give(std::move(sockets)); }
size_t HandOverPlatform::drop_unclaimed() { return sockets_->drop_unclaimed(); }
void HandOverPlatform::pause(const std::function<void()>& done) { sockets_->pause(done); }
void HandOverPlatform::resume() { sockets_->resume(); }
void HandOverPlatform::forget(uint8_t generation) { sockets_->forget(generation); }

Result<std::vector<HandedSocket>> HandOverPlatform::hand_over(uint8_t generation) {
  return sockets_->hand_over(generation);
}

void HandOverPlatform::report(Metrics& metrics) const {
  const RelayCounters& counters = sockets_->relay_counters();
  metrics.counters("culvert_node_relayed_datagrams_total",
                   "Datagrams for tunnels of the processes before this one, by what became of them.",
                   "result",
                   {{"relayed", counters.relayed.load(std::memory_order_relaxed)},
                    {"dropped", counters.dropped.load(std::memory_order_relaxed)}});
}

Result<std::unique_ptr<TcpListener>> HandOverPlatform::listen_tcp(EventLoop& loop, const SocketAddr& address,
                                                                  const ListenOptions& options) {
  return listen_on_system(loop, address, options, sockets_);
}

std::unique_ptr<ConnectAttempt> HandOverPlatform::connect_tcp(EventLoop& loop, const SocketAddr& address,
                                                              const ConnectOptions& options,
                                                              std::shared_ptr<Notify> changed) {
  return below_.connect_tcp(loop, address, options, std::move(changed));
}

Result<std::unique_ptr<ByteStream>> HandOverPlatform::connect_unix(EventLoop& loop, const std::string& path) {
  return below_.connect_unix(loop, path);
}

Result<std::unique_ptr<PacketIo>> HandOverPlatform::bind_udp(EventLoop& loop, const SocketAddr& address,
                                                             const UdpOptions& options) {
  return UdpSocket::bind(loop, address, options, sockets_);
}

Result<std::unique_ptr<NetworkWatch>> HandOverPlatform::watch_network(EventLoop& loop,
                                                                      std::function<void()> on_change) {
  return below_.watch_network(loop, std::move(on_change));
}

}  // namespace culvert::net
