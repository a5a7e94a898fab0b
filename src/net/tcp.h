#pragma once
#include <memory>
#include <string>
#include <vector>

#include "net/bind.h"
#include "net/byte_stream.h"

namespace culvert::net {

// A connected TCP socket with TCP_NODELAY.
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

// Resolves "name" or an IP literal, off the loop's thread, in the order getaddrinfo prefers.
// Errors: kNotFound, kUnavailable, kTimeout; the message names the host.
Task<Result<std::vector<SocketAddr>>> resolve(EventLoop& loop, std::string host, uint16_t port,
                                              TimePoint deadline);

// resolve, then the addresses in turn until one connects.
Task<Result<std::unique_ptr<ByteStream>>> tcp_connect(EventLoop& loop, std::string host, uint16_t port,
                                                      TimePoint deadline);

}  // namespace culvert::net
