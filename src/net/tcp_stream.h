#pragma once
#include "net/bind.h"
#include "net/byte_stream.h"
#include "net/ready_socket.h"

namespace culvert::net {

// The options of every TCP connection, for a socket that is not connected yet: connections that a listener
// accepts have those of the listener.
void set_tcp_options(int fd);

// recv and send on a descriptor; what make_tcp_stream makes.
class TcpStream final : public ByteStream {
 public:
  // What TcpListener::accept gave.
  static std::unique_ptr<TcpStream> adopt(EventLoop& loop, int fd);
  // A connected socket with set_tcp_options.
  TcpStream(ReadySocket socket, const SocketAddr& remote)
      : socket_(std::move(socket)), local_(bound_address(socket_.fd())), remote_(remote) {}

  IoResult try_read(MutableBytes into) override;
  using ByteStream::try_write;
  IoResult try_write(std::span<const ByteView> from) override;
  IoResult try_finish() override;
  void when_readable(ReadyCallback callback) override { socket_.when_readable(std::move(callback)); }
  void when_writable(ReadyCallback callback) override { socket_.when_writable(std::move(callback)); }
  void cancel() override { socket_.cancel(); }
  void close() override { socket_.close(); }
  void reset() override { socket_.reset(); }
  bool is_open() const override { return socket_.is_open(); }
  bool peer_has_ended() const override;
  SocketAddr local_addr() const override { return local_; }
  SocketAddr remote_addr() const override { return remote_; }
  std::string last_error() const override;
  EventLoop& loop() override { return socket_.loop(); }

  void soon_readable(ReadyCallback callback) { socket_.soon_readable(std::move(callback)); }
  int release() { return socket_.release(); }

 private:
  IoResult failed(IoStatus want);

  ReadySocket socket_;
  SocketAddr local_;
  SocketAddr remote_;
  int error_ = 0;
  bool reset_ = false;  // a write met the peer's RST
};

}  // namespace culvert::net
