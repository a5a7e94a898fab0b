#include "tunnel/stream_pump.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "tunnel/protocol.h"

namespace culvert::tunnel {
namespace {

// Steps of one direction before the others get their turn.
constexpr int kStepsPerTurn = 8;

}  // namespace

std::shared_ptr<StreamPump> StreamPump::create(Config config) {
  return std::shared_ptr<StreamPump>(new StreamPump(std::move(config)));
}

StreamPump::StreamPump(Config config)
    : config_(std::move(config)),
      can_splice_(config_.pipes != nullptr && net::can_splice(*config_.client) &&
                  net::can_splice(*config_.origin)),
      timer_(config_.client->loop()),
      pacer_(config_.client->loop(), config_.budgets) {
  CHECK(!config_.scratch.empty());
  to_origin_.left = std::move(config_.initial);
}

StreamPump::~StreamPump() = default;

void StreamPump::start() {
  self_ = shared_from_this();
  arm_tick();
  pacer_.start([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->move(self->to_origin_);
    self->move(self->to_client_);
  });
  move(to_origin_);
  move(to_client_);
}

void StreamPump::cut(quic::AppCode code) { end(PumpEnd::kCut, code); }

bool StreamPump::holds_bytes() const {
  return to_origin_.pipe || to_client_.pipe || to_origin_.has_bytes() || to_client_.has_bytes();
}

void StreamPump::move(Way& way) {
  for (int steps = 0; steps < kStepsPerTurn; ++steps) {
    if (done_ || pacer_.is_paused()) return;
    switch (way.state) {
      case State::kEnded:
        return;
      case State::kDropping:
        return drop(way);
      case State::kFinishing:
        return finish(way);
      case State::kFlowing:
        break;
    }
    const bool goes_on = step(way);
    if (!goes_on) return;
  }
  // It is told at once if there is more.
  if (way.has_bytes()) return wait_for(way, way.to, net::IoStatus::kWantWrite);
  wait_for(way, way.from, net::IoStatus::kWantRead);
}

// False: it waits, or its state has changed.
bool StreamPump::step(Way& way) {
  if (way.has_bytes()) return deliver(way);
  if (way.is_bulk && can_splice_ && !way.pipe) way.pipe = config_.pipes->take();
  return way.pipe ? fill_pipe(way) : copy(way);
}

bool StreamPump::deliver(Way& way) {
  const bool is_in_pipe = way.left.empty();
  const net::IoResult put = is_in_pipe ? way.pipe->drain(at(way.to))
                                       : at(way.to).try_write(ByteView(way.left).subspan(way.left_sent));
  switch (put.status) {
    case net::IoStatus::kOk:
      if (!is_in_pipe) {
        way.left_sent += put.bytes;
        if (way.left_sent == way.left.size()) keep(way, {});
      }
      took(way, put.bytes);
      return true;
    case net::IoStatus::kWantRead:
    case net::IoStatus::kWantWrite:
      wait_for(way, way.to, put.status);
      return false;
    case net::IoStatus::kEof:
    case net::IoStatus::kError:
      break;
  }
  taker_failed(way);
  return false;
}

bool StreamPump::fill_pipe(Way& way) {
  const net::IoResult got = way.pipe->fill(at(way.from));
  if (got.status == net::IoStatus::kOk) return true;
  release(way);
  giver_ended(way, got.status);
  return false;
}

bool StreamPump::copy(Way& way) {
  const net::IoResult got = at(way.from).try_read(config_.scratch);
  if (got.status != net::IoStatus::kOk) {
    giver_ended(way, got.status);
    return false;
  }
  const ByteView data = config_.scratch.first(got.bytes);
  const net::IoResult put = at(way.to).try_write(data);
  if (put.status == net::IoStatus::kEof || put.status == net::IoStatus::kError) {
    taker_failed(way);
    return false;
  }
  const size_t taken = put.status == net::IoStatus::kOk ? put.bytes : 0;
  if (taken < data.size()) keep(way, data.subspan(taken));
  took(way, taken);
  way.is_bulk = way.is_bulk || got.bytes == config_.scratch.size();
  if (put.status != net::IoStatus::kOk) {
    wait_for(way, way.to, put.status);
    return false;
  }
  const bool is_drained = got.bytes < config_.scratch.size();  // for now: spare the read that would say so
  if (way.has_bytes() || !is_drained) return true;
  wait_for(way, way.from, net::IoStatus::kWantRead);
  return false;
}

void StreamPump::keep(Way& way, ByteView rest) {
  way.left = to_bytes(rest);
  way.left_sent = 0;
}

// It holds nothing any more.
void StreamPump::release(Way& way) {
  way.left = Bytes();
  if (way.pipe) config_.pipes->give_back(std::move(way.pipe));
}

void StreamPump::took(Way& way, size_t bytes) {
  if (bytes == 0) return;
  const bool to_origin = is_to_origin(way);
  (to_origin ? counters_.to_stream : counters_.to_socket) += bytes;
  for (MovedBytes* moved : config_.moved) {
    if (moved == nullptr) continue;
    to_origin ? moved->add_to_stream(bytes) : moved->add_to_socket(bytes);
  }
  pacer_.charge(bytes);
}

// It gives nothing now, or nothing any more.
void StreamPump::giver_ended(Way& way, net::IoStatus how) {
  switch (how) {
    case net::IoStatus::kOk:
    case net::IoStatus::kWantRead:
    case net::IoStatus::kWantWrite:
      return wait_for(way, way.from, how);
    case net::IoStatus::kEof:
      way.state = State::kFinishing;
      return finish(way);
    case net::IoStatus::kError:
      break;
  }
  if (is_to_origin(way)) return end(PumpEnd::kSocketReset, kStreamClientGone);
  if (counters_.to_socket == 0) return end(PumpEnd::kStreamReset, kStreamOriginReset);
  // RST at once could destroy what the client has not read yet.
  origin_broke_ = true;
  way.state = State::kEnded;
  end_after(Pump::kAbortDelay, PumpEnd::kStreamReset, kStreamOriginReset);
  if (to_origin_.state != State::kFlowing) return;
  release(to_origin_);
  to_origin_.state = State::kDropping;
  drop(to_origin_);
}

// An origin may answer and close before it has read a request to its end: the kernel still has its answer,
// and how it ended.
void StreamPump::taker_failed(Way& way) {
  if (!is_to_origin(way)) return end(PumpEnd::kSocketReset, kStreamClientGone);
  release(way);
  way.state = State::kDropping;
  finish_if_done();
  move(to_client_);
  if (!done_) drop(way);
}

void StreamPump::finish(Way& way) {
  const Way& back = is_to_origin(way) ? to_client_ : to_origin_;
  if (can_splice_ && back.state == State::kEnded) {  // closing it says the same
    way.state = State::kEnded;
    return finish_if_done();
  }
  const net::IoStatus status = at(way.to).try_finish().status;
  switch (status) {
    case net::IoStatus::kWantRead:
    case net::IoStatus::kWantWrite:
      return wait_for(way, way.to, status);
    case net::IoStatus::kOk:
      break;
    case net::IoStatus::kEof:
    case net::IoStatus::kError:
      // Everything was written. A peer that has finished too and is gone needs no goodbye.
      if (back.state == State::kFlowing) return taker_failed(way);
      break;
  }
  way.state = State::kEnded;
  finish_if_done();
}

// These bytes have no receiver, but a client that is stuck in sending them does not read its answer.
void StreamPump::drop(Way& way) {
  for (int reads = 0; reads < kStepsPerTurn; ++reads) {
    if (done_) return;
    const net::IoStatus status = at(way.from).try_read(config_.scratch).status;
    switch (status) {
      case net::IoStatus::kOk:
        break;
      case net::IoStatus::kWantRead:
      case net::IoStatus::kWantWrite:
        return wait_for(way, way.from, status);
      case net::IoStatus::kEof:
        way.state = State::kEnded;
        return finish_if_done();
      case net::IoStatus::kError:
        if (is_ending_ && !origin_broke_) return end(PumpEnd::kFinished, kStreamOk);
        return end(PumpEnd::kSocketReset, kStreamClientGone);
    }
  }
  wait_for(way, way.from, net::IoStatus::kWantRead);
}

void StreamPump::finish_if_done() {
  if (done_ || origin_broke_ || to_client_.state != State::kEnded) return;
  if (to_origin_.state == State::kEnded) return end(PumpEnd::kFinished, kStreamOk);
  if (to_origin_.state != State::kDropping || is_ending_) return;
  // Closing a socket with unread bytes sends RST, which may destroy the answer on its way.
  end_after(Pump::kLinger, PumpEnd::kFinished, kStreamOk);
}

void StreamPump::wait_for(Way& way, Side side, net::IoStatus want) {
  const Ready what = want == net::IoStatus::kWantRead ? Ready::kReadable : Ready::kWritable;
  way.wait_at = side;
  way.wait = what;
  bool& armed = armed_[side][what == Ready::kReadable ? 0 : 1];
  if (std::exchange(armed, true)) return;
  auto callback = [self = shared_from_this(), side, what] { self->on_ready(side, what); };
  if (what == Ready::kReadable) {
    at(side).when_readable(std::move(callback));
  } else {
    at(side).when_writable(std::move(callback));
  }
}

void StreamPump::on_ready(Side side, Ready what) {
  armed_[side][what == Ready::kReadable ? 0 : 1] = false;
  for (Way* way : {&to_origin_, &to_client_}) {
    if (done_) return;
    if (way->wait != what || way->wait_at != side) continue;
    way->wait = Ready::kNothing;
    move(*way);
  }
}

void StreamPump::end_after(Duration delay, PumpEnd why, quic::AppCode code) {
  is_ending_ = true;
  timer_.after(delay, [weak = weak_from_this(), why, code] {
    if (const auto self = weak.lock()) self->end(why, code);
  });
}

void StreamPump::end(PumpEnd why, quic::AppCode code) {
  if (std::exchange(done_, true)) return;
  auto self = std::move(self_);
  timer_.cancel();
  pacer_.stop();
  for (Way* way : {&to_origin_, &to_client_}) release(*way);
  config_.client->cancel();  // callbacks that wait there hold this
  config_.origin->cancel();
  net::EventLoop& its_loop = loop();
  PumpResult result{.end = why,
                    .code = code,
                    .bytes = counters_,
                    .given_up = false,
                    .was_delivered = to_client_.state == State::kEnded && !origin_broke_,
                    .refused_socket = nullptr,
                    .unanswered_socket = nullptr,
                    .initial = {}};
  if (why == PumpEnd::kSocketReset) result.socket_error = config_.client->last_error();
  if (why == PumpEnd::kFinished) {
    config_.client->close();
    config_.origin->close();
  } else {
    config_.origin->reset();
    if (why == PumpEnd::kStreamReset && counters_.to_socket == 0 && config_.client->is_open()) {
      result.refused_socket = std::move(config_.client);
    } else {
      config_.client->reset();
    }
  }
  // The sockets may be calling us: they must not be destroyed before that call has returned.
  its_loop.post([self = std::move(self)] {});
  auto on_done = std::move(config_.on_done);
  if (on_done) on_done(std::move(result));
}

Duration StreamPump::tick_length() const { return std::min(config_.limits.half_open, config_.limits.idle); }

void StreamPump::arm_tick() {
  timer_.after(tick_length(), [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->tick();
  });
}

void StreamPump::tick() {
  if (done_) return;
  const uint64_t now = activity();
  idle_for_ = now == last_activity_ ? idle_for_ + tick_length() : Duration::zero();
  last_activity_ = now;
  const bool is_half_open = to_origin_.state != State::kFlowing || to_client_.state != State::kFlowing ||
                            config_.client->peer_has_ended() || config_.origin->peer_has_ended();
  const Duration limit = is_half_open ? config_.limits.half_open : config_.limits.idle;
  if (idle_for_ >= limit) return end(PumpEnd::kIdle, kStreamIdle);
  arm_tick();
}

// Changes whenever a byte moves or a direction ends.
uint64_t StreamPump::activity() const {
  return counters_.to_stream + counters_.to_socket + static_cast<uint64_t>(to_origin_.state) +
         static_cast<uint64_t>(to_client_.state);
}

}  // namespace culvert::tunnel
