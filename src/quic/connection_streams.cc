// The half of Connection that deals with streams and datagrams; packets, paths and states are in
// connection.cc.
#include <algorithm>
#include <array>

#include "base/check.h"
#include "quic/connection.h"
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

std::shared_ptr<Stream> Connection::add_stream(StreamId id) {
  std::shared_ptr<Stream> stream(new Stream(this, id));
  streams_.emplace(id, stream);
  known_.insert(stream.get());
  return stream;
}

std::shared_ptr<Stream> Connection::find_stream(StreamId id) {
  auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second;
}

void Connection::forget_if_done(Stream& stream) {
  if (stream.send_done_ && stream.receive_done_) streams_.erase(stream.id_);  // may destroy the stream
}

std::shared_ptr<Stream> Connection::open(bool unidirectional) {
  if (state_ != State::kOpen) return nullptr;
  const uint64_t id = core::cq_stream_open(shared_.core, core_, unidirectional);
  if (id == core::kNoStream) return nullptr;
  std::shared_ptr<Stream> stream = add_stream(id);
  stream->accepted_ = true;
  if (unidirectional) stream->receive_closed_ = stream->receive_done_ = true;
  return stream;
}

// The core grants the peer another stream when one is closed, and a stream that nobody accepted is not read
// and so not closed: what is pending here is bounded by the limit.
void Connection::accept_from_core(bool unidirectional) {
  uint64_t id;
  while ((id = core::cq_stream_accept(shared_.core, core_, unidirectional)) != core::kNoStream) {
    std::shared_ptr<Stream> stream = add_stream(id);
    if (unidirectional) stream->send_closed_ = stream->send_done_ = true;
    stream->caught_up_ = ++read_turns_;
    stream->backlog_ = kFirstFrame;
    set_held(*stream, kFirstFrame);
    (unidirectional ? incoming_uni_ : incoming_bidi_).push_back(std::move(stream));
  }
  notify_streams_ = true;
}

std::shared_ptr<Stream> Connection::accept(std::deque<std::shared_ptr<Stream>>& pending) {
  if (pending.empty()) return nullptr;
  std::shared_ptr<Stream> stream = std::move(pending.front());
  pending.pop_front();
  stream->accepted_ = true;
  if (!stream->receive_done_) fill(*stream, 0);
  return stream;
}

// ---- From the peer

void Connection::on_readable(Stream& stream, uint64_t held, uint64_t frames) {
  if (stream.receive_done_) return;
  const bool was_empty = stream.available_ == 0;
  if (was_empty) stream.caught_up_ = ++read_turns_;
  if (stream.accepted_) {
    fill(stream, 0);
  } else {
    set_held(stream, held);
  }
  if (are_too_many(frames, stream.held_ - stream.available_) && !stream.receive_done_) {
    // Small frames for a reader that is idle. Making room gives the peer credit, so that is not without end
    // either.
    if (stream.accepted_) {
      core::cq_stream_compact(shared_.core, core_, stream.id_);
      fill(stream, 0);
    }
    if (!stream.accepted_ || stream.held_ > 2 * shared_.limits.max_stream_window) return evict(stream);
  }
  if (was_empty) stream.backlog_ = stream.held_;
  mark_readable(stream);
}

// Tells the core what was consumed, and takes what it has.
void Connection::fill(Stream& stream, size_t consumed) {
  core::StreamState state;
  core::cq_stream_fill(shared_.core, core_, stream.id_, consumed, &state);
  stream.available_ = state.available;
  set_held(stream, state.held);
  if (stream.receive_done_ || state.end == core::StreamEnd::kOpen) return;
  stream.receive_done_ = true;
  stream.fin_received_ = state.end == core::StreamEnd::kFinished;
  if (state.end == core::StreamEnd::kReset) {
    stream.reset_received_ = true;
    stream.reset_code_ = state.code;
  }
  forget_if_done(stream);
}

// The connection is over: everything that arrived in order before that stays readable.
void Connection::keep_rest(Stream& stream) {
  if (stream.accepted_ && !stream.receive_closed_) {
    std::array<core::Slice, 64> pieces;
    size_t consumed = 0;
    do {
      fill(stream, consumed);
      const size_t count =
          core::cq_stream_pieces(shared_.core, core_, stream.id_, pieces.data(), pieces.size());
      consumed = 0;
      for (const core::Slice& piece : std::span(pieces).first(count)) {
        stream.rest_.insert(stream.rest_.end(), piece.data, piece.data + piece.size);
        consumed += piece.size;
      }
    } while (consumed > 0);
  }
  stream.available_ = stream.held_ = stream.rest_.size();
}

