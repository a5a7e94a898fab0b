#pragma once
#include <memory>
#include <vector>

#include "quic/connection_host.h"
#include "quic/liveness.h"
#include "quic/stream_registry.h"

namespace culvert::quic {

// The sending halves of a connection's streams: what was written and the core does not take yet, the memory
// that it takes, and the peer's answers to it.
class StreamWriting {
 public:
  StreamWriting(ConnectionContext& context, StreamRegistry& registry, Liveness& liveness)
      : context_(context), registry_(registry), liveness_(liveness), share_(&context.owner) {}
  // The core has freed the connection.
  ~StreamWriting() { context_.shared.memory.sending.release(share_); }
  StreamWriting(const StreamWriting&) = delete;

  // For streams. What write() may be given now:
  size_t room(const Stream& stream);
  void write(Stream& stream, ByteView data);
  void finish(Stream& stream);
  void reset(Stream& stream, AppCode code);
  bool is_answered(const Stream& stream) const { return liveness_.answered(stream.send_.written_at); }
  void notify_answered(Stream& stream);
  // The object is being destroyed.
  void forget(Stream& stream) { drop_pending(stream); }

  // The core takes data again.
  void on_writable(Stream& stream);
  // All of it is acknowledged.
  void on_finished(Stream& stream);
  void on_stopped(Stream& stream, AppCode code);
  // The peer acknowledged something: tells the streams that wait for an answer.
  void on_acknowledged();
  // `bytes` of streams that were reset are still in memory, beyond what the limit is for.
  void set_lingering(uint64_t bytes) { lingering_ = bytes; }

  // Memory (SendBudget). What the connection has of it:
  uint64_t memory() const { return share_.total(); }
  bool finds_memory() const;
  // There is some again.
  void on_memory();
  // Gives back half of the window if nothing uses it.
  void give_back_unused();
  // When the stream was last served that has waited longest; TimePoint::max(): none waits.
  TimePoint longest_wait() const;
  // Resets that stream.
  void evict_longest_waiting();
  // The connection is over: nothing is pending any more.
  void close();

 private:
  size_t give(Stream& stream, ByteView data);
  size_t give_with_larger_window(Stream& stream, ByteView data);
  void set_window(uint64_t bytes);
  void stopped(Stream& stream);
  void reset_in_core(Stream& stream, AppCode code);
  void drop_pending(Stream& stream);
  void starve();
  Stream* longest_waiting() const;

  ConnectionContext& context_;
  StreamRegistry& registry_;
  Liveness& liveness_;
  SendBudget::Share share_;
  uint64_t lingering_ = 0;
  bool is_starved_ = false;  // on_memory() follows
  std::vector<std::shared_ptr<Stream>> awaiting_answer_;
};

}  // namespace culvert::quic
