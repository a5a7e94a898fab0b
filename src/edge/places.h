#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <expected>
#include <limits>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/rate_limit.h"
#include "tunnel/byte_budget.h"

namespace culvert::edge {

// Counts what each holder has open over all workers, and limits that, the rate at which it begins more, and
// the bytes that it moves. A holder is a tenant, or where clients come from. Thread-safe; outlives the places
// that it gave.
//
// A holder is remembered until it could begin as much at once as one that was never seen, so that its rate
// cannot be reset by closing; of those that have nothing open, kMostResting at most.
template <class Key>
class Places {
 public:
  static constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();
  static constexpr size_t kMostResting = 65'536;

  struct Limits {
    size_t all = kNoLimit;          // of all holders together
    size_t each = kNoLimit;         // of one
    uint32_t all_per_second = 0;    // may begin, and as many at once; 0: no limit
    uint32_t each_per_second = 0;   // the same of one holder
    uint64_t bytes_per_second = 0;  // of one holder, both directions together; 0: no limit
  };
  // Of one holder, where it is less than that of each; 0: it has none.
  struct Own {
    size_t open = 0;
    uint32_t per_second = 0;
    uint64_t bytes_per_second = 0;
    bool operator==(const Own&) const = default;
  };
  enum class Refusal : uint8_t { kRate, kFull, kAllFull, kAllRate };  // the first two are the holder's own

 private:
  struct Entry {
    Entry(const Limits& limits, const Own& its_own)
        : own(its_own),
          rate(rate_of(least(limits.each_per_second, own.per_second))),
          bytes(least(limits.bytes_per_second, own.bytes_per_second)) {}
    Own own;
    RateLimit rate;
    tunnel::ByteBudget bytes;
    size_t open = 0;
    bool is_resting = false;  // it is in resting_
  };
  using Entries = std::unordered_map<Key, Entry>;

 public:
  // One of a holder's; given back when destroyed.
  class Place {
   public:
    Place(Place&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)), entry_(std::exchange(other.entry_, nullptr)) {}
    Place& operator=(Place&& other) noexcept {
      std::swap(owner_, other.owner_);
      std::swap(entry_, other.entry_);
      return *this;
    }
    ~Place() {
      if (owner_ != nullptr) owner_->give_back(*entry_);
    }
    // Lives as long as the place.
    tunnel::ByteBudget& bytes() const { return entry_->second.bytes; }

   private:
    friend Places;
    using Holder = typename Entries::value_type;
    Place(Places* owner, Holder* entry) : owner_(owner), entry_(entry) {}

    Places* owner_;
    Holder* entry_;
  };

  explicit Places(const Limits& limits) : limits_(limits), all_rate_(rate_of(limits.all_per_second)) {}
  Places(const Places&) = delete;

  Limits limits() const {
    std::lock_guard lock(mutex_);
    return limits_;
  }
  // For what comes; places that were given stay.
  void set_limits(const Limits& limits) {
    std::lock_guard lock(mutex_);
    limits_ = limits;
    all_rate_ = rate_of(limits.all_per_second);
    for (auto& [key, entry] : entries_) {
      entry.rate = rate_of(least(limits.each_per_second, entry.own.per_second));
      entry.bytes.set_rate(least(limits.bytes_per_second, entry.own.bytes_per_second));
    }
  }
  // For what comes, and for the bytes of what is open.
  void set_own(const Key& key, const Own& own) {
    std::lock_guard lock(mutex_);
    const auto found = entries_.find(key);
    if (found != entries_.end()) set_own(found->second, own);
  }

