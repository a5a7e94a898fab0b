#pragma once
#include "net/packet_io.h"
#include "sim/machine.h"

// Tests only: UDP between simulated machines.
namespace culvert::sim {

// A socket.
class UdpPort {
 public:
  virtual ~UdpPort() = default;
  virtual void arrived(ByteView data, const SocketAddr& remote, const SocketAddr& local) = 0;
};

Result<std::unique_ptr<net::PacketIo>> open_packets(Machine& machine, net::EventLoop& loop,
                                                    const SocketAddr& address,
                                                    const net::UdpOptions& options);

}  // namespace culvert::sim
