#pragma once
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "edge/context.h"
#include "edge/session.h"
#include "edge/tunnels.h"
#include "edge/udp_batch.h"
#include "route/delta.h"
#include "tunnel/udp_channel.h"

namespace culvert::edge {

// The UDP channels in the tunnels of one worker: one for each tunnel and port. Opens them when there is
// something to send, and gives what comes back to the worker that has the port.
class UdpCarrier {
 public:
  // Both outlive it.
  UdpCarrier(WorkerContext& context, Tunnels& tunnels);
  ~UdpCarrier();
  UdpCarrier(const UdpCarrier&) = delete;

  // Through a tunnel of this worker. What cannot be sent is dropped and counted.
  void send(const UdpBatch& batch);
  // After the routes changed: ends the channels of agents that do not serve the port any more.
  void recheck(const route::Delta& changes);
  void tunnel_ended(uint64_t generation);

 private:
  class Channel;
  using Key = std::pair<route::PublicPort, uint64_t>;  // port, generation

  Channel* open(const UdpBatch& batch);

  WorkerContext& context_;
  Tunnels& tunnels_;
  std::map<Key, std::unique_ptr<Channel>> channels_;
};

}  // namespace culvert::edge