void Connection::on_finished(Stream& stream) {
  stream.send_done_ = true;
  if (!stream.stop_received_) {
    stream.all_acknowledged_ = true;
    mark_writable(stream);
  }
  forget_if_done(stream);
}

void Connection::on_stopped(Stream& stream, AppCode code) {
  if (stream.send_done_ || (stream.send_closed_ && !stream.fin_wanted_)) return;
  stream.stop_code_ = code;
  stopped_sending(stream);
}

// RFC 9000, 3.5: STOP_SENDING is answered with RESET_STREAM and its code.
void Connection::stopped_sending(Stream& stream) {
  stream.stop_received_ = true;
  stream.send_closed_ = stream.send_done_ = true;
  stream.fin_wanted_ = false;
  drop_pending(stream);
  core::cq_stream_reset(shared_.core, core_, stream.id_, stream.stop_code_);
  mark_writable(stream);
  mark_dirty();
  forget_if_done(stream);
}

void Connection::on_datagram(ByteView data) {
  const Limits& limits = shared_.limits;
  while (!datagrams_.empty() && (datagrams_.size() >= limits.max_queued_datagrams ||
                                 datagram_bytes_ + data.size() > limits.max_queued_datagram_bytes)) {
    datagram_bytes_ -= datagrams_.front().size();
    datagrams_.pop_front();
  }
  datagram_bytes_ += data.size();
  datagrams_.push_back(to_bytes(data));
  notify_datagrams_ = true;
}

// ---- Memory

void Connection::set_held(Stream& stream, uint64_t bytes) {
  const uint64_t before = std::exchange(stream.held_, bytes);
  buffered_ = buffered_ - before + bytes;
  shared_.buffered = shared_.buffered - before + bytes;
  if (bytes <= before) return;
  while (buffered_ > shared_.limits.max_connection_buffered && evict_stalled()) {
  }
  if (shared_.buffered > shared_.limits.max_endpoint_buffered) shared_.host.on_overload();
}

void Connection::drop_unread(Stream& stream) {
  set_held(stream, 0);
  stream.available_ = 0;
}

void Connection::drop_pending(Stream& stream) {
  pending_ -= stream.pending_.size();
  Bytes().swap(stream.pending_);
}

// Not the one that buffers most: that is often a fast download with a large window.
bool Connection::evict_stalled() {
  Stream* longest = nullptr;
  for (Stream* stream : known_) {
    if (stream->held_ == 0) continue;
    if (longest == nullptr || stream->caught_up_ < longest->caught_up_) longest = stream;
  }
  if (longest == nullptr) return false;
  evict(*longest);
  return true;
}

void Connection::evict(Stream& stream) {
  drop_unread(stream);
  stream.receive_closed_ = true;
  stream.fin_received_ = false;
  stream.reset_received_ = true;
  stream.evicted_ = true;
  stream.reset_code_ = shared_.limits.overload_code;
  core::cq_stream_stop(shared_.core, core_, stream.id_, shared_.limits.overload_code);
  stream.receive_done_ = true;
  mark_readable(stream);
  mark_dirty();
}

// ---- From Stream

ByteView Connection::stream_front(const Stream& stream) const {
  core::Slice front;
  core::cq_stream_front(shared_.core, core_, stream.id_, &front);
  return {front.data, front.size};
}

size_t Connection::stream_pieces(const Stream& stream, std::span<ByteView> out) const {
  std::array<core::Slice, 64> pieces;
  const size_t count = core::cq_stream_pieces(shared_.core, core_, stream.id_, pieces.data(),
                                              std::min(out.size(), pieces.size()));
  for (size_t i = 0; i < count; ++i) out[i] = {pieces[i].data, pieces[i].size};
  return count;
}

void Connection::stream_consumed(Stream& stream, size_t count) {
  const auto self = stream.shared_from_this();
  fill(stream, count);
  stream.backlog_ -= std::min<uint64_t>(count, stream.backlog_);
  if (stream.backlog_ == 0) {
    stream.caught_up_ = ++read_turns_;
    stream.backlog_ = stream.held_;
  }
  if (stream.available_ > 0 || stream.receive_done_) mark_readable(stream);
  mark_dirty();  // there may be credit for the peer
}

