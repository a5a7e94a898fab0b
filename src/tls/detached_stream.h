#pragma once
#include <memory>

#include "base/descriptor.h"
#include "net/byte_stream.h"

namespace culvert::tls {

// A TCP or TLS connection on its way to another loop, also on another thread. Owns it: closes it unless it is
// attached.
class DetachedStream {
 public:
  // A stream of net::make_tcp_stream, accept() or connect(); callbacks that wait are dropped.
  explicit DetachedStream(std::unique_ptr<net::ByteStream> stream);

  // Once, on the thread of `loop`.
  std::unique_ptr<net::ByteStream> attach(net::EventLoop& loop) &&;

 private:
  std::unique_ptr<net::ByteStream> tls_;  // without its socket; nullptr: plain TCP
  Descriptor socket_;
};

}  // namespace culvert::tls
