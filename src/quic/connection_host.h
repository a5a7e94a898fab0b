#pragma once
#include <cstdint>

#include "base/clock.h"
#include "quic/config.h"
#include "quic/counters.h"

namespace culvert::quic {

class Connection;

namespace core {
struct Endpoint;
struct Connection;
struct Event;
}  // namespace core

// What a connection asks of the engine that owns it. Called from inside the connection: note it, act later.
class ConnectionHost {
 public:
  virtual ~ConnectionHost() = default;
  // Has something to write or to dispatch, or a new deadline.
  virtual void on_dirty(Connection& connection) = 0;
  // All connections together buffer more than Limits::max_endpoint_buffered.
  virtual void on_overload() = 0;
};

// What the engine keeps about a connection.
struct EngineSlot {
  TimePoint armed = TimePoint::max();  // of its timer
  bool dirty = false;
  bool blocked = false;  // the sink was full
};

// What all connections of an engine share.
struct Shared {
  core::Endpoint* core;
  const Limits& limits;
  uint64_t& buffered;  // bytes that arrived and were not consumed, of all connections
  EngineCounters& counters;
  ConnectionHost& host;
};

// One connection as its parts see it.
struct ConnectionContext {
  Shared shared;
  core::Connection* core;
  Connection& owner;
  bool is_open = false;  // the handshake is complete, and nothing has ended the connection

  core::Endpoint* endpoint() const { return shared.core; }
  const Limits& limits() const { return shared.limits; }
  void mark_dirty() const { shared.host.on_dirty(owner); }
};

}  // namespace culvert::quic
