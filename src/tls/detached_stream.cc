#include "tls/detached_stream.h"

#include <utility>

namespace culvert::tls {

DetachedStream::DetachedStream(std::unique_ptr<net::ByteStream> stream) : stream_(std::move(stream)) {
  stream_->cancel();
  stream_->leave_loop();
}

std::unique_ptr<net::ByteStream> DetachedStream::attach(net::EventLoop& loop) && {
  stream_->join_loop(loop);
  return std::move(stream_);
}

}  // namespace culvert::tls
