#pragma once
#include <span>

#include "quic/connection_host.h"
#include "quic/reader_order.h"
#include "quic/stream_registry.h"

namespace culvert::quic {

// The receiving halves of a connection's streams: what arrived, the memory that it takes, and which stream
// is evicted when that is too much.
class StreamReading {
 public:
  StreamReading(ConnectionContext& context, StreamRegistry& registry)
      : context_(context), registry_(registry) {}

  // For streams.
  ByteView front(const Stream& stream) const;
  size_t pieces(const Stream& stream, std::span<ByteView> out) const;
  void consume(Stream& stream, size_t count);
  void stop(Stream& stream, AppCode code);
  // The object is being destroyed.
  void forget(Stream& stream);

  // The peer opened it.
  void on_opened(Stream& stream);
  // The application took it.
  void accept(Stream& stream);
  // The core has `buffered` bytes for it, in `frames` frames.
  void on_readable(Stream& stream, uint64_t buffered, uint64_t frames);
  // The connection is over: everything that arrived in order before that stays readable.
  void keep_rest(Stream& stream);

  uint64_t buffered() const { return buffered_; }
  // Evicts the stream whose reader has been idle longest, and counts it there. False: nothing is buffered.
  bool evict_stalled(uint64_t& counter);
  // No stream points here any more.
  void release();

 private:
  void fill(Stream& stream, size_t consumed);
  void set_buffered(Stream& stream, uint64_t bytes);
  void drop_unread(Stream& stream);
  void evict(Stream& stream, uint64_t& counter);

  ConnectionContext& context_;
  StreamRegistry& registry_;
  ReaderOrder order_;
  uint64_t buffered_ = 0;
};

}  // namespace culvert::quic
