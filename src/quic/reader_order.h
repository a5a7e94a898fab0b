#pragma once
#include <algorithm>
#include <cstdint>

namespace culvert::quic {

// How long one stream's reader has been idle.
struct ReaderTurn {
  // Sequence number of the last time that this reader caught up with all that was buffered at its previous
  // catch-up.
  uint64_t caught_up = 0;
  uint64_t backlog = 0;  // bytes of that backlog still unread

  bool is_before(const ReaderTurn& other) const { return caught_up < other.caught_up; }
};

// The order in which streams are evicted: first the one whose reader has been idle longest. Not the one that
// buffers most: that is often a fast download with a large window. A reader that takes byte by byte does not
// count as active: only having read the whole backlog does.
class ReaderOrder {
 public:
  // Everything was read, or nothing was there before: `buffered` bytes are the new backlog.
  void catch_up(ReaderTurn& reader, uint64_t buffered) {
    reader.caught_up = ++turns_;
    reader.backlog = buffered;
  }
  // `count` bytes were read; `buffered` are there now.
  void read(ReaderTurn& reader, uint64_t count, uint64_t buffered) {
    reader.backlog -= std::min(count, reader.backlog);
    if (reader.backlog == 0) catch_up(reader, buffered);
  }

 private:
  uint64_t turns_ = 0;
};

}  // namespace culvert::quic
