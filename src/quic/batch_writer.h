#pragma once
#include "base/bytes.h"
#include "base/clock.h"
#include "net/datagram.h"
#include "quic/connection_host.h"
#include "quic/liveness.h"

namespace culvert::quic {

// Takes complete batches. False: the socket is full, the batch was not taken.
class BatchSink {
 public:
  virtual ~BatchSink() = default;
  virtual bool send(const net::DatagramBatch& batch) = 0;
};

// Moves one connection's packets from the core to a sink. A batch that the sink did not take is kept: the
// core counts it as sent.
class BatchWriter {
 public:
  explicit BatchWriter(ConnectionContext& context) : context_(context) {}

  // What was kept. False: the sink is full.
  bool write_kept(BatchSink& sink);
  // What the core has to send now, a few batches at most: then the others get their turn. False: the sink is
  // full.
  bool write(TimePoint now, BatchSink& sink, Liveness& liveness);
  // Packets do not leave this host now.
  bool is_blocked() const { return !kept_.empty(); }

 private:
  ConnectionContext& context_;
  Bytes kept_;
  net::DatagramBatch kept_batch_{};
};

}  // namespace culvert::quic
