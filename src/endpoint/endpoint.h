#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/key.h"
#include "base/metrics.h"
#include "base/random.h"
#include "endpoint/endpoint_addr.h"
#include "net/event_loop.h"
#include "quic/config.h"
#include "quic/connection_info.h"
#include "quic/protocol.h"
#include "quic/silence_watch.h"
#include "quic/stream.h"

namespace culvert::endpoint {

using quic::AppCode;
using quic::Stream;
using StreamPtr = std::shared_ptr<Stream>;

struct Config {
  SecretKey key;
  SocketAddr bind;                             // port 0 takes a free one
  std::vector<quic::Protocol> protocols = {};  // that it accepts; none: this endpoint only dials
  unsigned worker = 0;                         // index of this worker among `workers` that share the address
  unsigned workers = 1;
  uint8_t generation = 0;    // of this process among those that had the address, as in quic::Engine::Config
  quic::Limits limits = {};  // of connections that it dials
  // Not set: from the machine's memory.
  std::optional<quic::EndpointLimits> caps = {};
};

using quic::CloseReason;
using quic::PathEvent;
using quic::PathId;
using quic::PathStats;
using quic::Silence;

// One QUIC connection with a verified peer. Lives on its endpoint's loop; hold it by shared_ptr. Every
// waiting call ends with kClosed when the connection does.
class Connection {
 public:
  virtual ~Connection() = default;

  // The key that the peer proved. A server that showed an X.509 certificate proved none, and its clients only
  // where quic::Protocol::needs_peer_key says so.
  virtual const std::optional<EndpointId>& remote_id() const = 0;
  virtual const std::string& alpn() const = 0;
  virtual bool is_open() const = 0;

  // Open waits for the peer's stream limit. At once, or nullptr: try_open_bidi.
  virtual net::Task<Result<StreamPtr>> open_bidi() = 0;
  virtual net::Task<Result<StreamPtr>> open_uni() = 0;
  virtual StreamPtr try_open_bidi() = 0;
  virtual net::Task<Result<StreamPtr>> accept_bidi() = 0;
  virtual net::Task<Result<StreamPtr>> accept_uni() = 0;

  // Lets the peer in, where quic::Limits::unadmitted_window says that this is the application's decision.
  virtual void admit() = 0;

  // Unreliable; kLimit when larger than the peer or the path takes, kUnavailable when the queue is full.
  virtual Result<> send_datagram(ByteView data) = 0;
  virtual size_t max_datagram_size() const = 0;
  virtual net::Task<Result<Bytes>> receive_datagram() = 0;
  // At once, or nullopt.
  virtual std::optional<Bytes> try_receive_datagram() = 0;
  // Called from the loop after datagrams came, once for all that are there. Empty: no more.
  virtual void set_on_datagrams(std::function<void()> callback) = 0;

  // Tells the peer and ends at once.
  virtual void close(AppCode code, std::string reason) = 0;
  virtual net::Task<CloseReason> closed() = 0;
  // When something was last received that only the peer can have sent.
  virtual TimePoint last_heard() const = 0;
  // RFC 9002, 6.2.1: an acknowledgement that takes longer is lost, or will never come.
  virtual Duration probe_timeout() const = 0;
  // With quic::Limits::watch_silence: called from the loop whenever it changes; may close the connection.
  // Empty: no more.
  virtual void set_on_silence(std::function<void(Silence)> callback) = 0;

  // Paths (draft-ietf-quic-multipath) and n0's NAT traversal; quic::Paths says when each of these fails.
  // Once the connection is closed there are no paths, and the calls fail. The path that carries data now:
  virtual PathStats path_stats() const = 0;
  virtual std::vector<PathStats> paths() const = 0;
  virtual bool is_multipath() const = 0;
  virtual Result<PathId> open_path(const SocketAddr& remote, bool backup) = 0;
  virtual bool close_path(PathId path) = 0;
  virtual bool set_backup(PathId path, bool backup) = 0;
  virtual bool set_path_timers(PathId path, Duration idle_timeout, Duration keep_alive) = 0;
  virtual bool ping_path(PathId path) = 0;
  virtual bool add_candidate(const SocketAddr& address) = 0;
  virtual bool remove_candidate(const SocketAddr& address) = 0;
  virtual Result<size_t> punch() = 0;
  // For one caller at a time. The oldest of more than 64 unread events is dropped: paths() has the state of
  // all.
  virtual net::Task<Result<PathEvent>> next_path_event() = 0;
};
using ConnectionPtr = std::shared_ptr<Connection>;

// A QUIC endpoint: an Ed25519 key is its identity and its address. One UDP socket on one event loop.
class Endpoint {
 public:
  // Errors as net::UdpSocket::bind.
  static Result<std::unique_ptr<Endpoint>> bind(net::EventLoop& loop, Config config);
  virtual ~Endpoint() = default;

  virtual const EndpointId& id() const = 0;
  virtual SocketAddr local_addr() const = 0;
  // Adds the series of this endpoint.
  virtual void report(Metrics& metrics) const = 0;

  // Dials every given address and keeps the first that proves to be `addr.id`. Errors: kUnauthorized (another
  // key, or the peer refuses ours), kInvalid (no common ALPN; message names both), kUnavailable, kTimeout.
  virtual net::Task<Result<ConnectionPtr>> connect(EndpointAddr addr, std::string alpn,
                                                   TimePoint deadline) = 0;
  // Dials a server that has a certificate for `server.name` under one of its roots, at every given address.
  // Errors: the same.
  virtual net::Task<Result<ConnectionPtr>> connect(quic::X509Server server, std::vector<SocketAddr> addrs,
                                                   std::string alpn, TimePoint deadline) = 0;
  // The next connection of this protocol that finished its handshake. Each protocol has its own queue, of
  // kMaxAccepted at most: further ones are closed and counted. Errors: kClosed after close(); kInvalid for a
  // protocol that is not in Config::protocols.
  static constexpr size_t kMaxAccepted = 128;
  virtual net::Task<Result<ConnectionPtr>> accept(std::string alpn) = 0;

  // Binds a new socket in place of the old one and moves every connection to it (RFC 9000, 9). For a host
  // whose address changed.
  virtual Result<> rebind() = 0;

  // Closes every connection with `code`, then the socket. Waiting calls end with kClosed.
  virtual void close(AppCode code, std::string reason) = 0;
};

// The series of one protocol: how many connections were refused because its queue was full.
void report_refused(const std::string& alpn, uint64_t refused, Metrics& metrics);

// Coroutine forms for streams.
// read_some: 0 bytes at the clean end. kReset when the peer reset the stream, kClosed when the connection
// ended.
net::Task<Result<size_t>> read_some(net::EventLoop& loop, StreamPtr stream, MutableBytes into,
                                    TimePoint deadline);
net::Task<Result<>> write_all(net::EventLoop& loop, StreamPtr stream, ByteView from, TimePoint deadline);

}  // namespace culvert::endpoint
