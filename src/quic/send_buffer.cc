#include "quic/send_buffer.h"

#include <algorithm>

#include "base/check.h"

namespace culvert::quic {

void SendBuffer::append(ByteView data) {
  end_ += data.size();
  while (!data.empty()) {
    if (chunks_.size() == first_ || chunks_.back().size() == chunks_.back().capacity()) {
      if (first_ > 0 && first_ == chunks_.size()) {
        chunks_.clear();
        first_ = 0;
      }
      chunks_.emplace_back().reserve(std::clamp<size_t>(data.size(), kMinChunk, kMaxChunk));
    }
    Bytes& chunk = chunks_.back();
    size_t room = std::min(data.size(), chunk.capacity() - chunk.size());
    chunk.insert(chunk.end(), data.begin(), data.begin() + static_cast<std::ptrdiff_t>(room));
    data = data.subspan(room);
  }
}

size_t SendBuffer::unsent(std::span<ByteView> out, bool& all) const {
  size_t count = 0;
  uint64_t offset = base_;
  all = true;
  for (size_t i = first_; i < chunks_.size(); ++i) {
    ByteView chunk = chunks_[i];
    if (offset + chunk.size() > sent_) {
      if (count == out.size()) {
        all = false;
        break;
      }
      size_t skip = sent_ > offset ? static_cast<size_t>(sent_ - offset) : 0;
      out[count++] = chunk.subspan(skip);
    }
    offset += chunk.size();
  }
  return count;
}

size_t SendBuffer::acknowledge(uint64_t offset) {
  CHECK(offset <= sent_);
  uint64_t before = base_;
  // A chunk that may still grow stays, unless everything in it was written and acknowledged.
  while (first_ < chunks_.size() && base_ + chunks_[first_].size() <= offset) {
    base_ += chunks_[first_].size();
    Bytes().swap(chunks_[first_]);
    ++first_;
  }
  if (first_ == chunks_.size()) {
    std::vector<Bytes>().swap(chunks_);
    first_ = 0;
  } else if (first_ > 64) {
    chunks_.erase(chunks_.begin(), chunks_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
  return static_cast<size_t>(base_ - before);
}

size_t SendBuffer::clear() {
  size_t freed = static_cast<size_t>(size());
  std::vector<Bytes>().swap(chunks_);
  first_ = 0;
  base_ = sent_ = end_;
  return freed;
}

}  // namespace culvert::quic
