#include "quic/stream.h"

#include <algorithm>

#include "base/check.h"
#include "quic/connection.h"

namespace culvert::quic {

Stream::~Stream() {
  if (connection_ != nullptr) connection_->stream_forgotten(*this);
}

ByteView Stream::readable() const {
  if (available_ == 0) return {};
  return connection_ == nullptr ? ByteView(rest_).last(available_) : connection_->stream_front(*this);
}

size_t Stream::readable(std::span<ByteView> out) const {
  if (available_ == 0 || out.empty()) return 0;
  if (connection_ != nullptr) return connection_->stream_pieces(*this, out);
  out[0] = readable();
  return 1;
}

void Stream::consume(size_t count) {
  CHECK(count <= available_);
  if (count == 0) return;
  if (connection_ != nullptr) return connection_->stream_consumed(*this, count);
  available_ -= count;
  held_ = available_;
}

size_t Stream::writable() {
  const size_t room = connection_ == nullptr || send_closed_ ? 0 : connection_->stream_room(*this);
  if (room == 0) wants_writable_ = true;
  return room;
}

size_t Stream::write(ByteView data) {
  const size_t taken = std::min(data.size(), writable());
  if (taken < data.size()) wants_writable_ = true;
  if (taken > 0) connection_->stream_write(*this, data.first(taken));
  // The connection took everything: there is room again once the caller has returned.
  if (wants_writable_ && pending_.empty() && taken > 0 && connection_ != nullptr)
    connection_->mark_writable(*this);
  return taken;
}

bool Stream::answered() const { return connection_ != nullptr && connection_->stream_answered(*this); }

void Stream::notify_answered() {
  if (connection_ != nullptr) connection_->stream_notify_answered(*this);
}

void Stream::finish() {
  if (connection_ == nullptr || send_closed_) return;
  send_closed_ = true;
  fin_wanted_ = true;
  connection_->stream_finish(*this);
}

void Stream::reset(AppCode code) {
  if (connection_ == nullptr || send_done_ || (send_closed_ && !fin_wanted_)) return;
  send_closed_ = true;
  fin_wanted_ = false;
  connection_->stream_reset(*this, code);
}

void Stream::stop(AppCode code) {
  if (receive_closed_) return;
  receive_closed_ = true;
  if (available_ > 0) fin_received_ = false;  // what is dropped was not read
  if (connection_ == nullptr) {
    available_ = held_ = 0;
    return;
  }
  connection_->stream_stop(*this, code);
}

}  // namespace culvert::quic
