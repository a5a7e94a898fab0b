#pragma once
#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "base/key.h"
#include "edge/tenant_place.h"

namespace culvert::edge {

// Counts the public connections that each tenant's agents carry, over all workers, up to a limit for each
// tenant. A tenant without connections takes no memory. Thread-safe; outlives the slots that it gave.
class TenantSlots {
 public:
  using Slot = TenantPlace<TenantSlots>;  // of one connection

  explicit TenantSlots(size_t limit) : limit_(limit) {}
  TenantSlots(const TenantSlots&) = delete;

  size_t limit() const { return limit_.load(std::memory_order_relaxed); }
  // For what comes; connections that are there stay.
  void set_limit(size_t limit) { limit_.store(limit, std::memory_order_relaxed); }
  // What a tenant may have whose own limit this is; 0: it has none. Never more than limit().
  size_t limit_for(size_t own_limit) const { return own_limit == 0 ? limit() : std::min(own_limit, limit()); }
  // nullopt: the tenant has as many as it may.
  std::optional<Slot> take(const PublicKey& tenant, size_t own_limit = 0) {
    std::lock_guard lock(mutex_);
    auto count = counts_.try_emplace(tenant, 0).first;
    if (count->second >= limit_for(own_limit)) return std::nullopt;
    ++count->second;
    return Slot(this, tenant);
  }

 private:
  friend Slot;
  void give_back(const PublicKey& tenant) {
    std::lock_guard lock(mutex_);
    auto count = counts_.find(tenant);
    if (--count->second == 0) counts_.erase(count);
  }

  std::atomic<size_t> limit_;  // at least 1
  std::mutex mutex_;
  std::unordered_map<PublicKey, size_t> counts_;
};

}  // namespace culvert::edge
