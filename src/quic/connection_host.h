#pragma once
#include <cstdint>

#include "base/clock.h"
#include "quic/config.h"
#include "quic/counters.h"
#include "quic/send_budget.h"

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
  // All connections together buffer more than EndpointLimits::max_receive_memory.
  virtual void on_overload() = 0;
  // It has data to send and found no memory for it: StreamWriting::on_memory() is to be called.
  virtual void on_starved(Connection& connection) = 0;
};

// What the engine keeps about a connection.
struct EngineSlot {
  uint64_t number = 0;                 // of its making: what is done for several is done in this order
  TimePoint armed = TimePoint::max();  // of its timer
  bool dirty = false;
  bool blocked = false;  // the sink was full
};

// Of all connections of an engine.
struct EndpointMemory {
  explicit EndpointMemory(const EndpointLimits& caps)
      : max_received(caps.max_receive_memory), sending(caps.max_send_memory) {}

  const uint64_t max_received;
  uint64_t received = 0;  // bytes that arrived and were not consumed
  SendBudget sending;
};

// What all connections of an engine share.
struct Shared {
  core::Endpoint* core;
  const Limits& limits;
  EndpointMemory& memory;
  EngineCounters& counters;
  ConnectionHost& host;
};

// One connection as its parts see it.
struct ConnectionContext {
  Shared shared;
  core::Connection* core;
  Connection& owner;
  bool is_open = false;      // the handshake is complete, and nothing has ended the connection
  bool is_admitted = false;  // Limits::unadmitted_window
  TimePoint now = {};        // of the packet or deadline being processed

  core::Endpoint* endpoint() const { return shared.core; }
  const Limits& limits() const { return shared.limits; }
  void mark_dirty() const { shared.host.on_dirty(owner); }
};

}  // namespace culvert::quic
