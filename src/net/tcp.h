#pragma once
#include <memory>
#include <string>
#include <vector>

#include "net/bind.h"
#include "net/byte_stream.h"

namespace culvert::net {

// A connected TCP socket, as TcpListener::accept gives. Connections of listeners and of tcp_connect have
// TCP_NODELAY and keep-alive probes: a peer that vanished is an error after two minutes.
std::unique_ptr<ByteStream> make_tcp_stream(EventLoop& loop, int fd);

// Gives up the descriptor of a stream made by make_tcp_stream that nothing waits on, so that another worker's
// loop can take it. The stream answers kError afterwards.
int release_descriptor(ByteStream& stream);

struct ListenOptions {
  PortShare share = PortShare::kNone;
  int backlog = 1024;
};

// Accepts connections on one address. Port 0 takes a free one.
class TcpListener {
 public:
  // Errors name the address, the reason and the next step: kConflict (in use), kUnauthorized (privileged
  // port), kIo.
  static Result<std::unique_ptr<TcpListener>> listen(EventLoop& loop, const SocketAddr& address,
                                                     ListenOptions options);
  ~TcpListener();

  SocketAddr local_addr() const;
  // The next connection's descriptor; one call at a time. kClosed after close(). Waits out a full descriptor
  // table itself.
  Task<Result<int>> accept();
  void close();

 private:
  struct Impl;
  explicit TcpListener(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

// Connects to one address. Errors: kUnavailable (refused, unreachable), kTimeout; the message names the
// address.
Task<Result<std::unique_ptr<ByteStream>>> tcp_connect(EventLoop& loop, SocketAddr address,
                                                      TimePoint deadline);

// Connects to a host by name or IP literal as RFC 8305 says: A and AAAA are asked at once, the families take
// turns, the next address is tried 250 ms after the last or as soon as one fails, and the first connection
// wins. Errors: kNotFound, kUnavailable, kTimeout; the message names the host and why each address failed.
Task<Result<std::unique_ptr<ByteStream>>> tcp_connect(EventLoop& loop, std::string host, uint16_t port,
                                                      TimePoint deadline);

}  // namespace culvert::net
