#include "tls/certificates.h"

#include <algorithm>

namespace culvert::tls {

void Certificates::put(const std::string& name, IdentityPtr identity) {
  std::lock_guard lock(mutex_);
  public_.insert_or_assign(name, std::move(identity));
  leaves_.erase(name);
}

void Certificates::remove(const std::string& name) {
  std::lock_guard lock(mutex_);
  public_.erase(name);
}

Result<IdentityPtr> Certificates::leaf(const std::string& name) {
  std::lock_guard lock(mutex_);
  if (const auto found = public_.find(name); found != public_.end()) return found->second;
  UnixTime now = clock_();
  auto place = leaves_.find(name);
  // One from before the clock was set back may not be valid yet.
  if (place != leaves_.end() && place->second.issued_at <= now && now < place->second.renew_at) {
    place->second.last_use = ++uses_;
    return place->second.identity;
  }
  auto identity = ca_->issue(name, now);
  if (!identity) return std::unexpected(identity.error());
  if (place == leaves_.end() && leaves_.size() >= kMaxLeaves) {
    auto by_use = [](const auto& a, const auto& b) { return a.second.last_use < b.second.last_use; };
    leaves_.erase(std::min_element(leaves_.begin(), leaves_.end(), by_use));
  }
  UnixTime renew_at = now + (not_after(**identity) - now) * 2 / 3;
  leaves_.insert_or_assign(name, Leaf{*identity, now, renew_at, ++uses_});
  return *identity;
}

size_t Certificates::size() const {
  std::lock_guard lock(mutex_);
  return leaves_.size();
}

}  // namespace culvert::tls
