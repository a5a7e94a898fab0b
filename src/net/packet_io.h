#pragma once
#include <functional>
#include <memory>
#include <optional>

#include "base/clock.h"
#include "base/result.h"
#include "base/socket_addr.h"
#include "net/bind.h"
#include "net/datagram.h"
#include "net/event_loop.h"

namespace culvert::net {

struct UdpOptions {
  PortShare share = PortShare::kNone;
  // Of a sibling: the kernel gives a datagram to the socket whose index, in the order they were bound, is
  // (bits 0 to 6 of the first byte of the QUIC destination connection id) mod this count. Set on the last
  // socket of the group: one socket alone is not a group yet. 0 leaves the kernel's hash.
  unsigned steer_by_connection_id = 0;
  // How long batches are sent one by one after the kernel refused one. A route through another device may
  // refuse what the next accepts, and a single refusal must not cost the speed of the socket's whole life.
  Duration segmentation_pause = std::chrono::seconds(60);
  // The one peer: nobody else's datagrams come in.
  std::optional<SocketAddr> remote = {};
  // Of a socket with a remote: the network or the peer answered that a datagram cannot be delivered (ICMP).
  std::function<void()> on_refused = {};
  // Datagrams larger than the path takes are fragmented. QUIC wants to know instead, and drops none of ours.
  bool fragments = false;
  // QUIC: what is for connections of a process that had the socket before goes to that one
  // (HandOverPlatform).
  bool has_connections = false;
};

// Where datagrams come from and go to: a UDP socket, or what stands in for one. Lives on one loop.
class PacketIo {
 public:
  enum class SendStatus { kSent, kBlocked, kTooLarge, kUnreachable };

  virtual ~PacketIo() = default;

  virtual SocketAddr local_addr() const = 0;
  // Calls `each` for every datagram of a readiness, then `batch_end` once: the place to answer.
  virtual void start(std::function<void(const ReceivedDatagram&)> each, std::function<void()> batch_end) = 0;
  // kBlocked: call when_writable and try again.
  virtual SendStatus send(const DatagramBatch& batch) = 0;
  // One waits at a time; a later callback takes the place of an earlier one.
  virtual void when_writable(std::function<void()> callback) = 0;
  // Goes on from a free port of the same address: the old one may still be bound to a network that is gone. A
  // callback for writability is dropped. Errors as bind_udp, and nothing has changed then.
  virtual Result<> rebind() = 0;
  virtual void close() = 0;
};

// A UDP socket. Errors as TcpListener::listen.
Result<std::unique_ptr<PacketIo>> bind_udp(EventLoop& loop, const SocketAddr& address,
                                           const UdpOptions& options);

}  // namespace culvert::net
