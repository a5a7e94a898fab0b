#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"

namespace culvert::quic {

// Bytes of one stream from write to acknowledgement, in chunks that never move: QUIC may ask for any
// unacknowledged part again. Offsets count from the start of the stream.
class SendBuffer {
 public:
  void append(ByteView data);
  // Up to `out.size()` spans of unsent bytes; returns how many. `all` is set when they reach the end.
  size_t unsent(std::span<ByteView> out, bool& all) const;
  void mark_sent(size_t count);
  // Everything below `offset` is acknowledged. Returns the number of bytes freed.
  size_t acknowledge(uint64_t offset);
  // Drops everything, sent or not (after a reset). Returns the number of bytes freed.
  size_t clear();

  uint64_t unsent_size() const { return end_ - sent_; }
  uint64_t size() const { return end_ - base_; }  // unacknowledged
  bool empty() const { return end_ == base_; }

 private:
  // A chunk's storage is reserved once, so its bytes stay where they are; small writes share one.
  static constexpr size_t kMinChunk = 1024;
  static constexpr size_t kMaxChunk = 32 * 1024;
  static constexpr size_t kDropFreed = 64;  // freed places at the front before the list is moved up

  std::vector<Bytes> chunks_;
  size_t first_ = 0;        // index of the first chunk still needed
  uint64_t base_ = 0;       // stream offset of chunks_[first_]
  size_t next_ = 0;         // index of the chunk that holds sent_
  uint64_t next_base_ = 0;  // stream offset of chunks_[next_]
  uint64_t sent_ = 0;
  uint64_t end_ = 0;
};

}  // namespace culvert::quic