// A share of what is left, so that it never runs out for the next stream.
size_t Connection::stream_room(Stream& stream) {
  constexpr uint64_t kLeast = 4 * 1024;
  constexpr uint64_t kShare = 64;
  if (state_ != State::kOpen || stream.send_done_ || !stream.pending_.empty()) return 0;
  const uint64_t limit = shared_.limits.max_connection_pending;
  const uint64_t left = pending_ < limit ? limit - pending_ : 0;
  return static_cast<size_t>(std::clamp<uint64_t>(left / kShare, kLeast, Stream::kMaxPending));
}

void Connection::stream_write(Stream& stream, ByteView data) {
  while (!data.empty()) {
    const size_t taken = core::cq_stream_write(shared_.core, core_, stream.id_, data.data(), data.size());
    if (taken == core::kClosedForWriting) return stopped_sending(stream);
    if (taken == 0) break;
    data = data.subspan(taken);
  }
  data_written_ = stream.written_at_ = transmitted_at_;
  mark_dirty();
  if (data.empty()) return;
  stream.pending_ = to_bytes(data);
  pending_ += data.size();
}

void Connection::flush_pending(Stream& stream) {
  if (stream.send_done_) return;
  if (!stream.pending_.empty()) {
    const Bytes data = std::exchange(stream.pending_, {});
    pending_ -= data.size();
    stream_write(stream, data);
    if (stream.send_done_ || !stream.pending_.empty()) return;
    if (stream.fin_wanted_) core::cq_stream_finish(shared_.core, core_, stream.id_);
  }
  if (stream.wants_writable_) mark_writable(stream);
}

void Connection::stream_finish(Stream& stream) {
  if (!is_usable() || stream.send_done_) return;
  if (stream.pending_.empty()) core::cq_stream_finish(shared_.core, core_, stream.id_);
  data_written_ = transmitted_at_;
  mark_dirty();
}

void Connection::stream_reset(Stream& stream, AppCode code) {
  if (!is_usable()) return;
  drop_pending(stream);
  core::cq_stream_reset(shared_.core, core_, stream.id_, code);
  stream.send_done_ = true;
  data_written_ = transmitted_at_;
  std::erase_if(awaiting_answer_, [&](const auto& each) { return each.get() == &stream; });
  mark_dirty();
  forget_if_done(stream);
}

void Connection::stream_stop(Stream& stream, AppCode code) {
  drop_unread(stream);
  core::cq_stream_stop(shared_.core, core_, stream.id_, code);
  if (stream.receive_done_) return;
  stream.receive_done_ = true;
  mark_dirty();
  forget_if_done(stream);
}

void Connection::stream_forgotten(Stream& stream) {
  known_.erase(&stream);
  if (stream.held_ > 0) core::cq_stream_forget(shared_.core, core_, stream.id_);
  set_held(stream, 0);
  pending_ -= stream.pending_.size();
}

bool Connection::stream_answered(const Stream& stream) const { return acked_ > stream.written_at_; }

void Connection::stream_notify_answered(Stream& stream) {
  if (!stream.send_done_) awaiting_answer_.push_back(stream.shared_from_this());
}

// ---- Notifications

void Connection::mark_readable(Stream& stream) {
  stream.notify_readable_ = true;
  list(stream);
}

void Connection::mark_writable(Stream& stream) {
  stream.wants_writable_ = false;
  stream.notify_writable_ = true;
  list(stream);
}

void Connection::list(Stream& stream) {
  if (stream.listed_) return;
  stream.listed_ = true;
  notifications_.push_back(stream.shared_from_this());
}

// ---- Datagrams (RFC 9221)

size_t Connection::max_datagram_size() const {
  return state_ == State::kOpen ? core::cq_datagram_max_size(shared_.core, core_) : 0;
}

Result<> Connection::send_datagram(ByteView data) {
  if (state_ != State::kOpen) return fail(ErrorCode::kClosed, "the connection is not open");
  mark_dirty();
  switch (core::cq_datagram_send(shared_.core, core_, data.data(), data.size())) {
    case 0:
      return {};
    case 1:
      return fail(ErrorCode::kLimit, "a datagram of {} bytes is larger than the {} that fit", data.size(),
                  max_datagram_size());
    case 2:
      return fail(ErrorCode::kUnavailable, "the datagram queue is full");
    default:
      return fail(ErrorCode::kLimit, "the peer accepts no datagrams");
  }
}

std::optional<Bytes> Connection::receive_datagram() {
  if (datagrams_.empty()) return std::nullopt;
  Bytes datagram = std::move(datagrams_.front());
  datagrams_.pop_front();
  datagram_bytes_ -= datagram.size();
  return datagram;
}

}  // namespace culvert::quic
