#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "base/socket_addr.h"

namespace culvert::net {

class ByteStream;
class ConnectAttempt;
class EventLoop;
class NetworkWatch;
class Notify;
class PacketIo;
class TcpListener;
struct ConnectOptions;
struct ListenOptions;
struct UdpOptions;

// What an event loop stands on: the clocks, the randomness and the network of its host. The system's is the
// default; the simulator has its own. Everything above net/ reaches it through its loop and the functions of
// net/. The clocks may be asked from any thread, the rest is for that of the loop.
class Platform {
 public:
  virtual ~Platform() = default;

  virtual TimePoint now() const = 0;
  virtual UnixTime unix_now() const = 0;
  virtual Random& random() = 0;

  // As TcpListener::listen, make_connect_attempt, unix_connect, bind_udp, NetworkWatch::start,
  // source_address_for and path_mtu.
  virtual Result<std::unique_ptr<TcpListener>> listen_tcp(EventLoop& loop, const SocketAddr& address,
                                                          const ListenOptions& options) = 0;
  virtual std::unique_ptr<ConnectAttempt> connect_tcp(EventLoop& loop, const SocketAddr& address,
                                                      const ConnectOptions& options,
                                                      std::shared_ptr<Notify> changed) = 0;
  // One attempt, which never waits: kLimit when as many connections wait there as may.
  virtual Result<std::unique_ptr<ByteStream>> connect_unix(EventLoop& loop, const std::string& path) = 0;
  virtual Result<std::unique_ptr<PacketIo>> bind_udp(EventLoop& loop, const SocketAddr& address,
                                                     const UdpOptions& options) = 0;
  virtual Result<std::unique_ptr<NetworkWatch>> watch_network(EventLoop& loop,
                                                              std::function<void()> on_change) = 0;
  virtual Result<SocketAddr> source_address_for(const SocketAddr& remote) = 0;
  virtual std::optional<size_t> path_mtu(const SocketAddr& remote) = 0;

  // True: run() of its loops is never called. The platform runs them, by EventLoop::run_ready and
  // next_deadline, and keeps the time that they see.
  virtual bool runs_loops() const { return false; }
  // A loop begins and ends.
  virtual void loop_begins(EventLoop& /*loop*/) {}
  virtual void loop_ends(EventLoop& /*loop*/) {}
};

Platform& system_platform();

}  // namespace culvert::net
