#include "quic/stream.h"

#include <algorithm>

#include "base/check.h"
#include "quic/connection.h"

namespace culvert::quic {

Stream::~Stream() {
  if (connection_ != nullptr) connection_->stream_forgotten(*this);
}

void Stream::consume(size_t count) {
  CHECK(count <= readable().size());
  consumed_ += count;
  if (consumed_ == received_.size()) {
    Bytes().swap(received_);  // an idle stream holds no buffer
    consumed_ = 0;
  }
  if (connection_ != nullptr && count > 0) connection_->stream_consumed(*this, count);
}

size_t Stream::writable() {
  size_t room = connection_ == nullptr || send_closed_ ? 0 : connection_->stream_room(*this);
  if (room == 0) wants_writable_ = true;
  return room;
}

size_t Stream::write(ByteView data) {
  size_t taken = std::min(data.size(), writable());
  if (taken < data.size()) wants_writable_ = true;
  if (taken == 0) return 0;
  send_.append(data.first(taken));
  connection_->stream_wrote(*this, taken);
  return taken;
}

void Stream::finish() {
  if (connection_ == nullptr || send_closed_) return;
  send_closed_ = true;
  fin_wanted_ = true;
  connection_->stream_finished(*this);
}

void Stream::reset(AppCode code) {
  if (connection_ == nullptr || all_acknowledged_ || stop_received_ || (send_closed_ && !fin_wanted_)) return;
  send_closed_ = true;
  fin_wanted_ = false;
  connection_->stream_reset(*this, code);
}

void Stream::stop(AppCode code) {
  if (receive_closed_) return;
  receive_closed_ = true;
  consume(readable().size());
  if (connection_ != nullptr && !fin_received_ && !reset_received_) connection_->stream_stopped(*this, code);
}

}  // namespace culvert::quic
