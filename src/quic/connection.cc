#include "quic/connection.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "quic/core.h"

namespace culvert::quic {
namespace {

// Linux takes just under 64 KiB in one UDP_SEGMENT send.
constexpr size_t kMaxBatchBytes = 65'000;
// Batches that one connection sends before the others get their turn.
constexpr int kMaxBatches = 4;
// Events that are copied out of the core at once.
constexpr size_t kEvents = 32;

// A peer that goes on sending but acknowledges nothing has lost the way to us, or waits for a validation of
// our address that failed and that the core (noq-proto 1.4) does not repeat. A client that sees no
// acknowledgement for this long, or several round trips, opens a new path; after a change of the network it
// need not wait for a keep-alive first.
constexpr Duration kNoProgress = std::chrono::seconds(3);
constexpr int kNoProgressRoundTrips = 8;

// RFC 9001, 4.8: CRYPTO_ERROR codes are 0x100 plus the TLS alert.
constexpr uint64_t kCryptoError = 0x100;
constexpr uint64_t kCryptoErrorEnd = 0x200;

CloseReason::Kind kind_of(core::CloseKind kind, uint64_t code, bool handshaking) {
  using Kind = CloseReason::Kind;
  const bool is_crypto = code >= kCryptoError && code < kCryptoErrorEnd;
  switch (kind) {
    case core::CloseKind::kLocalTransport:
      return is_crypto || handshaking ? Kind::kHandshake : Kind::kTransport;
    case core::CloseKind::kPeerTransport:
      return is_crypto ? Kind::kHandshake : Kind::kTransport;
    case core::CloseKind::kPeerApplication:
      return Kind::kApplication;
    case core::CloseKind::kIdle:
      return Kind::kIdleTimeout;
    case core::CloseKind::kReset:
      return Kind::kStatelessReset;
    case core::CloseKind::kVersion:
      return Kind::kHandshake;
    case core::CloseKind::kInternal:
      return Kind::kTransport;
  }
  return Kind::kTransport;
}

}  // namespace

Connection::Connection(Shared shared, core::Connection* core, bool is_server, bool address_validated,
                       std::optional<EndpointId> peer, std::string alpn, TimePoint now)
    : shared_(shared),
      core_(core),
      is_server_(is_server),
      came_with_token_(address_validated),
      remote_id_(peer),
      alpn_(std::move(alpn)),
      now_(now),
      started_(now),
      last_heard_(now) {
  core::cq_connection_set_user(core_, this);
}

Connection::~Connection() {
  for (Stream* stream : known_) stream->connection_ = nullptr;
  shared_.buffered -= buffered_;
  core::cq_connection_free(shared_.core, core_);
}

// ---- Events

void Connection::received(TimePoint now) {
  now_ = now;
  received_ = true;
  mark_dirty();
}

void Connection::collect() {
  std::array<core::Event, kEvents> events;
  size_t count;
  do {
    count =
        core::cq_connection_events(shared_.core, core_, core::to_core(now_), events.data(), events.size());
    for (size_t i = 0; i < count; ++i) take(events[i]);
  } while (count == events.size());
  if (std::exchange(received_, false)) on_datagrams_received();
}

void Connection::on_datagrams_received() {
  core::Liveness seen;
  core::cq_connection_liveness(shared_.core, core_, &seen);
  last_heard_ = std::max(last_heard_, core::from_core(seen.heard));
  acked_ = core::from_core(seen.acked);
  std::erase_if(awaiting_answer_, [&](const std::shared_ptr<Stream>& stream) {
    if (!stream_answered(*stream)) return false;
    mark_writable(*stream);
    return true;
  });
}

void Connection::take(const core::Event& event) {
  using enum core::EventKind;
  switch (event.kind) {
    case kConnected:
      return on_connected();
    case kLost:
      return on_lost();
    case kOpened:
      return accept_from_core(event.id != 0);
    case kReadable:
      if (auto stream = find_stream(event.id)) on_readable(*stream, event.value, event.code);
      return;
    case kWritable:
      if (auto stream = find_stream(event.id)) flush_pending(*stream);
      return;
    case kFinished:
      if (auto stream = find_stream(event.id)) on_finished(*stream);
      return;
    case kStopped:
      if (auto stream = find_stream(event.id)) on_stopped(*stream, event.code);
      return;
    case kAvailable:
      notify_streams_ = true;
      return;
    case kDatagramReceived: {
      thread_local std::array<uint8_t, 65536> datagram;
      size_t size;
      while ((size = core::cq_datagram_receive(shared_.core, core_, datagram.data(), datagram.size())) !=
             core::kNoDatagram) {
        on_datagram({datagram.data(), size});
      }
      return;
    }
    case kDatagramsUnblocked:
    case kPathDiscarded:
      return;
    case kPathEstablished:
    case kPathAbandoned:
    case kPathRemoteStatus:
    case kObservedAddress:
    case kRemoteCandidateAdded:
    case kRemoteCandidateRemoved:
      return on_path_event(event);
  }
}

void Connection::on_connected() {
  if (state_ != State::kHandshaking) return;
  std::array<uint8_t, PublicKey::kSize> key;
  if (core::cq_connection_peer_key(core_, key.data())) {
    Result<PublicKey> verified = PublicKey::from_bytes(key);
    CHECK(verified.has_value());  // the verifier asked the same
    remote_id_ = *verified;
  }
  std::array<char, 255> alpn;
  alpn_ = std::string(
      alpn.data(),
      core::cq_connection_alpn(shared_.core, core_, reinterpret_cast<uint8_t*>(alpn.data()), alpn.size()));
  state_ = State::kOpen;
  notify_connected_ = true;
  if (is_server_) return;
  acked_at_ = now_;
  patience_ = 2 * shared_.limits.keep_alive + kNoProgress;
  next_look_ = now_ + patience_;
}

void Connection::on_lost() {
  core::CloseKind kind{};
  uint64_t code = 0;
  std::array<char, 1024> text;
  const size_t size = core::cq_connection_close_reason(core_, &kind, &code,
                                                       reinterpret_cast<uint8_t*>(text.data()), text.size());
  std::string message(text.data(), size);
  if (kind == core::CloseKind::kInternal)
    message = "an internal error ended the connection";  // the engine logs it
  ended({kind_of(kind, code, state_ == State::kHandshaking), code, std::move(message)});
}

void Connection::ended(CloseReason reason) {
  if (!is_usable()) return;
  state_ = State::kClosing;
  closed_at_ = now_;
  close_reason_ = std::move(reason);
  notify_closed_ = true;
  mark_dirty();
}

void Connection::on_path_event(const core::Event& event) {
  using enum core::EventKind;
  PathEvent out{PathEvent::Kind::kEstablished, event.path, event.code == 1, core::from_core(event.address)};
  switch (event.kind) {
    case kPathEstablished:
      break;
    case kPathAbandoned:
      out.kind = PathEvent::Kind::kAbandoned;
      break;
    case kPathRemoteStatus:
      out.kind = PathEvent::Kind::kRemoteStatus;
      break;
    case kObservedAddress:
      out.kind = PathEvent::Kind::kObservedAddress;
      break;
    case kRemoteCandidateAdded:
      out.kind = PathEvent::Kind::kRemoteCandidateAdded;
      break;
    case kRemoteCandidateRemoved:
      out.kind = PathEvent::Kind::kRemoteCandidateRemoved;
      break;
    default:
      return;
  }
  // Bounded by the peer's packets of one batch: dispatch() empties it. Also before there is an observer: what
  // came with the end of a handshake is for the observer that accepts the connection.
  paths_.push_back(out);
}

// ---- Packets out

bool Connection::write(TimePoint now, BatchSink& sink) {
  now_ = now;
  if (!unsent_.empty()) {
    unsent_batch_.data = unsent_;
    if (!sink.send(unsent_batch_)) return false;
    Bytes().swap(unsent_);
  }
  const size_t max_segments = std::max<size_t>(1, kMaxBatchBytes / shared_.limits.max_udp_payload);
  for (int batches = 0; state_ != State::kDead; ++batches) {
    core::Transmit out;
    core::cq_connection_transmit(shared_.core, core_, core::to_core(now), max_segments, &out);
    if (out.size == 0) break;
    transmitted_at_ = now;
    net::DatagramBatch batch{.data = {out.data, out.size},
                             .segment_size = out.segment_size,
                             .remote = core::from_core(out.remote),
                             .local = core::from_core(out.local),
                             .ecn = static_cast<uint8_t>(out.ecn)};
    if (!sink.send(batch)) {
      unsent_ = to_bytes(batch.data);
      unsent_batch_ = batch;
      return false;
    }
    if (batches == kMaxBatches) {
      mark_dirty();
      break;
    }
  }
  return true;
}

// ---- Time

void Connection::on_deadline(TimePoint now) {
  now_ = now;
  mark_dirty();
  if (state_ == State::kHandshaking && now >= started_ + shared_.limits.handshake_timeout) {
    ended({CloseReason::Kind::kHandshake, 0, "the handshake did not complete in time"});
    state_ = State::kDead;
    return;
  }
  if (state_ == State::kClosing && now >= closed_at_ + shared_.limits.idle_timeout) {
    state_ = State::kDead;
    return;
  }
  if (state_ == State::kOpen && now >= next_look_) check_progress(now);
  if (watches_silence() && now >= silence_.next_look()) watch_silence(now);
  core::cq_connection_timeout(shared_.core, core_, core::to_core(now));
}

void Connection::check_progress(TimePoint now) {
  const uint64_t acks = core::cq_connection_acks(shared_.core, core_);
  if (acks != acks_) {
    acks_ = acks;
    acked_at_ = now;
    patience_ = 2 * shared_.limits.keep_alive + kNoProgress;
  }
  const Duration patience = std::max(patience_, kNoProgressRoundTrips * path_stats().smoothed_rtt);
  if (now - acked_at_ >= patience) {
    // A new path begins the core's idle timeout again: not so many of them that silence is noticed late.
    if (now - last_heard_ < shared_.limits.idle_timeout / 2)
      core::cq_connection_network_changed(shared_.core, core_, core::to_core(now), false);
    acked_at_ = now;
  }
  next_look_ = acked_at_ + patience;
  // An acknowledgement since then is noticed by the next look, so each comes after half of the time.
  next_look_ = now + (next_look_ - now) / 2 + std::chrono::milliseconds(1);
}

void Connection::watch_silence(TimePoint now) {
  core::Liveness seen;
  core::cq_connection_liveness(shared_.core, core_, &seen);
  std::optional<TimePoint> waiting_since;
  if (seen.waiting != UINT64_MAX) waiting_since = core::from_core(seen.waiting);
  const bool owed = data_written_ && core::from_core(seen.acked) <= *data_written_;
  const bool can_send = unsent_.empty();
  const auto pto = Duration(static_cast<int64_t>(seen.pto));
  if (!silence_.look({owed, waiting_since, pto, can_send}, now)) return;
  core::cq_connection_ping(shared_.core, core_);
  mark_dirty();
}

Duration Connection::probe_timeout() const {
  core::Liveness seen;
  core::cq_connection_liveness(shared_.core, core_, &seen);
  return Duration(static_cast<int64_t>(seen.pto));
}

void Connection::refresh() {
  if (watches_silence()) watch_silence(now_);
  core::Status status;
  core::cq_connection_status(shared_.core, core_, &status);
  deadline_ = core::from_core(status.deadline);
  if (state_ == State::kHandshaking)
    deadline_ = std::min(deadline_, started_ + shared_.limits.handshake_timeout);
  if (state_ == State::kOpen) deadline_ = std::min(deadline_, next_look_);
  if (watches_silence()) deadline_ = std::min(deadline_, silence_.next_look());
  // RFC 9000, 10.2: closing and draining last three PTO, and a peer that withholds acknowledgements makes the
  // PTO as long as it likes. After the idle timeout no honest peer sends any more.
  if (state_ == State::kClosing) deadline_ = std::min(deadline_, closed_at_ + shared_.limits.idle_timeout);
  if (!status.drained || state_ == State::kDead) return;
  ended({CloseReason::Kind::kTransport, 0, "the connection ended"});
  state_ = State::kDead;
}

void Connection::network_changed(TimePoint now) {
  if (!is_usable()) return;
  now_ = now;
  // Each path goes on from the new address with its next connection id: an observer of both networks cannot
  // link them (RFC 9000, 9.5). The core's other way, a new path for each, loses stateless resets: it looks
  // for them on path 0.
  core::cq_connection_network_changed(shared_.core, core_, core::to_core(now), true);
  if (!is_server_ && state_ == State::kOpen) {
    acks_ = core::cq_connection_acks(shared_.core, core_);
    acked_at_ = now;
    patience_ = kNoProgress;
    next_look_ = now + patience_ / 2;
  }
  mark_dirty();
}

void Connection::set_send_window(uint64_t bytes) {
  core::cq_connection_set_send_window(shared_.core, core_, bytes);
}

void Connection::close(AppCode code, std::string reason) {
  if (!is_usable()) return;
  core::cq_connection_close(shared_.core, core_, core::to_core(now_), code,
                            reinterpret_cast<const uint8_t*>(reason.data()), reason.size());
  ended({CloseReason::Kind::kLocal, code, std::move(reason)});
}

// ---- Paths

std::vector<PathStats> Connection::paths() const {
  std::array<core::PathInfo, 32> infos;
  const size_t count = core::cq_paths(shared_.core, core_, infos.data(), infos.size());
  std::vector<PathStats> out;
  for (size_t i = 0; i < count; ++i) {
    const core::PathInfo& info = infos[i];
    out.push_back({.id = info.id,
                   .remote = core::from_core(info.remote),
                   .local = core::from_core(info.local),
                   .observed = core::from_core(info.observed),
                   .established = info.established,
                   .backup = info.backup,
                   .remote_backup = info.remote_backup,
                   .smoothed_rtt = Duration(static_cast<int64_t>(info.rtt_ns)),
                   .congestion_window = info.congestion_window,
                   .max_datagram_size = info.mtu,
                   .bytes_sent = info.bytes_sent,
                   .bytes_received = info.bytes_received,
                   .packets_lost = info.packets_lost,
                   .congestion_events = info.congestion_events,
                   .mtu_black_holes = info.black_holes});
  }
  return out;
}

PathStats Connection::path_stats() const {
  std::vector<PathStats> all = paths();
  if (all.empty()) return {};
  auto better = [](const PathStats& a, const PathStats& b) {
    return std::tuple(!a.established, a.backup, a.id) < std::tuple(!b.established, b.backup, b.id);
  };
  return *std::ranges::min_element(all, better);
}

bool Connection::is_multipath() const {
  core::Status status;
  core::cq_connection_status(shared_.core, core_, &status);
  return status.multipath;
}

Result<PathId> Connection::open_path(const SocketAddr& remote, bool backup, TimePoint now) {
  const uint32_t path =
      core::cq_path_open(shared_.core, core_, core::to_core(now), core::to_core(remote), backup);
  mark_dirty();
  constexpr uint32_t kFirstError = UINT32_MAX - 4;
  if (path < kFirstError) return path;
  switch (UINT32_MAX - path) {
    case 0:
      return fail(ErrorCode::kUnavailable, "the peer does not support multipath");
    case 1:
      return fail(ErrorCode::kUnavailable, "only the client of a connection opens paths");
    case 2:
      return fail(ErrorCode::kLimit, "the peer allows no further path now");
    case 3:
      return fail(ErrorCode::kLimit, "the peer issued no connection id for a further path yet");
    default:
      return fail(ErrorCode::kInvalid, "no path can be opened to {}", remote.to_string());
  }
}

bool Connection::close_path(PathId path, TimePoint now) {
  mark_dirty();
  return core::cq_path_close(shared_.core, core_, core::to_core(now), path, 0);
}

bool Connection::set_backup(PathId path, bool backup) {
  mark_dirty();
  return core::cq_path_set_backup(shared_.core, core_, path, backup);
}

bool Connection::set_path_timers(PathId path, Duration idle_timeout, Duration keep_alive, TimePoint now) {
  auto milliseconds = [](Duration duration) {
    return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
  };
  mark_dirty();
  return core::cq_path_set_timers(shared_.core, core_, core::to_core(now), path, milliseconds(idle_timeout),
                                  milliseconds(keep_alive));
}

bool Connection::ping_path(PathId path) {
  mark_dirty();
  return core::cq_path_ping(shared_.core, core_, path);
}

bool Connection::add_candidate(const SocketAddr& address) {
  mark_dirty();
  return core::cq_candidate_add(shared_.core, core_, core::to_core(address));
}

bool Connection::remove_candidate(const SocketAddr& address) {
  mark_dirty();
  return core::cq_candidate_remove(shared_.core, core_, core::to_core(address));
}

Result<size_t> Connection::punch(TimePoint now) {
  mark_dirty();
  const uint32_t probed = core::cq_nat_traversal_round(shared_.core, core_, core::to_core(now));
  if (probed == UINT32_MAX) {
    return fail(ErrorCode::kUnavailable,
                "NAT traversal is not possible: not negotiated, not a client, or no candidate");
  }
  return size_t{probed};
}

// ---- Notifications

void Connection::dispatch() {
  if (std::exchange(notify_connected_, false) && observer_ != nullptr) observer_->on_connected();
  if (std::exchange(notify_streams_, false) && observer_ != nullptr) observer_->on_streams();
  if (std::exchange(notify_datagrams_, false) && observer_ != nullptr) observer_->on_datagrams();
  for (const PathEvent& event : std::exchange(paths_, {})) {
    if (observer_ != nullptr) observer_->on_path(event);
  }
  if (std::exchange(silence_told_, silence_.verdict()) != silence_.verdict() && observer_ != nullptr)
    observer_->on_silence(silence_.verdict());
  for (const std::shared_ptr<Stream>& stream : std::exchange(notifications_, {})) {
    stream->listed_ = false;
    const bool readable = std::exchange(stream->notify_readable_, false);
    const bool writable = std::exchange(stream->notify_writable_, false);
    if (readable && stream->reader_ != nullptr) stream->reader_->on_readable();
    if (writable && stream->writer_ != nullptr) stream->writer_->on_writable();
  }
  if (!std::exchange(notify_closed_, false)) return;
  std::vector<std::shared_ptr<Stream>> left;
  for (Stream* stream : known_) left.push_back(stream->shared_from_this());
  known_.clear();
  for (const std::shared_ptr<Stream>& stream : left) {
    keep_rest(*stream);
    stream->connection_ = nullptr;
  }
  shared_.buffered -= std::exchange(buffered_, 0);
  pending_ = 0;
  for (const std::shared_ptr<Stream>& stream : left) {
    Bytes().swap(stream->pending_);
    StreamObserver* writer = stream->writer_ == stream->reader_ ? nullptr : stream->writer_;
    if (stream->reader_ != nullptr) stream->reader_->on_closed();
    if (writer != nullptr && writer == stream->writer_) writer->on_closed();
  }
  streams_.clear();
  awaiting_answer_.clear();
  incoming_bidi_.clear();
  incoming_uni_.clear();
  if (observer_ != nullptr) observer_->on_closed(*close_reason_);
}

}  // namespace culvert::quic
