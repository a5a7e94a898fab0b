#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/descriptor.h"
#include "net/bind.h"
#include "net/byte_stream.h"

namespace culvert::net {

struct ListenOptions {
  PortShare share = PortShare::kNone;
  int backlog = 1024;
};

// Accepts connections on one address. Port 0 takes a free one. They have, as those of tcp_connect,
// TCP_NODELAY and keep-alive probes: a peer that vanished is an error after two minutes.
class TcpListener {
 public:
  // Errors name the address, the reason and the next step: kConflict (in use), kUnauthorized (privileged
  // port), kIo.
  static Result<std::unique_ptr<TcpListener>> listen(EventLoop& loop, const SocketAddr& address,
                                                     ListenOptions options);
  virtual ~TcpListener() = default;

  virtual SocketAddr local_addr() const = 0;
  // The next connection; one call at a time. kClosed after close(). Waits out a full descriptor table itself.
  virtual Task<Result<std::unique_ptr<ByteStream>>> accept() = 0;
  virtual void close() = 0;
};

// The socket of a plain TCP connection, for another process; empty: the stream is none.
Descriptor take_socket(std::unique_ptr<ByteStream> stream);
// One that another process has accepted.
std::unique_ptr<ByteStream> adopt_socket(EventLoop& loop, Descriptor socket);

struct ConnectOptions {
  // The caller writes as soon as it is connected: what it writes travels with the last packet of the
  // handshake (RFC 9293, 3.5), and the peer wakes up once. A caller that only listened would keep the peer
  // waiting.
  bool writes_at_once = false;
};

// One address that is being tried.
class ConnectAttempt {
 public:
  virtual ~ConnectAttempt() = default;
  virtual const SocketAddr& address() const = 0;
  // EINPROGRESS, 0 when connected, or the error.
  virtual int outcome() const = 0;
  // Once, when connected.
  virtual std::unique_ptr<ByteStream> take() = 0;
};
// `changed` is notified when outcome() may have changed.
std::unique_ptr<ConnectAttempt> make_connect_attempt(EventLoop& loop, const SocketAddr& address,
                                                     ConnectOptions options, std::shared_ptr<Notify> changed);

// Connects to one address. Errors: kUnavailable (refused, unreachable), kTimeout; the message names the
// address.
Task<Result<std::unique_ptr<ByteStream>>> tcp_connect(EventLoop& loop, SocketAddr address, TimePoint deadline,
                                                      ConnectOptions options = {});

// Connects to a host by name or IP literal as RFC 8305 says: A and AAAA are asked at once, the families take
// turns, the next address is tried 250 ms after the last or as soon as one fails, and the first connection
// wins. Errors: kNotFound, kUnavailable, kTimeout; the message names the host and why each address failed.
Task<Result<std::unique_ptr<ByteStream>>> tcp_connect(EventLoop& loop, std::string host, uint16_t port,
                                                      TimePoint deadline, ConnectOptions options = {});

}  // namespace culvert::net
