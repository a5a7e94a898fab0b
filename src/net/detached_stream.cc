#include <unistd.h>

#include <utility>

#include "base/check.h"
#include "net/tcp.h"
#include "net/tls_stream.h"

namespace culvert::net {

DetachedStream::DetachedStream(std::unique_ptr<ByteStream> stream) {
  stream->cancel();
  if (auto* tls = dynamic_cast<TlsStream*>(stream.get())) {
    fd_ = tls->leave_loop();
    tls_ = std::move(stream);
  } else {
    fd_ = release_descriptor(*stream);
  }
}

DetachedStream::DetachedStream(DetachedStream&& other) noexcept
    : tls_(std::move(other.tls_)), fd_(std::exchange(other.fd_, -1)) {}

DetachedStream::~DetachedStream() {
  if (fd_ >= 0) ::close(fd_);
}

std::unique_ptr<ByteStream> DetachedStream::attach(EventLoop& loop) && {
  const int fd = std::exchange(fd_, -1);
  if (!tls_) return make_tcp_stream(loop, fd);
  auto* tls = dynamic_cast<TlsStream*>(tls_.get());
  CHECK(tls);
  tls->join_loop(loop, fd);
  return std::move(tls_);
}

}  // namespace culvert::net
