#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/socket_addr.h"
#include "edge/counters.h"
#include "edge/tunnel_registry.h"
#include "edge/unserved.h"
#include "net/byte_stream.h"
#include "route/route.h"
#include "tls/detached_stream.h"

namespace culvert::edge {

class Worker;

// A public connection on its way to the worker that holds the tunnel of the agent that was picked for it.
struct MovedConnection {
  tls::DetachedStream socket;  // terminated: with its TLS
  Bytes received;
  std::string host;
  uint64_t id;
  TimePoint accepted;
  ConnectionSlot slot;
  std::optional<Unserved::Place> place;  // unless an agent answered for it before
  unsigned moves;
  std::vector<uint64_t> tried;      // TunnelRegistry::Tried
  std::optional<TimePoint> opened;  // when the first agent was tried
  bool limited;                     // the last one takes no more streams
  bool retried;                     // one did not answer
  route::TlsMode tls_mode;
  TunnelRegistry::Pick pick;
  uint64_t route_update;  // whose routes it was picked by
};

// A public connection whose agent was lost after it had its first bytes and before it answered.
struct UnansweredConnection {
  std::unique_ptr<net::ByteStream> socket;
  Bytes received;
  std::string host;
  uint64_t id;
  TimePoint accepted;
  ConnectionSlot slot;
  route::TlsMode tls_mode;
};

// The story of one public connection, until a pump carries it or it is refused.
net::Task<> serve_public(Worker& worker, std::unique_ptr<net::ByteStream> socket, ConnectionSlot slot,
                         Unserved::Place place);
net::Task<> serve_moved(Worker& worker, MovedConnection moved);
net::Task<> serve_unanswered(Worker& worker, UnansweredConnection unanswered);

}  // namespace culvert::edge
