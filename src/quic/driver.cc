#include "quic/driver.h"

#include <utility>

namespace culvert::quic {
namespace {

constexpr Duration kTimerGrain = std::chrono::microseconds(100);
constexpr int kMaxRounds = 32;  // then sockets get their turn

}  // namespace

Driver::Driver(net::EventLoop& loop, std::unique_ptr<net::PacketIo> packets, Engine::Config config,
               OnAccepted on_accepted)
    : loop_(loop),
      packets_(std::move(packets)),
      timer_(loop),
      on_accepted_(std::move(on_accepted)),
      engine_(std::move(config), loop.random(), *this) {
  packets_->start(
      [this](const net::ReceivedDatagram& datagram) {
        // flush() comes at the end of the batch: nothing needs to be posted, and one time serves it all.
        if (!std::exchange(in_batch_, true)) batch_time_ = loop_.now();
        flush_wanted_ = true;
        engine_.receive(datagram, batch_time_);
      },
      [this] { flush(); });
}

Driver::~Driver() { *alive_ = false; }

std::shared_ptr<Connection> Driver::connect(const SocketAddr& remote, const EndpointId& peer,
                                            const std::string& alpn) {
  return engine_.connect(remote, peer, alpn, loop_.now());
}

std::shared_ptr<Connection> Driver::connect(const SocketAddr& remote, const X509Server& server,
                                            const std::string& alpn) {
  return engine_.connect(remote, server, alpn, loop_.now());
}

Result<> Driver::rebind() {
  auto moved = packets_->rebind();
  if (!moved) return moved;
  waiting_writable_ = false;
  engine_.network_changed(loop_.now());
  engine_.on_writable(loop_.now());
  arm_timer();
  return {};
}

void Driver::close(AppCode code, const std::string& reason) {
  engine_.close_all(code, reason, loop_.now());
  timer_.cancel();
  armed_ = TimePoint::max();
  packets_->close();
}

void Driver::flush() {
  flush_wanted_ = in_batch_ = false;
  engine_.flush(loop_.now());
  arm_timer();
}

void Driver::want_flush() {
  if (flush_wanted_) return;
  flush_wanted_ = true;
  // Behind everything that is ready now, so that one flush serves it all.
  loop_.post([this, alive = alive_] {
    if (*alive && flush_wanted_) flush();
  });
}

void Driver::arm_timer() {
  TimePoint deadline = engine_.deadline();
  if (deadline == TimePoint::max()) return;
  // Pacing asks for a moment every few tens of microseconds, and each new one would be a system call. On a
  // grid they share one; the core makes up for the lateness in its next rounds, and no other deadline is that
  // fine.
  auto remainder = deadline.time_since_epoch() % kTimerGrain;
  if (remainder.count() != 0) deadline += kTimerGrain - remainder;
  if (deadline >= armed_) return;
  armed_ = deadline;
  timer_.at(deadline, [this] {
    armed_ = TimePoint::max();
    on_timer();
  });
}

void Driver::on_timer() {
  // Several rounds may have become due within one grain.
  for (int rounds = 0; rounds < kMaxRounds && engine_.deadline() <= loop_.now(); ++rounds) {
    engine_.on_deadline(loop_.now());
  }
  arm_timer();
}

bool Driver::send(const net::DatagramBatch& batch) {
  switch (packets_->send(batch)) {
    case net::PacketIo::SendStatus::kSent:
    case net::PacketIo::SendStatus::kTooLarge:     // a probe of the path's MTU, or the MTU fell: QUIC sees a
                                                   // loss
    case net::PacketIo::SendStatus::kUnreachable:  // no route now: also a loss, the idle timeout decides
      return true;
    case net::PacketIo::SendStatus::kBlocked:
      break;
  }
  if (!waiting_writable_) {
    waiting_writable_ = true;
    packets_->when_writable([this] {
      waiting_writable_ = false;
      engine_.on_writable(loop_.now());
      arm_timer();
    });
  }
  return false;
}

}  // namespace culvert::quic
