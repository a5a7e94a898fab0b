#include "quic/send_buffer.h"

#include <algorithm>

#include "base/check.h"

namespace culvert::quic {

void SendBuffer::append(ByteView data) {
  end_ += data.size();
  while (!data.empty()) {
    if (chunks_.size() == first_ || chunks_.back().size() == chunks_.back().capacity()) {
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
  size_t skip = static_cast<size_t>(sent_ - next_base_);
  size_t i = next_;
  for (; i < chunks_.size() && count < out.size(); ++i, skip = 0) {
    ByteView rest = ByteView(chunks_[i]).subspan(skip);
    if (!rest.empty()) out[count++] = rest;
  }
  all = i == chunks_.size();
  return count;
}

void SendBuffer::mark_sent(size_t count) {
  sent_ += count;
  CHECK(sent_ <= end_);
  // The last chunk may still grow: next_ stays on it.
  while (next_ + 1 < chunks_.size() && next_base_ + chunks_[next_].size() <= sent_) {
    next_base_ += chunks_[next_].size();
    ++next_;
  }
}

size_t SendBuffer::acknowledge(uint64_t offset) {
  CHECK(offset <= sent_);
  uint64_t before = base_;
  while (first_ < chunks_.size() && base_ + chunks_[first_].size() <= offset) {
    base_ += chunks_[first_].size();
    Bytes().swap(chunks_[first_]);
    ++first_;
  }
  if (next_ < first_) {
    next_ = first_;
    next_base_ = base_;
  }
  if (first_ == chunks_.size()) {
    std::vector<Bytes>().swap(chunks_);
    first_ = next_ = 0;
    next_base_ = base_;
  } else if (first_ > kDropFreed) {
    chunks_.erase(chunks_.begin(), chunks_.begin() + static_cast<std::ptrdiff_t>(first_));
    next_ -= first_;
    first_ = 0;
  }
  return static_cast<size_t>(base_ - before);
}

size_t SendBuffer::clear() {
  size_t freed = static_cast<size_t>(size());
  std::vector<Bytes>().swap(chunks_);
  first_ = next_ = 0;
  base_ = next_base_ = sent_ = end_;
  return freed;
}

}  // namespace culvert::quic
