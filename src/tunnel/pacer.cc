#include "tunnel/pacer.h"

#include <algorithm>
#include <utility>

namespace culvert::tunnel {
namespace {

// How often one that waits long looks whether a budget has changed.
constexpr Duration kLook = std::chrono::seconds(1);

}  // namespace

void Pacer::start(std::function<void()> resume) {
  resume_ = std::move(resume);
  const uint32_t before = changes();
  Duration wait{};
  for (const ByteBudget* budget : budgets_) wait = std::max(wait, budget->debt(loop_.now()));
  pause(wait, before);
}

void Pacer::charge(uint64_t bytes) {
  const bool is_limited = std::ranges::any_of(budgets_, &ByteBudget::is_limited);
  if (!is_limited) return;
  const uint32_t before = changes();
  const TimePoint now = loop_.now();
  Duration wait{};
  for (ByteBudget* budget : budgets_) wait = std::max(wait, budget->charge(bytes, now));
  pause(wait, before);
}

void Pacer::stop() {
  timer_.cancel();
  budgets_.clear();
  paused_until_ = TimePoint::min();
}

uint32_t Pacer::changes() const {
  uint32_t all = 0;
  for (const ByteBudget* budget : budgets_) all += budget->changes();
  return all;
}

void Pacer::pause(Duration wait_for, uint32_t changes_before) {
  if (wait_for == Duration::zero()) return;
  paused_until_ = loop_.now() + wait_for;
  changes_ = changes_before;
  arm();
}

void Pacer::arm() {
  timer_.after(std::min(paused_until_ - loop_.now(), kLook), [this] { look(); });
}

void Pacer::look() {
  if (is_paused() && changes() == changes_) return arm();
  paused_until_ = TimePoint::min();
  const auto resume = resume_;  // it may destroy this
  resume();
}

}  // namespace culvert::tunnel
