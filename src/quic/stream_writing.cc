#include "quic/stream_writing.h"

#include <algorithm>
#include <utility>

#include "quic/core.h"

namespace culvert::quic {

// ---- For streams

// A share of what is left, so that it never runs out for the next stream.
size_t StreamWriting::room(const Stream& stream) const {
  constexpr uint64_t kLeast = 4 * 1024;
  constexpr uint64_t kShare = 64;
  if (!context_.is_open || stream.send_.done || !stream.send_.pending.empty()) return 0;
  const uint64_t limit = context_.limits().max_connection_pending;
  const uint64_t left = pending_ < limit ? limit - pending_ : 0;
  return static_cast<size_t>(std::clamp<uint64_t>(left / kShare, kLeast, Stream::kMaxPending));
}

void StreamWriting::write(Stream& stream, ByteView data) {
  give(stream, data);
  // The core took everything: there is room again once the caller has returned.
  if (stream.send_.wants_writable && stream.send_.pending.empty()) registry_.mark_writable(stream);
}

// What the core does not take is pending.
void StreamWriting::give(Stream& stream, ByteView data) {
  while (!data.empty()) {
    const size_t taken =
        core::cq_stream_write(context_.endpoint(), context_.core, stream.id_, data.data(), data.size());
    if (taken == core::kClosedForWriting) return stopped(stream);
    if (taken == 0) break;
    data = data.subspan(taken);
  }
  stream.send_.written_at = liveness_.wrote_data();
  context_.mark_dirty();
  if (data.empty()) return;
  stream.send_.pending = to_bytes(data);
  pending_ += data.size();
}

void StreamWriting::finish(Stream& stream) {
  if (!context_.is_open || stream.send_.done) return;
  if (stream.send_.pending.empty()) core::cq_stream_finish(context_.endpoint(), context_.core, stream.id_);
  (void)liveness_.wrote_data();
  context_.mark_dirty();
}

void StreamWriting::reset(Stream& stream, AppCode code) {
  if (!context_.is_open) return;
  drop_pending(stream);
  core::cq_stream_reset(context_.endpoint(), context_.core, stream.id_, code);
  stream.send_.done = true;
  (void)liveness_.wrote_data();
  std::erase_if(awaiting_answer_, [&](const auto& each) { return each.get() == &stream; });
  context_.mark_dirty();
  registry_.forget_if_done(stream);
}

void StreamWriting::notify_answered(Stream& stream) {
  if (!stream.send_.done) awaiting_answer_.push_back(stream.shared_from_this());
}

void StreamWriting::set_window(uint64_t bytes) {
  core::cq_connection_set_send_window(context_.endpoint(), context_.core, bytes);
}

// ---- From the peer

void StreamWriting::on_writable(Stream& stream) {
  Stream::SendingHalf& half = stream.send_;
  if (half.done) return;
  if (!half.pending.empty()) {
    const Bytes data = std::exchange(half.pending, {});
    pending_ -= data.size();
    give(stream, data);
    if (half.done || !half.pending.empty()) return;
    if (half.fin_wanted) core::cq_stream_finish(context_.endpoint(), context_.core, stream.id_);
  }
  if (half.wants_writable) registry_.mark_writable(stream);
}

void StreamWriting::on_finished(Stream& stream) {
  stream.send_.done = true;
  if (!stream.send_.stopped) {
    stream.send_.all_acknowledged = true;
    registry_.mark_writable(stream);
  }
  registry_.forget_if_done(stream);
}

void StreamWriting::on_stopped(Stream& stream, AppCode code) {
  if (stream.send_.done || (stream.send_.closed && !stream.send_.fin_wanted)) return;
  stream.send_.stop_code = code;
  stopped(stream);
}

// RFC 9000, 3.5: STOP_SENDING is answered with RESET_STREAM and its code.
void StreamWriting::stopped(Stream& stream) {
  stream.send_.stopped = true;
  stream.send_.closed = stream.send_.done = true;
  stream.send_.fin_wanted = false;
  drop_pending(stream);
  core::cq_stream_reset(context_.endpoint(), context_.core, stream.id_, stream.send_.stop_code);
  registry_.mark_writable(stream);
  context_.mark_dirty();
  registry_.forget_if_done(stream);
}

void StreamWriting::on_acknowledged() {
  std::erase_if(awaiting_answer_, [&](const std::shared_ptr<Stream>& stream) {
    if (!is_answered(*stream)) return false;
    registry_.mark_writable(*stream);
    return true;
  });
}

void StreamWriting::drop_pending(Stream& stream) {
  pending_ -= stream.send_.pending.size();
  Bytes().swap(stream.send_.pending);
}

void StreamWriting::release() {
  pending_ = 0;
  awaiting_answer_.clear();
}

}  // namespace culvert::quic
