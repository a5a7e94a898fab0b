#include "quic/connection.h"

#include <algorithm>
#include <array>
#include <utility>

#include "quic/core.h"
#include "quic/core_reports.h"

namespace culvert::quic {

Connection::Connection(Shared shared, core::Connection* core, bool is_server, bool address_validated,
                       std::optional<EndpointId> peer, std::string alpn, TimePoint now)
    : context_{.shared = shared, .core = core, .owner = *this},
      came_with_token_(address_validated),
      remote_id_(peer),
      alpn_(std::move(alpn)),
      started_(now),
      writer_(context_),
      paths_(context_),
      watch_(context_, paths_, !is_server, now),
      datagrams_(context_, watch_.liveness()),
      streams_(context_, watch_.liveness()) {
  context_.now = now;
  context_.is_admitted = !is_server || shared.limits.unadmitted_window == 0;
  core::cq_connection_set_user(core, this);
}

Connection::~Connection() {
  streams_.detach();
  core::cq_connection_free(context_.endpoint(), context_.core);
}

// ---- Events

void Connection::received(TimePoint now) {
  context_.now = now;
  received_ = true;
  context_.mark_dirty();
}

void Connection::collect() {
  std::array<core::Event, 32> events;
  size_t count;
  do {
    count = core::cq_connection_events(context_.endpoint(), context_.core, core::to_core(context_.now),
                                       events.data(), events.size());
    for (size_t i = 0; i < count; ++i) take(events[i]);
  } while (count == events.size());
  if (!std::exchange(received_, false)) return;
  watch_.on_received();
  streams_.writing().on_acknowledged();
}

void Connection::take(const core::Event& event) {
  using enum core::EventKind;
  switch (event.kind) {
    case kConnected:
      return on_connected();
    case kLost:
      return ended(close_reason_of(context_.core, state_ == State::kHandshaking));
    case kOpened:
      notify_streams_ = true;
      return streams_.take(event);
    case kReadable:
    case kWritable:
    case kFinished:
    case kStopped:
      return streams_.take(event);
    case kAvailable:
      notify_streams_ = true;
      return;
    case kDatagramReceived:
      notify_datagrams_ = true;
      return datagrams_.receive_from_core();
    default:
      return paths_.take(event);
  }
}

void Connection::on_connected() {
  if (state_ != State::kHandshaking) return;
  if (auto key = peer_key_of(context_.core)) remote_id_ = *key;
  alpn_ = alpn_of(context_.endpoint(), context_.core);
  state_ = State::kOpen;
  context_.is_open = true;
  notify_connected_ = true;
  watch_.start(context_.now);
}

void Connection::ended(CloseReason reason) {
  if (!is_usable()) return;
  state_ = State::kClosing;
  context_.is_open = false;
  closed_at_ = context_.now;
  close_reason_ = std::move(reason);
  notify_closed_ = true;
  context_.mark_dirty();
}

void Connection::dispatch() {
  if (std::exchange(notify_connected_, false) && observer_ != nullptr) observer_->on_connected();
  if (std::exchange(notify_streams_, false) && observer_ != nullptr) observer_->on_streams();
  if (std::exchange(notify_datagrams_, false) && observer_ != nullptr) observer_->on_datagrams();
  for (const PathEvent& event : paths_.take_events()) {
    if (observer_ != nullptr) observer_->on_path(event);
  }
  if (auto silence = watch_.take_verdict(); silence && observer_ != nullptr) observer_->on_silence(*silence);
  streams_.dispatch();
  if (!std::exchange(notify_closed_, false)) return;
  streams_.close();
  if (observer_ != nullptr) observer_->on_closed(*close_reason_);
}

// ---- Packets out

bool Connection::write(TimePoint now, BatchSink& sink) {
  context_.now = now;
  if (!writer_.write_kept(sink)) return false;
  return state_ == State::kDead || writer_.write(now, sink, watch_.liveness());
}

// ---- Time

void Connection::on_deadline(TimePoint now) {
  context_.now = now;
  context_.mark_dirty();
  if (state_ == State::kHandshaking && now >= started_ + context_.limits().handshake_timeout) {
    ended({CloseReason::Kind::kHandshake, 0, "the handshake did not complete in time"});
    state_ = State::kDead;
    return;
  }
  if (state_ == State::kClosing && now >= closed_at_ + context_.limits().idle_timeout) {
    state_ = State::kDead;
    return;
  }
  watch_.on_deadline(now, !writer_.is_blocked(), !received_);
  core::cq_connection_timeout(context_.endpoint(), context_.core, core::to_core(now));
}

void Connection::refresh() {
  core::Status status;
  core::cq_connection_status(context_.endpoint(), context_.core, &status);
  streams_.writing().set_lingering(status.lingering);
  watch_.refresh(status.liveness, context_.now, !writer_.is_blocked());
  deadline_ = std::min(core::from_core(status.deadline), watch_.deadline());
  if (state_ == State::kHandshaking)
    deadline_ = std::min(deadline_, started_ + context_.limits().handshake_timeout);
  // RFC 9000, 10.2: closing and draining last three PTO, which a peer that withholds acknowledgements makes
  // as long as it likes. After the idle timeout no honest peer sends any more.
  if (state_ == State::kClosing) deadline_ = std::min(deadline_, closed_at_ + context_.limits().idle_timeout);
  if (!status.drained || state_ == State::kDead) return;
  ended({CloseReason::Kind::kTransport, 0, "the connection ended"});
  state_ = State::kDead;
}

void Connection::network_changed(TimePoint now) {
  if (!is_usable()) return;
  context_.now = now;
  // Each path goes on with its next connection id: an observer of both networks cannot link them (RFC 9000,
  // 9.5). The core's other way, new paths, begins congestion control again.
  core::cq_connection_network_changed(context_.endpoint(), context_.core, core::to_core(now), true);
  watch_.network_changed(now);
  context_.mark_dirty();
}

void Connection::close(AppCode code, std::string reason) {
  if (!is_usable()) return;
  core::cq_connection_close(context_.endpoint(), context_.core, core::to_core(context_.now), code,
                            reinterpret_cast<const uint8_t*>(reason.data()), reason.size());
  ended({CloseReason::Kind::kLocal, code, std::move(reason)});
}

void Connection::abandon(std::string reason) {
  ended({CloseReason::Kind::kLocal, context_.limits().overload_code, std::move(reason)});
  state_ = State::kDead;
}

void Connection::admit() {
  if (std::exchange(context_.is_admitted, true)) return;
  core::cq_connection_set_receive_window(context_.endpoint(), context_.core, UINT64_MAX);
  context_.mark_dirty();
}

}  // namespace culvert::quic
