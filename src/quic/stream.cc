#include "quic/stream.h"

#include <algorithm>

#include "base/check.h"
#include "quic/stream_set.h"

namespace culvert::quic {

Stream::~Stream() {
  if (set_ != nullptr) set_->forget(*this);
}

ByteView Stream::readable() const {
  if (receive_.available == 0) return {};
  return set_ == nullptr ? ByteView(receive_.rest).last(receive_.available) : set_->reading().front(*this);
}

size_t Stream::readable(std::span<ByteView> out) const {
  if (receive_.available == 0 || out.empty()) return 0;
  if (set_ != nullptr) return set_->reading().pieces(*this, out);
  out[0] = readable();
  return 1;
}

void Stream::consume(size_t count) {
  CHECK(count <= receive_.available);
  if (count == 0) return;
  if (set_ != nullptr) return set_->reading().consume(*this, count);
  receive_.available -= count;
  receive_.buffered = receive_.available;
}

size_t Stream::writable() {
  const size_t room = set_ == nullptr || send_.closed ? 0 : set_->writing().room(*this);
  if (room == 0) send_.wants_writable = true;
  return room;
}

size_t Stream::write(ByteView data) {
  const size_t taken = std::min(data.size(), writable());
  if (taken < data.size()) send_.wants_writable = true;
  if (taken > 0) set_->writing().write(*this, data.first(taken));
  return taken;
}

bool Stream::answered() const { return set_ != nullptr && set_->writing().is_answered(*this); }

void Stream::notify_answered() {
  if (set_ != nullptr) set_->writing().notify_answered(*this);
}

void Stream::finish() {
  if (set_ == nullptr || send_.closed) return;
  send_.closed = true;
  send_.fin_wanted = true;
  set_->writing().finish(*this);
}

void Stream::reset(AppCode code) {
  if (set_ == nullptr || send_.done || (send_.closed && !send_.fin_wanted)) return;
  send_.closed = true;
  send_.fin_wanted = false;
  set_->writing().reset(*this, code);
}

void Stream::stop(AppCode code) {
  if (receive_.stopped) return;
  receive_.stopped = true;
  if (receive_.available > 0) receive_.fin = false;  // what is dropped was not read
  if (set_ == nullptr) {
    receive_.available = receive_.buffered = 0;
    return;
  }
  set_->reading().stop(*this, code);
}

}  // namespace culvert::quic
