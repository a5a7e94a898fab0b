#pragma once
#include <cstdint>
#include <utility>

#include "net/packet_io.h"

namespace culvert::tunnel {

// Sends datagrams through a UDP socket; those that follow each other to the same address, and are of one
// size, with one system call. Sans-I/O but for the socket that it is given. What the socket does not take is
// dropped.
class DatagramSender {
 public:
  // `local`: the address it leaves from, unspecified: the system chooses. The socket lives until flush().
  void send(net::PacketIo& socket, ByteView payload, const SocketAddr& remote, const SocketAddr& local);
  // What has not left yet does.
  void flush();
  // How many the socket did not take since the last call: larger than the network takes, its buffer was full,
  // or the host has no way to the address.
  uint64_t take_dropped() { return std::exchange(dropped_, 0); }

 private:
  bool continues(const net::PacketIo& socket, ByteView payload, const SocketAddr& remote,
                 const SocketAddr& local) const;

  net::PacketIo* socket_ = nullptr;
  Bytes pending_;
  size_t count_ = 0;         // of datagrams in it
  size_t segment_size_ = 0;  // of each but the last
  bool is_short_ = false;    // the last one is shorter: none can follow
  SocketAddr remote_;
  SocketAddr local_;
  uint64_t dropped_ = 0;
};

}  // namespace culvert::tunnel
