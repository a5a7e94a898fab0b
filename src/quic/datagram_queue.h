#pragma once
#include <deque>
#include <optional>
#include <utility>

#include "base/bytes.h"

namespace culvert::quic {

// Received datagrams that the application has not taken, bounded by their number and by their bytes: the
// oldest are dropped, because the newest are worth most to what uses datagrams.
class DatagramQueue {
 public:
  DatagramQueue(size_t max_count, size_t max_bytes) : max_count_(max_count), max_bytes_(max_bytes) {}

  // Returns how many were dropped: older ones, or this one where it alone is larger than the bound.
  size_t push(ByteView data) {
    if (max_count_ == 0 || data.size() > max_bytes_) return 1;
    size_t dropped = 0;
    while (queue_.size() >= max_count_ || bytes_ + data.size() > max_bytes_) {
      (void)pop();
      ++dropped;
    }
    bytes_ += data.size();
    queue_.push_back(to_bytes(data));
    return dropped;
  }

  std::optional<Bytes> pop() {
    if (queue_.empty()) return std::nullopt;
    Bytes datagram = std::move(queue_.front());
    queue_.pop_front();
    bytes_ -= datagram.size();
    return datagram;
  }

  size_t size() const { return queue_.size(); }
  size_t bytes() const { return bytes_; }

 private:
  const size_t max_count_;
  const size_t max_bytes_;
  std::deque<Bytes> queue_;
  size_t bytes_ = 0;
};

}  // namespace culvert::quic
