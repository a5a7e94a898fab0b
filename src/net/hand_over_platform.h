#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "base/metrics.h"
#include "net/handed_socket.h"
#include "net/platform.h"

namespace culvert::net {

class SharedSockets;

// The system, for a process that may take over the sockets of the one before it and give them to the next:
// every listening TCP socket and every UDP socket without a peer, whoever in the process has it. A socket is
// never closed on the way, so no queue of it is lost. From any thread.
class HandOverPlatform final : public Platform {
 public:
  HandOverPlatform();
  ~HandOverPlatform() override;

  // Whatever is to listen on the address of one of these takes it, in the order in which they come, and binds
  // nothing.
  void give(std::vector<HandedSocket> sockets);
  // Closes what was given and that nobody took; returns how many.
  size_t drop_unclaimed();

  // Nothing is read or accepted from any of the sockets until resume(); `done` is called, on the thread of
  // one of their loops, when that is so.
  void pause(const std::function<void()>& done);
  void resume();
  // Duplicates of the sockets, for the next process; those of QUIC with the feeds of this process, which has
  // this generation, and of those before it that live. Connections here go on with what comes from the feed.
  // kIo: no descriptors are left.
  Result<std::vector<HandedSocket>> hand_over(uint8_t generation);
  // The process of this generation has ended.
  void forget(uint8_t generation);
  void report(Metrics& metrics) const;

  TimePoint now() const override { return below_.now(); }
  UnixTime unix_now() const override { return below_.unix_now(); }
  Random& random() override { return below_.random(); }
  Result<std::unique_ptr<TcpListener>> listen_tcp(EventLoop& loop, const SocketAddr& address,
                                                  const ListenOptions& options) override;
  std::unique_ptr<ConnectAttempt> connect_tcp(EventLoop& loop, const SocketAddr& address,
                                              const ConnectOptions& options,
                                              std::shared_ptr<Notify> changed) override;
  Result<std::unique_ptr<ByteStream>> connect_unix(EventLoop& loop, const std::string& path) override;
  Result<std::unique_ptr<PacketIo>> bind_udp(EventLoop& loop, const SocketAddr& address,
                                             const UdpOptions& options) override;
  Result<std::unique_ptr<NetworkWatch>> watch_network(EventLoop& loop,
                                                      std::function<void()> on_change) override;
  Result<SocketAddr> source_address_for(const SocketAddr& remote) override {
    return below_.source_address_for(remote);
  }
  std::optional<size_t> path_mtu(const SocketAddr& remote) override { return below_.path_mtu(remote); }

 private:
  Platform& below_ = system_platform();
  std::shared_ptr<SharedSockets> sockets_;
};

}  // namespace culvert::net
