#pragma once
#include "base/result.h"
#include "quic/connection_host.h"
#include "quic/datagram_queue.h"
#include "quic/liveness.h"

namespace culvert::quic {

// The unreliable datagrams of one connection (RFC 9221).
class Datagrams {
 public:
  // Both outlive it.
  Datagrams(ConnectionContext& context, Liveness& liveness)
      : context_(context),
        liveness_(liveness),
        queue_(context.limits().max_queued_datagrams, context.limits().max_queued_datagram_bytes) {}

  // Moves what the core received into the queue; what a peer sends that is not admitted is dropped.
  void receive_from_core();
  std::optional<Bytes> receive() { return queue_.pop(); }
  // Errors: kClosed; kLimit when larger than the peer or the path takes; kUnavailable when the queue is full.
  Result<> send(ByteView data);
  size_t max_size() const;  // 0: the peer takes none, or the connection is not open

 private:
  ConnectionContext& context_;
  Liveness& liveness_;
  DatagramQueue queue_;
};

}  // namespace culvert::quic
