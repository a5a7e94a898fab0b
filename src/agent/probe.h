#pragma once
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "net/event_loop.h"
#include "route/route.h"

namespace culvert::agent {

// One service's public URL, as a client would ask for it.
struct ProbeTarget {
  std::string host;  // the edge's public address
  uint16_t port;
  std::string hostname;  // the service's: SNI and Host
  route::TlsMode tls_mode;
  std::string
      root_pem;        // terminate: what the edge's certificate must end in, unless a root of the system does
  std::string target;  // terminate: what to GET, "/?..."
};

// Asks once. The answer's HTTP status for a terminated service, 0 for passthrough, where an answered TLS
// handshake is all that can be seen from outside, whatever the origin's certificate is. Errors say what did
// not answer.
net::Task<Result<int>> probe(net::EventLoop& loop, ProbeTarget target, TimePoint deadline);

}  // namespace culvert::agent
