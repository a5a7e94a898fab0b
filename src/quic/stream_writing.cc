#include "quic/stream_writing.h"

#include <algorithm>
#include <utility>

#include "quic/core.h"

namespace culvert::quic {
namespace {

// What the core may keep for a peer that is not admitted.
constexpr uint64_t kUnadmittedWindow = 64 * 1024;
// Streams that are asked whether the window is used: one whose peer takes no more does not tell.
constexpr int kProbes = 4;

}  // namespace

// ---- For streams

size_t StreamWriting::room(const Stream& stream) {
  if (!context_.is_open || stream.send_.done || !stream.send_.pending.empty()) return 0;
  const size_t room = context_.shared.memory.sending.room(share_, context_.limits().max_connection_pending);
  if (room == 0) starve();
  return room;
}

void StreamWriting::write(Stream& stream, ByteView data) {
  Stream::SendingHalf& half = stream.send_;
  const size_t taken = give(stream, data);
  if (half.done) return;
  if (taken < data.size()) {
    half.pending = to_bytes(data.subspan(taken));
    half.pending_since = context_.now;
    context_.shared.memory.sending.add_pending(share_, half.pending.size());
  } else if (half.wants_writable) {
    registry_.mark_writable(stream);  // there is room again once the caller has returned
  }
}

// Returns how much the core took. The stream is done where the peer has stopped it.
size_t StreamWriting::give(Stream& stream, ByteView data) {
  size_t given = 0;
  while (given < data.size()) {
    const ByteView rest = data.subspan(given);
    size_t taken =
        core::cq_stream_write(context_.endpoint(), context_.core, stream.id_, rest.data(), rest.size());
    if (taken == core::kClosedForWriting) {
      stopped(stream);
      return given;
    }
    if (taken == 0) taken = give_with_larger_window(stream, rest);
    if (taken == 0) break;
    stream.send_.given += taken;
    given += taken;
  }
  stream.send_.written_at = liveness_.wrote_data();
  context_.mark_dirty();
  return given;
}

size_t StreamWriting::give_with_larger_window(Stream& stream, ByteView data) {
  const uint64_t most =
      context_.is_admitted ? context_.limits().max_connection_unacknowledged : kUnadmittedWindow;
  const uint64_t before = share_.window;
  SendBudget& budget = context_.shared.memory.sending;
  if (budget.grow(share_, data.size(), most + lingering_) == 0) {
    // What the core has will be acknowledged, and then it takes more; but it has nothing.
    if (before == 0) starve();
    return 0;
  }
  set_window(share_.window);
  const size_t taken =
      core::cq_stream_write(context_.endpoint(), context_.core, stream.id_, data.data(), data.size());
  if (taken != 0 && taken != core::kClosedForWriting) return taken;
  // It is the peer who takes no more.
  budget.shrink(share_, before);
  set_window(before);
  return 0;
}

void StreamWriting::set_window(uint64_t bytes) {
  core::cq_connection_set_send_window(context_.endpoint(), context_.core, bytes);
}

void StreamWriting::finish(Stream& stream) {
  if (!context_.is_open || stream.send_.done) return;
  if (stream.send_.pending.empty()) core::cq_stream_finish(context_.endpoint(), context_.core, stream.id_);
  (void)liveness_.wrote_data();
  context_.mark_dirty();
}

void StreamWriting::reset(Stream& stream, AppCode code) {
  if (!context_.is_open) return;
  reset_in_core(stream, code);
  stream.send_.done = true;
  (void)liveness_.wrote_data();
  std::erase_if(awaiting_answer_, [&](const auto& each) { return each.get() == &stream; });
  context_.mark_dirty();
  registry_.forget_if_done(stream);
}

void StreamWriting::reset_in_core(Stream& stream, AppCode code) {
  drop_pending(stream);
  core::cq_stream_reset(context_.endpoint(), context_.core, stream.id_, code, stream.send_.given);
}

void StreamWriting::notify_answered(Stream& stream) {
  if (!stream.send_.done) awaiting_answer_.push_back(stream.shared_from_this());
}

// ---- From the peer

void StreamWriting::on_writable(Stream& stream) {
  Stream::SendingHalf& half = stream.send_;
  if (half.done) return;
  if (!half.pending.empty()) {
    const size_t taken = give(stream, half.pending);
    if (half.done) return;
    if (taken > 0) {
      half.pending.erase(half.pending.begin(), half.pending.begin() + static_cast<std::ptrdiff_t>(taken));
      half.pending_since = context_.now;
      context_.shared.memory.sending.remove_pending(share_, taken);
    }
    if (!half.pending.empty()) return;
    Bytes().swap(half.pending);
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
  reset_in_core(stream, stream.send_.stop_code);
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
  context_.shared.memory.sending.remove_pending(share_, stream.send_.pending.size());
  Bytes().swap(stream.send_.pending);
}

// ---- Memory

void StreamWriting::starve() {
  if (!std::exchange(is_starved_, true)) context_.shared.host.on_starved(context_.owner);
}

bool StreamWriting::finds_memory() const {
  const SendBudget& budget = context_.shared.memory.sending;
  return budget.room(share_, context_.limits().max_connection_pending) > 0 &&
         (share_.window > 0 || budget.can_grow(share_));
}

void StreamWriting::on_memory() {
  is_starved_ = false;
  if (!context_.is_open) return;
  std::vector<std::shared_ptr<Stream>> waiting;  // giving may forget some
  for (Stream* stream : registry_.objects()) {
    if (!stream->send_.done && (stream->send_.wants_writable || !stream->send_.pending.empty()))
      waiting.push_back(stream->shared_from_this());
  }
  for (const std::shared_ptr<Stream>& stream : waiting) on_writable(*stream);
  context_.mark_dirty();
}

void StreamWriting::give_back_unused() {
  if (share_.window == 0 || !context_.is_open) return;
  const uint64_t half = share_.window / 2 / SendBudget::kStep * SendBudget::kStep;
  auto reduce = [&](StreamId probe) {
    return core::cq_connection_try_reduce_send_window(context_.endpoint(), context_.core, half, probe);
  };
  bool is_unused = false;
  int probes = 0;
  for (const Stream* stream : registry_.objects()) {
    if (stream->send_.closed || !stream->send_.pending.empty()) continue;
    is_unused = reduce(stream->id_);
    if (is_unused || ++probes == kProbes) break;
  }
  if (probes == 0 && !is_unused) is_unused = reduce(core::kNoStream);
  if (!is_unused) return;
  context_.shared.memory.sending.shrink(share_, half);
  context_.mark_dirty();
}

Stream* StreamWriting::longest_waiting() const {
  Stream* longest = nullptr;
  for (Stream* stream : registry_.objects()) {
    if (stream->send_.pending.empty()) continue;
    if (longest == nullptr || stream->send_.pending_since < longest->send_.pending_since) longest = stream;
  }
  return longest;
}

TimePoint StreamWriting::longest_wait() const {
  const Stream* stream = longest_waiting();
  return stream == nullptr ? TimePoint::max() : stream->send_.pending_since;
}

// As if the peer had stopped it.
void StreamWriting::evict_longest_waiting() {
  Stream* stream = longest_waiting();
  if (stream == nullptr) return;
  stream->send_.stop_code = context_.limits().overload_code;
  stopped(*stream);
}

void StreamWriting::close() {
  context_.shared.memory.sending.remove_pending(share_, share_.pending);
  awaiting_answer_.clear();
}

}  // namespace culvert::quic
