#pragma once
#include <functional>
#include <memory>

#include "base/bytes.h"
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
};

// A UDP socket with GRO, GSO, ECN, don't-fragment and the destination address of what arrives.
// Dual-stack when bound to ::. Lives on one loop.
class UdpSocket {
 public:
  enum class SendStatus { kSent, kBlocked, kTooLarge, kUnreachable };

  // Errors as TcpListener::listen.
  static Result<std::unique_ptr<UdpSocket>> bind(EventLoop& loop, const SocketAddr& address,
                                                 UdpOptions options = {});
  ~UdpSocket();

  SocketAddr local_addr() const;

  // Calls `each` for every datagram of a readiness, then `batch_end` once: the place to answer.
  void start(std::function<void(const ReceivedDatagram&)> each, std::function<void()> batch_end);
  // kBlocked: call when_writable and try again. Without GSO support it sends one by one.
  SendStatus send(const DatagramBatch& batch);
  void when_writable(std::function<void()> callback);
  // False for a while after the kernel refused to cut a batch.
  bool is_segmenting() const;
  void close();

 private:
  struct Impl;
  explicit UdpSocket(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace culvert::net
