#pragma once
#include <memory>
#include <vector>

#include "quic/connection_host.h"
#include "quic/liveness.h"
#include "quic/stream_registry.h"

namespace culvert::quic {

// The sending halves of a connection's streams: what was written and the core does not take yet, and the
// peer's answers to it.
class StreamWriting {
 public:
  StreamWriting(ConnectionContext& context, StreamRegistry& registry, Liveness& liveness)
      : context_(context), registry_(registry), liveness_(liveness) {}

  // For streams. What write() may be given now:
  size_t room(const Stream& stream) const;
  void write(Stream& stream, ByteView data);
  void finish(Stream& stream);
  void reset(Stream& stream, AppCode code);
  bool is_answered(const Stream& stream) const { return liveness_.answered(stream.send_.written_at); }
  void notify_answered(Stream& stream);
  // The object is being destroyed.
  void forget(Stream& stream) { pending_ -= stream.send_.pending.size(); }

  // What the core takes of all streams and is not acknowledged.
  void set_window(uint64_t bytes);
  // The core takes data again.
  void on_writable(Stream& stream);
  // All of it is acknowledged.
  void on_finished(Stream& stream);
  void on_stopped(Stream& stream, AppCode code);
  // The peer acknowledged something: tells the streams that wait for an answer.
  void on_acknowledged();
  // The connection is over.
  void release();

 private:
  void give(Stream& stream, ByteView data);
  void stopped(Stream& stream);
  void drop_pending(Stream& stream);

  ConnectionContext& context_;
  StreamRegistry& registry_;
  Liveness& liveness_;
  std::vector<std::shared_ptr<Stream>> awaiting_answer_;
  uint64_t pending_ = 0;  // bytes in Stream::SendingHalf::pending
};

}  // namespace culvert::quic
