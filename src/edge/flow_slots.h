#pragma once
#include <cstdint>
#include <expected>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "base/key.h"
#include "base/rate_limit.h"
#include "edge/tenant_place.h"

namespace culvert::edge {

// Counts the flows of UDP ports over all workers, and those of each tenant, up to a limit for each; and
// limits the rate at which a tenant's flows begin. A tenant whose last flow has ended takes no memory.
// Thread-safe; outlives the slots that it gave.
class FlowSlots {
 public:
  struct Limits {
    size_t all;
    size_t of_tenant;
    uint32_t new_per_second;  // of a tenant, and as many at once
  };
  enum class Refusal : uint8_t { kRate, kTenantFull, kFull };

  using Slot = TenantPlace<FlowSlots>;  // of one flow

  explicit FlowSlots(const Limits& limits) : limits_(limits) {}
  FlowSlots(const FlowSlots&) = delete;

  // A tenant's rate is that of the time when its first flow began.
  void set_limits(const Limits& limits) {
    std::lock_guard lock(mutex_);
    limits_ = limits;
  }
  // For a flow that begins. What is over the rate is refused first, so that it does not cost another flow its
  // place.
  std::expected<Slot, Refusal> take(const PublicKey& tenant, TimePoint now) {
    std::lock_guard lock(mutex_);
    Tenant& its = of(tenant);
    if (!its.rate.would_allow(now)) return std::unexpected(Refusal::kRate);
    if (its.flows >= limits_.of_tenant) return std::unexpected(Refusal::kTenantFull);
    if (flows_ >= limits_.all) return std::unexpected(Refusal::kFull);
    (void)its.rate.allow(now);
    ++its.flows;
    ++flows_;
    return Slot(this, tenant);
  }
  size_t size() const {
    std::lock_guard lock(mutex_);
    return flows_;
  }

 private:
  friend Slot;
  struct Tenant {
    RateLimit rate;
    size_t flows = 0;
  };

  Tenant& of(const PublicKey& tenant) {
    const auto found = tenants_.find(tenant);
    if (found != tenants_.end()) return found->second;
    const RateLimit rate(limits_.new_per_second, Duration(std::chrono::seconds(1)) / limits_.new_per_second);
    return tenants_.emplace(tenant, Tenant{rate}).first->second;
  }
  void give_back(const PublicKey& tenant) {
    std::lock_guard lock(mutex_);
    --flows_;
    const auto found = tenants_.find(tenant);
    // What is left of its rate is forgotten: it had no flow for as long as the idle timeout.
    if (--found->second.flows == 0) tenants_.erase(found);
  }

  mutable std::mutex mutex_;
  Limits limits_;
  std::unordered_map<PublicKey, Tenant> tenants_;
  size_t flows_ = 0;
};

}  // namespace culvert::edge