  struct Terms {
    Own own = {};              // this holder's
    size_t equal_part_of = 0;  // a holder of its equal part of these gets no more; 0: nothing is scarce
  };
  // What is over a rate is refused first, so that it costs nobody a place, and what is refused costs nothing
  // of a rate.
  std::expected<Place, Refusal> take(const Key& key, TimePoint now, Terms terms = {}) {
    std::lock_guard lock(mutex_);
    forget_rested(now);
    auto* holder = &*entries_.try_emplace(key, limits_, terms.own).first;
    Entry& its = holder->second;
    set_own(its, terms.own);
    const auto refusal = refusal_of(its, now, terms);
    if (refusal) {
      if (its.open == 0) rest(*holder);
      return std::unexpected(*refusal);
    }
    (void)its.rate.allow(now);
    (void)all_rate_.allow(now);
    if (its.open++ == 0) ++holders_;
    ++open_;
    return Place(this, holder);
  }
  // Of `own` and the limits of each, what counts.
  Own limits_for(const Own& own) const {
    std::lock_guard lock(mutex_);
    return {.open = limit_of(own),
            .per_second = least(limits_.each_per_second, own.per_second),
            .bytes_per_second = least(limits_.bytes_per_second, own.bytes_per_second)};
  }
  size_t size() const {
    std::lock_guard lock(mutex_);
    return open_;
  }
  // That are remembered.
  size_t holders() const {
    std::lock_guard lock(mutex_);
    return entries_.size();
  }

 private:
  static RateLimit rate_of(uint32_t per_second) {
    if (per_second == 0) return RateLimit(1, Duration::zero());
    return RateLimit(per_second, Duration(std::chrono::seconds(1)) / per_second);
  }
  // Of two limits of which 0 is none.
  template <class Number>
  static Number least(Number one, Number other) {
    return one == 0 || other == 0 ? std::max(one, other) : std::min(one, other);
  }
  size_t limit_of(const Own& own) const {
    return own.open == 0 ? limits_.each : std::min(own.open, limits_.each);
  }
  // A rate that does not change goes on from what was taken of it.
  void set_own(Entry& its, const Own& own) {
    if (its.own == own) return;
    const uint32_t rate = least(limits_.each_per_second, own.per_second);
    if (rate != least(limits_.each_per_second, its.own.per_second)) its.rate = rate_of(rate);
    its.bytes.set_rate(least(limits_.bytes_per_second, own.bytes_per_second));
    its.own = own;
  }
  std::optional<Refusal> refusal_of(const Entry& its, TimePoint now, const Terms& terms) const {
    if (!its.rate.would_allow(now)) return Refusal::kRate;
    if (its.open >= limit_of(its.own)) return Refusal::kFull;
    if (terms.equal_part_of > 0 && its.open > 0 && its.open >= terms.equal_part_of / holders_)
      return Refusal::kFull;
    if (open_ >= limits_.all) return Refusal::kAllFull;
    if (!all_rate_.would_allow(now)) return Refusal::kAllRate;
    return std::nullopt;
  }
  void give_back(typename Entries::value_type& holder) {
    std::lock_guard lock(mutex_);
    --open_;
    if (--holder.second.open > 0) return;
    --holders_;
    rest(holder);
  }
  void rest(typename Entries::value_type& holder) {
    if (!std::exchange(holder.second.is_resting, true)) resting_.push_back(&holder);
  }
  // Looks at more of them than a take() and its give_back() can add.
  void forget_rested(TimePoint now) {
    for (int looks = 0; looks < 2 && !resting_.empty(); ++looks) {
      auto* holder = resting_.front();
      Entry& its = holder->second;
      if (its.open == 0 && !its.rate.is_rested(now) && resting_.size() <= kMostResting) return;
      resting_.pop_front();
      its.is_resting = false;
      if (its.open == 0) entries_.erase(Key(holder->first));
    }
  }

  mutable std::mutex mutex_;
  Limits limits_;
  RateLimit all_rate_;
  Entries entries_;
  std::deque<typename Entries::value_type*> resting_;  // have nothing open, or had
  size_t open_ = 0;
  size_t holders_ = 0;  // that have something open
};

}  // namespace culvert::edge
