// The half of Connection that deals with streams and datagrams; packets and states are in connection.cc.
#include <algorithm>

#include "base/check.h"
#include "quic/connection.h"

namespace culvert::quic {

std::shared_ptr<Stream> Connection::add_stream(StreamId id) {
  FlowWindow window(shared_.limits.initial_stream_window, shared_.limits.max_stream_window);
  std::shared_ptr<Stream> stream(new Stream(this, id, window));
  streams_.emplace(id, stream);
  known_.insert(stream.get());
  return stream;
}

Stream* Connection::find_stream(StreamId id) {
  auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second.get();
}

std::shared_ptr<Stream> Connection::open_bidi() {
  StreamId id = -1;
  if (state_ != State::kOpen || ngtcp2_conn_open_bidi_stream(conn_, &id, nullptr) != 0) return nullptr;
  return add_stream(id);
}

std::shared_ptr<Stream> Connection::open_uni() {
  StreamId id = -1;
  if (state_ != State::kOpen || ngtcp2_conn_open_uni_stream(conn_, &id, nullptr) != 0) return nullptr;
  std::shared_ptr<Stream> stream = add_stream(id);
  stream->receive_closed_ = true;
  return stream;
}

std::shared_ptr<Stream> Connection::accept_bidi() { return accept(incoming_bidi_); }

std::shared_ptr<Stream> Connection::accept_uni() { return accept(incoming_uni_); }

std::shared_ptr<Stream> Connection::accept(std::deque<std::shared_ptr<Stream>>& waiting) {
  if (waiting.empty()) return nullptr;
  std::shared_ptr<Stream> stream = std::move(waiting.front());
  waiting.pop_front();
  stream->accepted_ = true;
  if (stream->gone_) allow_another(*stream);
  return stream;
}

// The peer's limit rises only when a stream of its is both closed and accepted: what waits here is bounded by
// it.
void Connection::allow_another(const Stream& stream) {
  if (state_ != State::kOpen && state_ != State::kHandshaking) return;
  if (stream.is_bidirectional()) {
    ngtcp2_conn_extend_max_streams_bidi(conn_, 1);
  } else {
    ngtcp2_conn_extend_max_streams_uni(conn_, 1);
  }
  mark_dirty();
}

// ---- From the peer

void Connection::on_stream_opened(StreamId id) {
  std::shared_ptr<Stream> stream = add_stream(id);
  if (!stream->is_bidirectional()) stream->send_closed_ = true;
  // Bounded by the stream limits that we granted.
  (stream->is_bidirectional() ? incoming_bidi_ : incoming_uni_).push_back(std::move(stream));
  announce_streams_ = true;
}

void Connection::on_stream_data(Stream& stream, ByteView data, bool fin) {
  ngtcp2_conn_info info;
  ngtcp2_conn_get_conn_info(conn_, &info);
  Duration round_trip(static_cast<int64_t>(info.smoothed_rtt));
  ngtcp2_conn_extend_max_offset(
      conn_, data.size() + window_.consumed(data.size(), now_, round_trip, shared_.budget));
  if (stream.receive_closed_) return;
  // Bounded by the stream's window: its credit goes out only for what consume() took. Moving the rest to the
  // front only when it is the smaller part keeps the cost of a slow reader proportional to what it reads.
  if (stream.consumed_ > stream.received_.size() / 2) {
    stream.received_.erase(stream.received_.begin(),
                           stream.received_.begin() + static_cast<std::ptrdiff_t>(stream.consumed_));
    stream.consumed_ = 0;
  }
  if (stream.readable().empty()) {
    stream.stalled_since_ = ++read_turns_;
    stream.unread_then_ = data.size();
  }
  stream.received_.insert(stream.received_.end(), data.begin(), data.end());
  stream.fin_received_ |= fin;
  mark_readable(stream);
  hold(data.size());
}

void Connection::hold(size_t count) {
  held_ += count;
  shared_.held += count;
  while (held_ > shared_.limits.max_connection_held && give_up_stalled()) {
  }
  if (shared_.held > shared_.limits.max_endpoint_held) shared_.host.on_overload();
}

void Connection::unhold(size_t count) {
  held_ -= count;
  shared_.held -= count;
}

// Not the one that holds most: that is often a fast download with a grown window.
bool Connection::give_up_stalled() {
  Stream* longest = nullptr;
  for (Stream* stream : known_) {
    if (stream->readable().empty()) continue;
    if (longest == nullptr || stream->stalled_since_ < longest->stalled_since_) longest = stream;
  }
  if (longest == nullptr) return false;
  Stream& stream = *longest;
  unhold(stream.readable().size());
  Bytes().swap(stream.received_);
  stream.consumed_ = 0;
  stream.receive_closed_ = true;
  stream.fin_received_ = false;
  stream.reset_received_ = true;
  stream.given_up_ = true;
  stream.reset_code_ = shared_.limits.overload_code;
  if (!stream.gone_) ngtcp2_conn_shutdown_stream_read(conn_, 0, stream.id_, shared_.limits.overload_code);
  mark_readable(stream);
  mark_dirty();
  return true;
}

void Connection::on_stream_acknowledged(Stream& stream, uint64_t up_to) {
  send_memory_ -= stream.send_.acknowledge(up_to);
  if (stream.wants_writable_ && stream_room(stream) > 0) mark_writable(stream);
}

void Connection::on_stream_reset(Stream& stream, AppCode code) {
  stream.reset_received_ = true;
  stream.reset_code_ = code;
  if (!stream.receive_closed_) mark_readable(stream);
}

void Connection::on_stop_sending(Stream& stream, AppCode code) {
  // ngtcp2 answers with RESET_STREAM itself (RFC 9000, 3.5).
  stream.stop_received_ = true;
  stream.stop_code_ = code;
  stream.send_closed_ = true;
  stream.fin_wanted_ = false;
  mark_writable(stream);
}

void Connection::on_stream_closed(Stream& stream, AppCode code) {
  // ngtcp2 does not say when STOP_SENDING arrives. A stream that closes before all of it was taken, and that
  // we did not reset, was stopped.
  const bool can_send = stream.is_bidirectional() || ngtcp2_conn_is_local_stream(conn_, stream.id_) != 0;
  const bool reset_here = stream.send_closed_ && !stream.fin_wanted_;
  const bool complete = stream.fin_sent_ && stream.send_.empty();
  if (can_send && !reset_here && !complete) on_stop_sending(stream, code);
  stream.gone_ = true;
  stream.all_acknowledged_ = stream.fin_sent_ && stream.fin_wanted_ && !stream.stop_received_;
  send_memory_ -= stream.send_.clear();
  if (stream.queued_) {
    std::erase(send_queue_, &stream);
    stream.queued_ = false;
  }
  stream.window_.release(shared_.budget);
  if (stream.all_acknowledged_) mark_writable(stream);
  if (stream.accepted_ && ngtcp2_conn_is_local_stream(conn_, stream.id_) == 0) allow_another(stream);
  streams_.erase(stream.id_);  // may destroy the stream: last
}

void Connection::on_datagram(ByteView data) {
  const Limits& limits = shared_.limits;
  while (!datagrams_in_.empty() && (datagrams_in_.size() >= limits.max_queued_datagrams ||
                                    datagram_bytes_in_ + data.size() > limits.max_queued_datagram_bytes)) {
    datagram_bytes_in_ -= datagrams_in_.front().size();
    datagrams_in_.pop_front();
  }
  datagram_bytes_in_ += data.size();
  datagrams_in_.push_back(to_bytes(data));
  announce_datagrams_ = true;
}

// ---- From Stream

void Connection::stream_consumed(Stream& stream, size_t count) {
  unhold(count);
  stream.unread_then_ -= std::min(count, stream.unread_then_);
  if (stream.unread_then_ == 0) {
    stream.stalled_since_ = ++read_turns_;
    stream.unread_then_ = stream.readable().size();
  }
  if (state_ != State::kOpen || stream.gone_) return;
  ngtcp2_conn_info info;
  ngtcp2_conn_get_conn_info(conn_, &info);
  Duration round_trip(static_cast<int64_t>(info.smoothed_rtt));
  uint64_t growth = stream.window_.consumed(count, now_, round_trip, shared_.budget);
  ngtcp2_conn_extend_max_stream_offset(conn_, stream.id_, count + growth);
  mark_dirty();
}

// A share of what is left, so that it never runs out for whoever comes next.
uint64_t Connection::unsent_cap() const {
  constexpr uint64_t kLeast = 4 * 1024;
  constexpr uint64_t kShare = 64;
  uint64_t limit = shared_.limits.max_send_memory;
  uint64_t left = send_memory_ < limit ? limit - send_memory_ : 0;
  return std::clamp<uint64_t>(left / kShare, kLeast, Stream::kMaxUnsent);
}

size_t Connection::stream_room(Stream& stream) {
  if (state_ != State::kOpen || stream.gone_) return 0;
  uint64_t unsent = stream.send_.unsent_size();
  uint64_t cap = unsent_cap();
  return unsent >= cap ? 0 : static_cast<size_t>(cap - unsent);
}

void Connection::stream_wrote(Stream& stream, size_t count) {
  send_memory_ += count;
  queue(stream);
}

void Connection::stream_finished(Stream& stream) { queue(stream); }

void Connection::stream_reset(Stream& stream, AppCode code) {
  if (stream.gone_ || (state_ != State::kOpen && state_ != State::kHandshaking)) return;
  // The written bytes stay until QUIC lets go of the stream: it may hold pointers into them.
  ngtcp2_conn_shutdown_stream_write(conn_, 0, stream.id_, code);
  mark_dirty();
}

void Connection::stream_stopped(Stream& stream, AppCode code) {
  if (stream.gone_ || (state_ != State::kOpen && state_ != State::kHandshaking)) return;
  ngtcp2_conn_shutdown_stream_read(conn_, 0, stream.id_, code);
  mark_dirty();
}

void Connection::stream_forgotten(Stream& stream) {
  known_.erase(&stream);
  stream.window_.release(shared_.budget);
  unhold(stream.readable().size());
}

void Connection::queue(Stream& stream) {
  if (stream.queued_ || stream.gone_) return;
  if (stream.send_.unsent_size() == 0 && (!stream.fin_wanted_ || stream.fin_sent_)) return;
  stream.queued_ = true;
  send_queue_.push_back(&stream);
  mark_dirty();
}

// ---- Announcements

void Connection::mark_readable(Stream& stream) {
  stream.announce_readable_ = true;
  list_for_announcement(stream);
}

void Connection::mark_writable(Stream& stream) {
  stream.wants_writable_ = false;
  stream.announce_writable_ = true;
  list_for_announcement(stream);
}

void Connection::list_for_announcement(Stream& stream) {
  if (stream.announced_) return;
  stream.announced_ = true;
  announcements_.push_back(stream.shared_from_this());
}

// ---- Datagrams (RFC 9221)

size_t Connection::max_datagram_size() const {
  if (state_ != State::kOpen) return 0;
  const ngtcp2_transport_params* remote = ngtcp2_conn_get_remote_transport_params(conn_);
  uint64_t frame = remote == nullptr ? 0 : remote->max_datagram_frame_size;
  if (frame <= 3) return 0;  // the frame's own type and length
  size_t path = ngtcp2_conn_get_path_max_tx_udp_payload_size(conn_) - kDatagramOverhead;
  return std::min<size_t>(path, frame - 3);
}

Result<> Connection::send_datagram(ByteView data) {
  if (state_ != State::kOpen) return fail(ErrorCode::kClosed, "the connection is not open");
  if (data.size() > max_datagram_size()) {
    return fail(ErrorCode::kLimit, "a datagram of {} bytes is larger than the {} that fit", data.size(),
                max_datagram_size());
  }
  if (datagrams_out_.size() >= shared_.limits.max_queued_datagrams) {
    return fail(ErrorCode::kUnavailable, "{} datagrams wait already", datagrams_out_.size());
  }
  datagrams_out_.push_back(to_bytes(data));
  mark_dirty();
  return {};
}

std::optional<Bytes> Connection::receive_datagram() {
  if (datagrams_in_.empty()) return std::nullopt;
  Bytes datagram = std::move(datagrams_in_.front());
  datagrams_in_.pop_front();
  datagram_bytes_in_ -= datagram.size();
  return datagram;
}

void Connection::close(AppCode code, std::string reason) {
  if (state_ != State::kHandshaking && state_ != State::kOpen) return;
  ngtcp2_ccerr error;
  ngtcp2_ccerr_set_application_error(&error, code, reinterpret_cast<const uint8_t*>(reason.data()),
                                     reason.size());
  enter_closing(error, {CloseReason::Kind::kLocal, code, reason}, now_);
}

}  // namespace culvert::quic
