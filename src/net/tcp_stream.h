#pragma once
#include <optional>

#include "base/descriptor.h"
#include "net/bind.h"
#include "net/byte_stream.h"
#include "net/ready_socket.h"

namespace culvert::net {

// The options of every TCP connection, for a socket that is not connected yet: connections that a listener
// accepts have those of the listener.
void set_tcp_options(int fd);

// recv, send and splice on a descriptor.
class TcpStream : public ByteStream {
 public:
  // What a listener with set_tcp_options accepted.
  static std::unique_ptr<TcpStream> adopt(EventLoop& loop, int fd);
  // A connected socket with set_tcp_options.
  TcpStream(ReadySocket socket, const SocketAddr& remote) : socket_(std::move(socket)), remote_(remote) {}

  IoResult try_read(MutableBytes into) override;
  using ByteStream::try_write;
  IoResult try_write(std::span<const ByteView> from) override;
  IoResult try_finish() override;
  // The same by way of a pipe, which has room or `bytes`. Writing needs SIGPIPE to be ignored.
  IoResult try_splice_to(int pipe, size_t most);
  IoResult try_splice_from(int pipe, size_t bytes);
  void when_readable(ReadyCallback callback) override;
  void when_writable(ReadyCallback callback) override;
  void soon_readable(ReadyCallback callback) override { socket_->soon_readable(std::move(callback)); }
  void cancel() override { socket_->cancel(); }
  void leave_loop() override;
  void join_loop(EventLoop& loop) override { socket_.emplace(loop, detached_.release()); }
  void close() override { socket_->close(); }
  void reset() override { socket_->reset(); }
  bool is_open() const override { return socket_->is_open(); }
  bool peer_has_ended() const override;
  SocketAddr local_addr() const override { return bound_address(fd()); }
  SocketAddr remote_addr() const override { return remote_; }
  std::string last_error() const override;
  EventLoop& loop() override { return socket_->loop(); }
  int fd() const { return socket_->fd(); }  // stays its own
  // The stream ends, and its connection does not.
  Descriptor take() {
    cancel();
    leave_loop();
    return std::move(detached_);
  }

 private:
  IoResult failed(IoStatus want);
  IoResult read(ssize_t count);

  std::optional<ReadySocket> socket_;  // of its loop
  Descriptor detached_;                // while it belongs to none
  SocketAddr remote_;
  int error_ = 0;
  bool reset_ = false;    // a write met the peer's RST
  bool drained_ = false;  // the last read found nothing more
  bool filled_ = false;   // the last write found no more room
};

}  // namespace culvert::net
