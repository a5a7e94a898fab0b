#include "hub/declaration_limits.h"

#include "base/log.h"
#include "hub/invites.h"

namespace culvert::hub {

bool DeclarationLimits::allow_source(const SocketAddr& client, TimePoint now) {
  auto limit = sources_.find(client.source_prefix());
  if (limit == sources_.end() || limit->second.would_allow(now)) return true;
  ++counters_.source_limited;
  if (source_log_.allow(now)) {
    log_warn("declarations_limited", "client={} total={}", client.ip_text(), counters_.source_limited);
  }
  return false;
}

void DeclarationLimits::count_refusal(const SocketAddr& client, TimePoint now) {
  // As below: dropping all is rare and costs one burst each.
  if (sources_.size() >= kMaxSources) sources_.clear();
  (void)sources_.try_emplace(client.source_prefix(), kSourceBurst, kSourceInterval).first->second.allow(now);
}

bool DeclarationLimits::allow_declaration(const InviteId& invite, const EndpointId& agent, TimePoint now) {
  bool allowed;
  if (RateLimit* renewals = leases_.renewals(invite, agent)) {
    allowed = renewals->allow(now);
  } else {
    // Removed invites leave entries behind; dropping all is rare and costs one burst each.
    if (invites_.size() >= 2 * Invites::kMax) invites_.clear();
    allowed = invites_.try_emplace(invite, kInviteBurst, kInviteInterval).first->second.allow(now);
  }
  if (!allowed) ++counters_.rate_limited;
  return allowed;
}

}  // namespace culvert::hub
