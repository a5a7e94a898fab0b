#include "tls/detached_stream.h"

#include "base/check.h"
#include "net/tcp.h"
#include "tls/stream.h"

namespace culvert::tls {

DetachedStream::DetachedStream(std::unique_ptr<net::ByteStream> stream) {
  stream->cancel();
  if (auto* tls = dynamic_cast<Stream*>(stream.get())) {
    socket_.reset(tls->leave_loop());
    tls_ = std::move(stream);
  } else {
    socket_.reset(net::release_descriptor(*stream));
  }
}

std::unique_ptr<net::ByteStream> DetachedStream::attach(net::EventLoop& loop) && {
  if (!tls_) return net::make_tcp_stream(loop, socket_.release());
  auto* tls = dynamic_cast<Stream*>(tls_.get());
  CHECK(tls);
  tls->join_loop(loop, socket_.release());
  return std::move(tls_);
}

}  // namespace culvert::tls
