#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/socket_addr.h"
#include "edge/admission.h"
#include "edge/connection_record.h"
#include "edge/counters.h"
#include "edge/session.h"
#include "edge/tunnel_registry.h"
#include "net/byte_stream.h"
#include "route/route.h"
#include "route/snapshot.h"
#include "tls/detached_stream.h"
#include "tunnel/stream_header.h"
#include "wire/proxy_tlvs.h"

namespace culvert::edge {

// What is known of an origin that does not work: what its agent answered, or the edge has seen.
struct OriginRefusal {
  endpoint::AppCode code;
  std::string reason;     // for the client; empty: the agent told none
  bool is_local = false;  // the origin is beside the edge
};

// A client's connection from its admission to its end: while its hello is read, on its way to another worker
// or to the hub, while agents are tried, and while its bytes are carried. Gives back what it holds when it is
// destroyed, and is recorded then.
struct PublicConnection : ConnectionRecord {
  std::unique_ptr<net::ByteStream> socket;             // nullptr: in transit, or in a pump
  std::optional<tls::DetachedStream> in_transit = {};  // on its way to another thread
  std::optional<ConnectionSlot> slot = {};             // counts towards the caps
  std::optional<Admission::Pending> pending = {};      // until an agent is asked
  Bytes received = {};                                 // read from the socket, and for the agent
  std::vector<wire::ProxyTlv> proxy_tlvs = {};         // of a trusted proxy, for its origin

  uint64_t route_update = 0;                      // the RouteUpdate whose routes it was picked by
  std::optional<TunnelRegistry::Pick> pick = {};  // the tunnel that is to get it, or has it
  std::optional<Session::Use> use = {};           // its stream there, also one that is being opened

  // The agents that it was given to in vain.
  std::vector<uint64_t> tried = {};           // TunnelRegistry::Tried
  std::optional<TimePoint> opened = {};       // when the first was tried
  bool limited = false;                       // the last takes no more streams
  std::optional<OriginRefusal> refused = {};  // the last one refused it so
  bool retried = false;                       // one had a stream for it and did not answer
  unsigned moves = 0;                         // from worker to worker

  // What the client asked for, for logs: a hostname, or a port like "tcp/2222".
  std::string name() const { return port ? port->text() : host; }
  // nullptr: there is none.
  const route::Route* find_route(const route::Snapshot& routes) const {
    return port ? routes.match(*port) : routes.match(host);
  }

  // Why it ends, to be recorded then. A client that lost its place among the pending ones ends for that
  // reason.
  void end_as(CloseReason reason);

  // Between attach() and detach() it belongs to one loop.
  void detach();
  void attach(net::EventLoop& loop);
};

// How a route's connections go to its agents; nullopt: nobody serves its hostname.
std::optional<tunnel::StreamKind> kind_of(const route::Route& route);

// Whether it takes connections of this kind: of a passthrough hostname challenges as well.
bool takes(const route::Route& route, tunnel::StreamKind kind);

// Says `message` and ends the connection; it needs its place no longer.
net::Task<> refuse(PublicConnection connection, Bytes message);

}  // namespace culvert::edge
