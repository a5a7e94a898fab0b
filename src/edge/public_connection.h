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
#include "edge/counters.h"
#include "edge/session.h"
#include "edge/tunnel_registry.h"
#include "net/byte_stream.h"
#include "route/route.h"
#include "tls/detached_stream.h"

namespace culvert::edge {

// A client's connection from its admission to its end: while its hello is read, on its way to another worker
// or to the hub, while agents are tried, and while its bytes are carried. Gives back what it holds when it is
// destroyed.
struct PublicConnection {
  std::unique_ptr<net::ByteStream> socket;             // nullptr: in transit, or in a pump
  std::optional<tls::DetachedStream> in_transit = {};  // on its way to another thread
  std::optional<ConnectionSlot> slot = {};             // counts towards the caps
  std::optional<Admission::Pending> pending = {};      // until an agent is asked
  Bytes received = {};                                 // read from the socket, and for the agent
  std::string host = {};                               // as the client asked for it; empty: it named none
  SocketAddr client = {};
  SocketAddr public_addr = {};  // that the client connected to
  uint64_t id = 0;              // in the logs of both ends
  TimePoint accepted = {};

  // Of its route.
  route::TlsMode tls_mode = route::TlsMode::kPassthrough;
  uint64_t route_update = 0;                      // the RouteUpdate whose routes it was picked by
  std::optional<TunnelRegistry::Pick> pick = {};  // the tunnel that is to get it, or has it
  std::optional<Session::Use> use = {};           // its stream there, also one that is being opened

  // The agents that it was given to in vain.
  std::vector<uint64_t> tried = {};      // TunnelRegistry::Tried
  std::optional<TimePoint> opened = {};  // when the first was tried
  bool limited = false;                  // the last takes no more streams
  bool retried = false;                  // one had a stream for it and did not answer
  unsigned moves = 0;                    // from worker to worker

  // Between attach() and detach() it belongs to one loop.
  void detach();
  void attach(net::EventLoop& loop);
};

// Says `message` and ends the connection; it needs its place no longer.
net::Task<> refuse(PublicConnection connection, Bytes message);

}  // namespace culvert::edge
