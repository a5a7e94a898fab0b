#pragma once
#include <optional>

#include "base/bytes.h"
#include "base/result.h"

// Messages over TCP: each has two bytes of length in front (RFC 1035, 4.2.2). No I/O.
namespace culvert::dns {

// Appends the message with its length.
void append_framed(ByteView message, Bytes& out);

// Takes bytes as they come, and gives the messages in them.
class FrameReader {
 public:
  // Messages that are longer are refused. It keeps one of them, and what was fed behind it.
  explicit FrameReader(size_t max_size) : max_size_(max_size) {}

  void feed(ByteView bytes) { buffer_.insert(buffer_.end(), bytes.begin(), bytes.end()); }
  // nullopt: more bytes are needed. kLimit: longer than any that is accepted; kInvalid: shorter than a
  // header.
  Result<std::optional<Bytes>> next();
  // No message has begun.
  bool is_empty() const { return buffer_.empty(); }

 private:
  const size_t max_size_;
  Bytes buffer_;
};

}  // namespace culvert::dns
