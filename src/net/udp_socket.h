#pragma once
#include "net/packet_io.h"

namespace culvert::net {

class SharedSockets;

// A UDP socket with GRO, GSO, ECN, don't-fragment and the destination address of what arrives.
// Dual-stack when bound to ::.
class UdpSocket final : public PacketIo {
 public:
  // `shared`: where the socket is listed unless it has a peer, and where one for the address may be already.
  static Result<std::unique_ptr<UdpSocket>> bind(EventLoop& loop, const SocketAddr& address,
                                                 const UdpOptions& options = {},
                                                 const std::shared_ptr<SharedSockets>& shared = nullptr);
  ~UdpSocket() override;

  SocketAddr local_addr() const override;
  void start(std::function<void(const ReceivedDatagram&)> each, std::function<void()> batch_end) override;
  // Without GSO support it sends one by one.
  SendStatus send(const DatagramBatch& batch) override;
  void when_writable(std::function<void()> callback) override;
  Result<> rebind() override;
  void close() override;
  // False for a while after the kernel refused to cut a batch.
  bool is_segmenting() const;

 private:
  struct Impl;
  explicit UdpSocket(std::shared_ptr<Impl> impl);
  void shut();

  std::shared_ptr<Impl> impl_;
};

}  // namespace culvert::net
