#pragma once
#include "base/clock.h"
#include "net/event_loop.h"

namespace culvert::net {

// What ends the waits of parts that stop together: their stop, or a network from which another attempt may
// succeed. Lives on one loop.
class Lifetime {
 public:
  explicit Lifetime(EventLoop& loop) : loop_(loop), wake_(loop) {}

  bool is_stopping() const { return is_stopping_; }
  void stop() {
    is_stopping_ = true;
    wake_.notify();
  }
  // Ends every pause that runs now.
  void wake() { wake_.notify(); }

  // Ends early at stop() and wake().
  Task<> pause(Duration wait) {
    if (is_stopping_) co_return;
    co_await wake_.wait_until(loop_.now() + wait);
  }
  // Returns after stop().
  Task<> stopped() {
    while (!is_stopping_) co_await wake_.wait();
  }

 private:
  EventLoop& loop_;
  Notify wake_;
  bool is_stopping_ = false;
};

}  // namespace culvert::net
