#pragma once
#include "base/clock.h"
#include "net/event_loop.h"

namespace culvert::agent {

// What ends the waits of an agent's parts: its stop, or a network from which another attempt may succeed.
// Lives on the agent's loop.
class Lifetime {
 public:
  explicit Lifetime(net::EventLoop& loop) : loop_(loop), wake_(loop) {}

  bool is_stopping() const { return is_stopping_; }
  void stop() {
    is_stopping_ = true;
    wake_.notify();
  }
  // Ends every pause that runs now.
  void wake() { wake_.notify(); }

  // Ends early at stop() and wake().
  net::Task<> pause(Duration wait) {
    if (is_stopping_) co_return;
    co_await wake_.wait_until(loop_.now() + wait);
  }
  // Returns after stop().
  net::Task<> stopped() {
    while (!is_stopping_) co_await wake_.wait();
  }

 private:
  net::EventLoop& loop_;
  net::Notify wake_;
  bool is_stopping_ = false;
};

}  // namespace culvert::agent
