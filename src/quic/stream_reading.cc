#include "quic/stream_reading.h"

#include <algorithm>
#include <array>
#include <utility>

#include "quic/core.h"

namespace culvert::quic {
namespace {

// What the core charges for a stream of which it told nothing but that it was opened.
constexpr uint64_t kFirstFrame = 1500;
// The core (noq-proto 1.4) ends a connection with more than 2048 unread frames on one stream, and with more
// than 1024 if the packets that they came in were mostly about other things. A full window of full packets is
// 1900 frames.
constexpr uint64_t kMaxFrames = 1900;
constexpr uint64_t kMaxSmallFrames = 1000;
constexpr uint64_t kFullFrame = 1100;

bool are_too_many(uint64_t frames, uint64_t bytes) {
  return frames > kMaxFrames || (frames > kMaxSmallFrames && bytes < frames * kFullFrame);
}

}  // namespace

// ---- For streams

ByteView StreamReading::front(const Stream& stream) const {
  core::Slice front;
  core::cq_stream_front(context_.endpoint(), context_.core, stream.id_, &front);
  return {front.data, front.size};
}

size_t StreamReading::pieces(const Stream& stream, std::span<ByteView> out) const {
  std::array<core::Slice, 64> pieces;
  const size_t count = core::cq_stream_pieces(context_.endpoint(), context_.core, stream.id_, pieces.data(),
                                              std::min(out.size(), pieces.size()));
  for (size_t i = 0; i < count; ++i) out[i] = {pieces[i].data, pieces[i].size};
  return count;
}

void StreamReading::consume(Stream& stream, size_t count) {
  const auto self = stream.shared_from_this();
  fill(stream, count);
  order_.read(stream.receive_.turn, count, stream.receive_.buffered);
  if (stream.receive_.available > 0 || stream.receive_.done) registry_.mark_readable(stream);
  context_.mark_dirty();  // there may be credit for the peer
}

void StreamReading::stop(Stream& stream, AppCode code) {
  drop_unread(stream);
  core::cq_stream_stop(context_.endpoint(), context_.core, stream.id_, code);
  if (stream.receive_.done) return;
  stream.receive_.done = true;
  context_.mark_dirty();
  registry_.forget_if_done(stream);
}

void StreamReading::forget(Stream& stream) {
  if (stream.receive_.buffered > 0) core::cq_stream_forget(context_.endpoint(), context_.core, stream.id_);
  set_buffered(stream, 0);
}

// ---- From the peer

void StreamReading::on_opened(Stream& stream) {
  order_.catch_up(stream.receive_.turn, kFirstFrame);
  set_buffered(stream, kFirstFrame);
}

void StreamReading::accept(Stream& stream) {
  stream.receive_.accepted = true;
  if (!stream.receive_.done) fill(stream, 0);
}

void StreamReading::on_readable(Stream& stream, uint64_t buffered, uint64_t frames) {
  Stream::ReceivingHalf& half = stream.receive_;
  if (half.done) return;
  const bool was_empty = half.available == 0;
  if (was_empty) order_.catch_up(half.turn, 0);
  if (half.accepted) {
    fill(stream, 0);
  } else {
    set_buffered(stream, buffered);
  }
  if (are_too_many(frames, half.buffered - half.available) && !half.done) {
    // Small frames for a reader that is idle. Making room gives the peer credit, so that is not without end
    // either.
    if (half.accepted) {
      core::cq_stream_compact(context_.endpoint(), context_.core, stream.id_);
      fill(stream, 0);
    }
    if (!half.accepted || half.buffered > 2 * context_.limits().max_stream_window)
      return evict(stream, context_.shared.counters.evicted_small_frames);
  }
  if (was_empty) half.turn.backlog = half.buffered;
  registry_.mark_readable(stream);
}

// Tells the core what was consumed, and takes what it has.
void StreamReading::fill(Stream& stream, size_t consumed) {
  Stream::ReceivingHalf& half = stream.receive_;
  core::StreamState state;
  core::cq_stream_fill(context_.endpoint(), context_.core, stream.id_, consumed, &state);
  half.available = state.available;
  set_buffered(stream, state.held);
  if (half.done || state.end == core::StreamEnd::kOpen) return;
  half.done = true;
  half.fin = state.end == core::StreamEnd::kFinished;
  if (state.end == core::StreamEnd::kReset) {
    half.reset = true;
    half.reset_code = state.code;
  }
  registry_.forget_if_done(stream);
}

void StreamReading::keep_rest(Stream& stream) {
  Stream::ReceivingHalf& half = stream.receive_;
  if (half.accepted && !half.stopped) {
    std::array<core::Slice, 64> pieces;
    size_t consumed = 0;
    do {
      fill(stream, consumed);
      const size_t count = core::cq_stream_pieces(context_.endpoint(), context_.core, stream.id_,
                                                  pieces.data(), pieces.size());
      consumed = 0;
      for (const core::Slice& piece : std::span(pieces).first(count)) {
        half.rest.insert(half.rest.end(), piece.data, piece.data + piece.size);
        consumed += piece.size;
      }
    } while (consumed > 0);
  }
  half.available = half.buffered = half.rest.size();
}

// ---- Memory

void StreamReading::set_buffered(Stream& stream, uint64_t bytes) {
  const uint64_t before = std::exchange(stream.receive_.buffered, bytes);
  buffered_ = buffered_ - before + bytes;
  EndpointMemory& endpoint = context_.shared.memory;
  endpoint.received = endpoint.received - before + bytes;
  if (bytes <= before) return;
  const uint64_t most = std::min(context_.limits().max_connection_buffered, endpoint.max_received / 2);
  while (buffered_ > most && evict_stalled(context_.shared.counters.evicted_connection_full)) {
  }
  if (endpoint.received > endpoint.max_received) context_.shared.host.on_overload();
}

void StreamReading::drop_unread(Stream& stream) {
  set_buffered(stream, 0);
  stream.receive_.available = 0;
}

bool StreamReading::evict_stalled(uint64_t& counter) {
  Stream* longest = nullptr;
  for (Stream* stream : registry_.objects()) {
    if (stream->receive_.buffered == 0) continue;
    if (longest == nullptr || stream->receive_.turn.is_before(longest->receive_.turn)) longest = stream;
  }
  if (longest == nullptr) return false;
  evict(*longest, counter);
  return true;
}

void StreamReading::evict(Stream& stream, uint64_t& counter) {
  ++counter;
  drop_unread(stream);
  Stream::ReceivingHalf& half = stream.receive_;
  half.stopped = true;
  half.fin = false;
  half.reset = true;
  half.evicted = true;
  half.reset_code = context_.limits().overload_code;
  core::cq_stream_stop(context_.endpoint(), context_.core, stream.id_, context_.limits().overload_code);
  half.done = true;
  registry_.mark_readable(stream);  // keeps the stream until its observer is notified
  registry_.forget_if_done(stream);
  context_.mark_dirty();
}

void StreamReading::release() { context_.shared.memory.received -= std::exchange(buffered_, 0); }

}  // namespace culvert::quic
