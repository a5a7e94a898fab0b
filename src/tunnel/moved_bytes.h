#pragma once
#include <array>
#include <atomic>
#include <cstdint>

namespace culvert::tunnel {

// Bytes moved so far.
struct PumpCounters {
  uint64_t to_stream = 0;  // first bytes included
  uint64_t to_socket = 0;

  PumpCounters& operator+=(const PumpCounters& more) {
    to_stream += more.to_stream;
    to_socket += more.to_socket;
    return *this;
  }
};

// The same over pumps of one loop, also those that still run. Only the thread of that loop adds, so that
// an addition is a load and a store without a lock and no thread waits for another's cache line. Any thread
// may read.
class MovedBytes {
 public:
  // What a pump counts for: its loop and, where that is counted, whose connection it is. nullptr: nothing.
  using Several = std::array<MovedBytes*, 2>;

  void add_to_stream(uint64_t bytes) { add(to_stream_, bytes); }
  void add_to_socket(uint64_t bytes) { add(to_socket_, bytes); }
  PumpCounters get() const {
    return {.to_stream = to_stream_.load(std::memory_order_relaxed),
            .to_socket = to_socket_.load(std::memory_order_relaxed)};
  }

 private:
  using Count = std::atomic<uint64_t>;
  static void add(Count& count, uint64_t bytes) {
    count.store(count.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
  }

  Count to_stream_{0};
  Count to_socket_{0};
};

}  // namespace culvert::tunnel
