#pragma once
#include "base/bytes.h"
#include "base/socket_addr.h"

namespace culvert::net {

// One datagram as it came; `data` lives until the callback returns.
struct ReceivedDatagram {
  ByteView data;
  SocketAddr remote;
  SocketAddr local;  // the address it was sent to, with our port
  uint8_t ecn;       // the two ECN bits (RFC 3168)
};

// Datagrams of one size (the last may be shorter) to one peer: one sendmsg with UDP_SEGMENT.
struct DatagramBatch {
  ByteView data;
  size_t segment_size;
  SocketAddr remote;
  SocketAddr local;  // source address to send from; unspecified lets the kernel choose
  uint8_t ecn = 0;
};

}  // namespace culvert::net
