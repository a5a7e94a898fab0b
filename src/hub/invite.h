#pragma once
#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/key.h"
#include "hub/tenant_limits.h"
#include "route/hostname.h"

namespace culvert::hub {

using InviteId = std::array<uint8_t, 16>;

// What the hub keeps of an invite: nothing in it lets anyone act as the tenant.
struct Invite {
  InviteId id;
  int64_t sequence = 0;  // of its creation: invites are listed in this order
  std::string name;
  PublicKey tenant;
  Sha256 secret_hash;  // HMAC of the invite secret under the database's hash key
  std::vector<route::HostPattern> hostnames;
  UnixTime created_at;
  std::optional<UnixTime> expires_at;
  bool revoked = false;
  bool suspended = false;
  Quotas quotas = {};
  // The TCP and UDP ports that its services may claim; none: every one that the hub's rules allow.
  std::vector<PortRange> ports = {};
  // Its tenant may enter hostnames that nothing grants it, once it has proven to have them.
  bool allow_custom_domains = false;
  // The hostnames that its tenant has entered and that are in force; not in the invite's record.
  std::vector<route::HostPattern> entered = {};

  bool expired(UnixTime now) const { return expires_at && *expires_at <= now; }
  bool live(UnixTime now) const { return !revoked && !expired(now); }
  // By the operator.
  bool is_granted(const route::HostPattern& wanted) const {
    return std::ranges::any_of(hostnames, [&](const auto& own) { return own.grants(wanted); });
  }
  // By the operator, or by what the tenant has entered.
  bool grants(const route::HostPattern& wanted) const {
    return is_granted(wanted) ||
           std::ranges::any_of(entered, [&](const auto& own) { return own.grants(wanted); });
  }
};

}  // namespace culvert::hub
