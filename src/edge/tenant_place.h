#pragma once
#include <utility>

#include "base/key.h"

namespace culvert::edge {

// One of a tenant's places with `Owner`, which outlives it; given back when destroyed, by give_back(tenant).
template <class Owner>
class TenantPlace {
 public:
  TenantPlace(TenantPlace&& other) noexcept
      : owner_(std::exchange(other.owner_, nullptr)), tenant_(other.tenant_) {}
  TenantPlace& operator=(TenantPlace&& other) noexcept {
    std::swap(owner_, other.owner_);
    std::swap(tenant_, other.tenant_);
    return *this;
  }
  ~TenantPlace() {
    if (owner_ != nullptr) owner_->give_back(tenant_);
  }

 private:
  friend Owner;
  TenantPlace(Owner* owner, const PublicKey& tenant) : owner_(owner), tenant_(tenant) {}

  Owner* owner_;
  PublicKey tenant_;
};

}  // namespace culvert::edge
