#pragma once
#include <memory>

#include "base/result.h"
#include "base/socket_addr.h"
#include "dns/authority.h"
#include "dns/counters.h"
#include "net/event_loop.h"

namespace culvert::dns {

struct ServerOptions {
  // Answers over UDP to one source (an IPv4 address, or the /64 of an IPv6 address): so many at once, then
  // one each interval. Of the queries beyond, every second one is told to use TCP, and the others are
  // dropped: a forged sender gets less than was sent in its name, a real one is served all the same (RFC
  // 5358).
  uint32_t source_burst = 200;
  Duration source_interval = std::chrono::milliseconds(20);
  // Over TCP, from one complete query to the next, and for writing an answer.
  Duration idle_time = std::chrono::seconds(10);
  Duration connection_time = std::chrono::seconds(60);  // of one TCP connection in all
  // TCP connections. A new one takes the place of the oldest when there are too many; a source that has
  // too many gets no further one.
  size_t max_connections = 256;
  size_t max_source_connections = 16;
};

// Serves an Authority on UDP and TCP. Lives on one loop.
class Server {
 public:
  // More than any query has: one question, EDNS with its options, TSIG.
  static constexpr size_t kMaxQuerySize = 4096;

  // Port 0 takes one that is free for both. `authority` outlives the server. Errors name the address, the
  // reason and the next step: kConflict (in use), kUnauthorized (a port of the system), kIo.
  static Result<std::unique_ptr<Server>> listen(net::EventLoop& loop, const SocketAddr& address,
                                                Authority& authority, const ServerOptions& options = {});
  virtual ~Server() = default;

  virtual SocketAddr local_addr() const = 0;
  virtual const ServerCounters& counters() const = 0;
  // Ends all connections; afterwards the server may be destroyed.
  virtual net::Task<> stop() = 0;
};

}  // namespace culvert::dns
