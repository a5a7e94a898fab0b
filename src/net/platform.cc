#include "net/platform.h"

#include "net/network_watch.h"
#include "net/system.h"
#include "net/tcp.h"
#include "net/udp_socket.h"

namespace culvert::net {
namespace {

class SystemPlatform final : public Platform {
 public:
  TimePoint now() const override { return monotonic_now(); }
  UnixTime unix_now() const override { return culvert::unix_now(); }
  Random& random() override { return random_; }

  Result<std::unique_ptr<TcpListener>> listen_tcp(EventLoop& loop, const SocketAddr& address,
                                                  const ListenOptions& options) override {
    return listen_on_system(loop, address, options);
  }
  std::unique_ptr<ConnectAttempt> connect_tcp(EventLoop& loop, const SocketAddr& address,
                                              const ConnectOptions& options,
                                              std::shared_ptr<Notify> changed) override {
    return connect_on_system(loop, address, options, std::move(changed));
  }
  Result<std::unique_ptr<ByteStream>> connect_unix(EventLoop& loop, const std::string& path) override {
    return connect_unix_on_system(loop, path);
  }
  Result<std::unique_ptr<PacketIo>> bind_udp(EventLoop& loop, const SocketAddr& address,
                                             const UdpOptions& options) override {
    return UdpSocket::bind(loop, address, options);
  }
  Result<std::unique_ptr<NetworkWatch>> watch_network(EventLoop& loop,
                                                      std::function<void()> on_change) override {
    return watch_system_network(loop, std::move(on_change));
  }
  Result<SocketAddr> source_address_for(const SocketAddr& remote) override {
    return system_source_address_for(remote);
  }
  std::optional<size_t> path_mtu(const SocketAddr& remote) override { return system_path_mtu(remote); }

 private:
  SystemRandom random_;  // without a state of its own: every thread may use it
};

}  // namespace

Platform& system_platform() {
  static SystemPlatform platform;
  return platform;
}

}  // namespace culvert::net
