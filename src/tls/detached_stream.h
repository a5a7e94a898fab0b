#pragma once
#include <memory>

#include "net/byte_stream.h"

namespace culvert::tls {

// A TCP or TLS connection on its way to another loop, also on another thread. Owns it: closes it unless it is
// attached.
class DetachedStream {
 public:
  // Callbacks that wait are dropped.
  explicit DetachedStream(std::unique_ptr<net::ByteStream> stream);

  // Once, on the thread of `loop`.
  std::unique_ptr<net::ByteStream> attach(net::EventLoop& loop) &&;

 private:
  std::unique_ptr<net::ByteStream> stream_;
};

}  // namespace culvert::tls
