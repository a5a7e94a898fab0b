#pragma once
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "net/event_loop.h"
#include "tunnel/byte_budget.h"

namespace culvert::tunnel {

// Keeps one pump within the budgets that it shares with others: what it moved counts, and while more moved
// than may it is paused. Of one loop.
class Pacer {
 public:
  // They outlive it.
  Pacer(net::EventLoop& loop, std::vector<ByteBudget*> budgets)
      : loop_(loop), budgets_(std::move(budgets)), timer_(loop) {}
  Pacer(const Pacer&) = delete;

  // `resume` is called after each pause, and may destroy it. The first pause is until what others have moved
  // is paid: otherwise short connections would each move a part before they count.
  void start(std::function<void()> resume);
  void charge(uint64_t bytes);
  bool is_paused() const { return paused_until_ != TimePoint::min() && loop_.now() < paused_until_; }
  // No pause from now on, and nothing counts any more.
  void stop();

 private:
  uint32_t changes() const;
  void pause(Duration wait_for, uint32_t changes_before);
  void arm();
  void look();

  net::EventLoop& loop_;
  std::vector<ByteBudget*> budgets_;
  net::Timer timer_;
  std::function<void()> resume_;
  TimePoint paused_until_ = TimePoint::min();
  uint32_t changes_ = 0;  // of the budgets, when the pause began
};

}  // namespace culvert::tunnel
