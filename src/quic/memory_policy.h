#pragma once
#include <deque>
#include <memory>
#include <unordered_map>

#include "quic/connection.h"

namespace culvert::quic {

// What an engine does when the memory of its connections is short: who gets what is there, and who pays.
// Peers that the application has not admitted pay first.
class MemoryPolicy {
 public:
  using Connections = std::unordered_map<Connection*, std::shared_ptr<Connection>>;

  MemoryPolicy(EndpointMemory& memory, EngineCounters& counters) : memory_(memory), counters_(counters) {}

  // Evicts streams that are not read until what was received is below its cap. Not those of the connection
  // that happened to reach it: those of the one that buffers most.
  void relieve_receiving(const Connections& connections);
  // `connection` is to be told when there is send memory.
  void starved(std::shared_ptr<Connection> connection) { starved_.push_back(std::move(connection)); }
  // Takes windows back that nothing uses, and tells starved connections of what is there. Where nothing is, a
  // connection that has more than is fair loses a stream that stands still, or ends if its peer acknowledges
  // nothing.
  void relieve_sending(const Connections& connections, TimePoint now);
  void clear() { starved_.clear(); }

 private:
  void evict_sender(const Connections& connections, TimePoint now);

  EndpointMemory& memory_;
  EngineCounters& counters_;
  std::deque<std::shared_ptr<Connection>> starved_;
};

}  // namespace culvert::quic
