#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>

#include "base/clock.h"

namespace culvert::tunnel {

// Bytes a second that several pumps share, on any threads. What has moved is charged; a pump that is told to
// wait moves nothing until then, so that the rate holds over more than kBurst however large the parts are.
class ByteBudget {
 public:
  // So much of a second's bytes may move at once.
  static constexpr Duration kBurst = std::chrono::milliseconds(50);

  // 0: no limit.
  explicit ByteBudget(uint64_t per_second = 0) : per_second_(per_second) {}
  ByteBudget(const ByteBudget&) = delete;

  // For what comes: what is still to be paid at the old rate is forgotten, because at a low one that may be
  // minutes.
  void set_rate(uint64_t per_second) {
    if (per_second_.exchange(per_second) == per_second) return;
    ++changes_;
    paid_until_.store(0);
  }
  // How often the rate changed: whoever waits need not wait any longer.
  uint32_t changes() const { return changes_.load(); }

  bool is_limited() const { return per_second_.load(std::memory_order_relaxed) != 0; }

  // How long whoever moved these bytes has to wait; zero: not at all.
  Duration charge(uint64_t bytes, TimePoint now) {
    const uint32_t changes_before = changes();
    const uint64_t rate = per_second_.load();
    if (rate == 0) return Duration::zero();
    const int64_t start = (now - kBurst).time_since_epoch().count();
    const auto cost = static_cast<int64_t>(static_cast<double>(bytes) * kSecond / static_cast<double>(rate));
    int64_t paid = paid_until_.load(std::memory_order_relaxed);
    int64_t next = 0;
    do {
      next = std::max(paid, start) + cost;
    } while (!paid_until_.compare_exchange_weak(paid, next, std::memory_order_relaxed));
    if (changes() != changes_before) {
      paid_until_.store(0);  // it may be that of the old rate
      return Duration::zero();
    }
    return std::max(Duration(next) - now.time_since_epoch(), Duration::zero());
  }

  // For whoever begins: until what others have moved is paid.
  Duration debt(TimePoint now) const {
    if (!is_limited()) return Duration::zero();
    const Duration paid(paid_until_.load(std::memory_order_relaxed));
    return std::max(paid - now.time_since_epoch(), Duration::zero());
  }

 private:
  static constexpr double kSecond = static_cast<double>(Duration(std::chrono::seconds(1)).count());

  std::atomic<uint64_t> per_second_;
  std::atomic<uint32_t> changes_{0};
  std::atomic<int64_t> paid_until_{0};  // in Duration's units since the clock's epoch
};

}  // namespace culvert::tunnel
