#include "tunnel/pump.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "tunnel/protocol.h"

namespace culvert::tunnel {
namespace {

// Reads of one socket before the others get their turn.
constexpr int kReadsPerTurn = 4;
constexpr size_t kPartsPerWrite = 64;

}  // namespace

const char* to_string(PumpEnd end) {
  switch (end) {
    case PumpEnd::kFinished:
      return "finished";
    case PumpEnd::kSocketReset:
      return "socket_reset";
    case PumpEnd::kStreamReset:
      return "stream_reset";
    case PumpEnd::kConnectionLost:
      return "tunnel_lost";
    case PumpEnd::kIdle:
      return "idle";
    case PumpEnd::kCut:
      return "cut";
  }
  return "unknown";
}

const char* stream_code_name(quic::AppCode code) {
  switch (code) {
    case kStreamOk:
      return "ok";
    case kStreamClientGone:
      return "client_gone";
    case kStreamOriginReset:
      return "origin_reset";
    case kStreamOriginUnreachable:
      return "origin_unreachable";
    case kStreamOriginTimeout:
      return "origin_timeout";
    case kStreamUnknownService:
      return "unknown_service";
    case kStreamBadHeader:
      return "bad_header";
    case kStreamLimit:
      return "limit";
    case kStreamIdle:
      return "idle";
    case kStreamOriginUntrusted:
      return "origin_untrusted";
    default:
      return "unknown";
  }
}

std::shared_ptr<Pump> Pump::create(Config config) {
  return std::shared_ptr<Pump>(new Pump(std::move(config)));
}

Pump::Pump(Config config)
    : config_(std::move(config)),
      timer_(config_.socket->loop()),
      pacer_(config_.socket->loop(), config_.budgets),
      initial_sent_(config_.initial_sent) {
  count_to_stream(initial_sent_);
  CHECK(config_.stream != nullptr);
  CHECK(!config_.scratch.empty());
}

Pump::~Pump() {
  if (config_.stream && !done_) config_.stream->set_observer(nullptr);
}

void Pump::start() {
  self_ = shared_from_this();
  if (!config_.stream->is_open()) return end(PumpEnd::kConnectionLost, 0);
  config_.stream->set_observer(this);
  arm_tick();
  pacer_.start([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->move_to_stream();
    self->move_to_socket();
  });
  move_to_stream();
  move_to_socket();
}

void Pump::cut(quic::AppCode code) { end(PumpEnd::kCut, code); }

void Pump::on_readable() {
  auto keep = self_;
  move_to_socket();
}

void Pump::on_writable() {
  auto keep = self_;
  move_to_stream();
}

void Pump::on_closed() {
  auto keep = self_;
  // What had arrived may be the whole of it.
  pacer_.stop();
  move_to_socket();
  end(PumpEnd::kConnectionLost, 0);
}

void Pump::move_to_stream() {
  if (done_) return;
  quic::Stream& stream = *config_.stream;
  if (stream.was_stopped()) {
    const bool broke = to_stream_ == ToStream::kAborting || to_socket_ == ToSocket::kFailed;
    if (broke) return end(PumpEnd::kSocketReset, config_.abort_code);
    if (to_stream_ == ToStream::kFlowing) {
      to_stream_ = ToStream::kStopped;
      finish_if_done();
    }
  }
  if (to_stream_ == ToStream::kStopped) return drop_from_socket();
  if (to_stream_ != ToStream::kFlowing) return;
  send_initial();
  if (!initial_is_sent()) return;  // on_writable comes

  for (int reads = 0; reads < kReadsPerTurn; ++reads) {
    if (pacer_.is_paused()) return;
    size_t room = std::min(config_.scratch.size(), stream.writable());
    if (room == 0) return;  // on_writable comes
    net::IoResult got = config_.socket->try_read(config_.scratch.first(room));
    switch (got.status) {
      case net::IoStatus::kOk: {
        ByteView data = config_.scratch.first(got.bytes);
        if (!keep_for_another(data)) something_moved();
        size_t taken = stream.write(data);
        CHECK(taken == data.size());
        count_to_stream(taken);
        pacer_.charge(taken);
        if (config_.tap_to_stream) config_.tap_to_stream(data);
        break;
      }
      case net::IoStatus::kWantRead:
        return wait_for(to_stream_wait_, Wait::kReadable);
      case net::IoStatus::kWantWrite:
        return wait_for(to_stream_wait_, Wait::kWritable);
      case net::IoStatus::kEof:
        return socket_ended();
      case net::IoStatus::kError:
        return socket_broke();
    }
    if (got.bytes < room) break;  // drained for now: spare the read that would say so
  }
  wait_for(to_stream_wait_, Wait::kReadable);
}

void Pump::socket_ended() {
  to_stream_ = ToStream::kEnded;
  config_.stream->finish();
  if (to_socket_ == ToSocket::kFailed) {
    config_.stream->stop(kStreamOk);
    to_socket_ = ToSocket::kEnded;
  }
  finish_if_done();
}

// These bytes have no receiver, but a client that is stuck in sending them does not read its answer. While
// there is none, the rest of a refusal may be on its way, after which another tunnel gets what the socket
// gives.
void Pump::drop_from_socket() {
  if (config_.return_unanswered) return;
  for (int reads = 0; !done_ && reads < kReadsPerTurn; ++reads) {
    switch (config_.socket->try_read(config_.scratch).status) {
      case net::IoStatus::kOk:
        break;
      case net::IoStatus::kWantRead:
        return wait_for(to_stream_wait_, Wait::kReadable);
      case net::IoStatus::kWantWrite:
        return wait_for(to_stream_wait_, Wait::kWritable);
      case net::IoStatus::kEof:
        to_stream_ = ToStream::kEnded;
        return finish_if_done();
      case net::IoStatus::kError:
        if (lingering_) return end(PumpEnd::kFinished, kStreamOk);
        return socket_broke();
    }
  }
  if (!done_) wait_for(to_stream_wait_, Wait::kReadable);
}

void Pump::send_initial() {
  while (!initial_is_sent() && config_.stream->writable() > 0) {
    size_t taken = config_.stream->write(ByteView(config_.initial).subspan(initial_sent_));
    count_to_stream(taken);
    initial_sent_ += taken;
  }
  if (!config_.return_unanswered) something_moved();
}

// False: it must not be sent twice.
bool Pump::keep_for_another(ByteView data) {
  const auto may_repeat = std::exchange(config_.may_repeat, nullptr);
  if (!config_.return_unanswered || !may_repeat || !may_repeat(data)) return false;
  config_.initial.insert(config_.initial.end(), data.begin(), data.end());
  initial_sent_ += data.size();
  return true;
}

// What cannot be taken back: no other tunnel may be given the same from now on.
void Pump::something_moved() {
  config_.return_unanswered = false;
  if (!initial_is_sent()) return;
  config_.initial = Bytes();
  initial_sent_ = 0;
}

void Pump::count_to_stream(size_t bytes) {
  counters_.to_stream += bytes;
  for (MovedBytes* moved : config_.moved) {
    if (moved != nullptr) moved->add_to_stream(bytes);
  }
}

void Pump::count_to_socket(size_t bytes) {
  counters_.to_socket += bytes;
  for (MovedBytes* moved : config_.moved) {
    if (moved != nullptr) moved->add_to_socket(bytes);
  }
}

bool Pump::is_unanswered(PumpEnd why) const {
  return config_.return_unanswered && why == PumpEnd::kConnectionLost && config_.socket->is_open() &&
         to_socket_ == ToSocket::kFlowing && to_stream_ != ToStream::kStopped;
}

void Pump::move_to_socket() {
  if (done_ || to_socket_ == ToSocket::kEnded) return;
  quic::Stream& stream = *config_.stream;
  if (to_socket_ == ToSocket::kFailed) {
    if (stream.was_reset()) end(PumpEnd::kStreamReset, stream.reset_code());
    return;
  }
  while (to_socket_ == ToSocket::kFlowing) {
    if (pacer_.is_paused()) return;
    // A client must not take a part for the whole, so nothing of a reset stream is worth delivering.
    if (stream.was_reset()) return end(PumpEnd::kStreamReset, stream.reset_code());
    std::array<ByteView, kPartsPerWrite> parts;
    const std::span<const ByteView> ready(parts.data(), stream.readable(parts));
    if (ready.empty()) {
      if (!stream.finished()) return;  // on_readable comes
      to_socket_ = ToSocket::kFinishing;
      break;
    }
    net::IoResult put = config_.socket->try_write(ready);
    switch (put.status) {
      case net::IoStatus::kOk:
        count_to_socket(put.bytes);
        if (config_.tap_to_socket) tap_to_socket(ready, put.bytes);
        stream.consume(put.bytes);
        pacer_.charge(put.bytes);
        something_came();
        if (done_) return;
        break;
      case net::IoStatus::kWantWrite:
        return wait_for(to_socket_wait_, Wait::kWritable);
      case net::IoStatus::kWantRead:
        return wait_for(to_socket_wait_, Wait::kReadable);
      case net::IoStatus::kEof:
      case net::IoStatus::kError:
        return writing_failed();
    }
  }
  finish_socket();
}

void Pump::something_came() {
  if (!config_.return_unanswered) return;
  something_moved();
  if (to_stream_ == ToStream::kStopped) drop_from_socket();
}

void Pump::tap_to_socket(std::span<const ByteView> parts, size_t count) {
  for (ByteView part : parts) {
    part = part.first(std::min(part.size(), count));
    if (part.empty()) return;
    config_.tap_to_socket(part);
    count -= part.size();
  }
}

void Pump::finish_socket() {
  switch (config_.socket->try_finish().status) {
    case net::IoStatus::kWantWrite:
      return wait_for(to_socket_wait_, Wait::kWritable);
    case net::IoStatus::kWantRead:
      return wait_for(to_socket_wait_, Wait::kReadable);
    case net::IoStatus::kOk:
      break;
    case net::IoStatus::kEof:
    case net::IoStatus::kError:
      // Everything was written. A peer that has finished too and is gone needs no goodbye.
      if (to_stream_ == ToStream::kFlowing) return writing_failed();
      break;
  }
  to_socket_ = ToSocket::kEnded;
  something_came();
  finish_if_done();
}

void Pump::wait_for(Wait& who, Wait what) {
  who = what;
  bool& armed = what == Wait::kReadable ? armed_readable_ : armed_writable_;
  if (armed) return;
  armed = true;
  auto callback = [self = shared_from_this(), what] { self->on_socket_ready(what); };
  if (what == Wait::kReadable) {
    config_.socket->when_readable(std::move(callback));
  } else {
    config_.socket->when_writable(std::move(callback));
  }
}

void Pump::on_socket_ready(Wait what) {
  (what == Wait::kReadable ? armed_readable_ : armed_writable_) = false;
  if (done_) return;
  bool stream_turn = to_stream_wait_ == what;
  bool socket_turn = to_socket_wait_ == what;
  if (stream_turn) {
    to_stream_wait_ = Wait::kNothing;
    move_to_stream();
  }
  if (socket_turn) {
    to_socket_wait_ = Wait::kNothing;
    move_to_socket();
  }
}

void Pump::finish_if_done() {
  if (to_socket_ != ToSocket::kEnded || lingering_) {
    if (lingering_ && to_stream_ == ToStream::kEnded) end(PumpEnd::kFinished, kStreamOk);
    return;
  }
  if (to_stream_ == ToStream::kEnded) return end(PumpEnd::kFinished, kStreamOk);
  if (to_stream_ != ToStream::kStopped) return;
  lingering_ = true;
  end_after(kLinger, PumpEnd::kFinished, kStreamOk);
}

// The other direction decides: the kernel still has what the socket sent before it broke, and how it ended.
void Pump::writing_failed() {
  if (!config_.keep_answer || to_stream_ != ToStream::kFlowing) return socket_broke();
  to_socket_ = ToSocket::kFailed;
  move_to_stream();
}

void Pump::socket_broke() {
  if (!config_.keep_answer || to_stream_ != ToStream::kFlowing || counters_.to_stream == 0)
    return end(PumpEnd::kSocketReset, config_.abort_code);
  to_stream_ = ToStream::kAborting;
  config_.stream->stop(config_.abort_code);
  to_socket_ = ToSocket::kEnded;
  end_after(kAbortDelay, PumpEnd::kSocketReset, config_.abort_code);
}

void Pump::end_after(Duration delay, PumpEnd why, quic::AppCode code) {
  timer_.after(delay, [weak = weak_from_this(), why, code] {
    if (auto self = weak.lock()) self->end(why, code);
  });
}

void Pump::end(PumpEnd why, quic::AppCode code) {
  if (done_) return;
  done_ = true;
  auto keep = std::move(self_);
  timer_.cancel();
  pacer_.stop();
  config_.socket->cancel();  // callbacks that wait there hold this
  config_.stream->set_observer(nullptr);
  net::EventLoop& loop = config_.socket->loop();
  PumpResult result{.end = why,
                    .code = code,
                    .bytes = counters_,
                    .given_up = config_.stream->was_evicted(),
                    .was_delivered = to_socket_ == ToSocket::kEnded && to_stream_ != ToStream::kAborting,
                    .refused_socket = nullptr,
                    .unanswered_socket = nullptr,
                    .initial = {}};

  if (why == PumpEnd::kFinished) {
    config_.socket->close();
  } else {
    if (why == PumpEnd::kSocketReset) result.socket_error = config_.socket->last_error();
    give_up_stream(why, code);
    bool refused = why == PumpEnd::kStreamReset && counters_.to_socket == 0;
    if (refused && config_.return_refused_socket && config_.socket->is_open()) {
      result.refused_socket = std::move(config_.socket);
      if (config_.return_unanswered) result.initial = std::move(config_.initial);
    } else if (is_unanswered(why)) {
      result.unanswered_socket = std::move(config_.socket);
      result.initial = std::move(config_.initial);
    } else {
      config_.socket->reset();
    }
  }
  config_.stream = nullptr;
  config_.tap_to_stream = nullptr;
  config_.tap_to_socket = nullptr;
  config_.initial = Bytes();

  // The socket may be calling us: it must not be destroyed before that call has returned.
  loop.post([keep = std::move(keep)] {});
  auto on_done = std::move(config_.on_done);
  if (on_done) on_done(std::move(result));
}

void Pump::give_up_stream(PumpEnd why, quic::AppCode code) {
  quic::Stream& stream = *config_.stream;
  if (!stream.is_open()) return;
  // What was sent with its FIN is whole and may still arrive, unless the point is to free what a stalled peer
  // holds.
  bool discard_sent = why == PumpEnd::kIdle || why == PumpEnd::kCut;
  const bool unfinished = to_stream_ == ToStream::kFlowing || to_stream_ == ToStream::kAborting;
  if (unfinished || (discard_sent && !stream.all_acknowledged())) stream.reset(code);
  const bool reads = to_socket_ == ToSocket::kFlowing || to_socket_ == ToSocket::kFailed;
  if (why != PumpEnd::kStreamReset && reads) stream.stop(code);
}

Duration Pump::tick_length() const { return std::min(config_.limits.half_open, config_.limits.idle); }

void Pump::arm_tick() {
  timer_.after(tick_length(), [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->tick();
  });
}

void Pump::tick() {
  if (done_) return;
  uint64_t now = activity();
  idle_for_ = now == last_activity_ ? idle_for_ + tick_length() : Duration::zero();
  last_activity_ = now;
  // A peer that ended while the stream takes nothing is not read to its end, so that no direction has
  // changed.
  const bool half_open = to_stream_ != ToStream::kFlowing || to_socket_ != ToSocket::kFlowing ||
                         config_.socket->peer_has_ended();
  const Duration limit = half_open ? config_.limits.half_open : config_.limits.idle;
  if (idle_for_ >= limit) return end(PumpEnd::kIdle, kStreamIdle);
  arm_tick();
}

// Changes whenever a byte moves or a direction ends.
uint64_t Pump::activity() const {
  return counters_.to_stream + counters_.to_socket + static_cast<uint64_t>(to_stream_) +
         static_cast<uint64_t>(to_socket_);
}

}  // namespace culvert::tunnel
