#include "hub/request_limits.h"

#include <fmt/format.h>

#include "base/log.h"
#include "hub/edges.h"
#include "hub/invites.h"

namespace culvert::hub {
namespace {

// Removed invites and edges, and sources of long ago, leave entries behind; dropping all is rare and costs
// one burst each.
template <class Map>
RateLimit& limit_of(Map& limits, const typename Map::key_type& key, size_t most, uint32_t burst,
                    Duration interval) {
  if (limits.size() >= most) limits.clear();
  return limits.try_emplace(key, burst, interval).first->second;
}

std::string key_of(const SocketAddr& client, std::string_view signer) {
  return fmt::format("{} {}", client.source_prefix(), signer);
}

}  // namespace

bool RequestLimits::allow_source(const SocketAddr& client, TimePoint now, std::string_view claimed) {
  const auto may = [&](std::string_view signer) {
    const auto limit = sources_.find(key_of(client, signer));
    return limit == sources_.end() || limit->second.would_allow(now);
  };
  if (may({}) && (claimed.empty() || may(claimed))) return true;
  ++counters_.source_limited;
  if (source_log_.allow(now)) {
    log_warn("declarations_limited", "client={} total={}", client.ip_text(), counters_.source_limited);
  }
  return false;
}

bool RequestLimits::allow_guess(const SocketAddr& client, TimePoint now) {
  const std::string key = key_of(client, "operator key");
  const bool is_allowed = limit_of(sources_, key, kMaxSources, kSourceBurst, kSourceInterval).allow(now);
  if (!is_allowed) ++counters_.source_limited;
  return is_allowed;
}

void RequestLimits::count_refusal(const SocketAddr& client, TimePoint now, std::string_view signer) {
  (void)limit_of(sources_, key_of(client, signer), kMaxSources, kSourceBurst, kSourceInterval).allow(now);
}

bool RequestLimits::allow_declaration(const InviteId& invite, const EndpointId& agent, TimePoint now) {
  RateLimit* renewals = leases_.renewals(invite, agent);
  RateLimit& limit = renewals != nullptr
                         ? *renewals
                         : limit_of(invites_, invite, 2 * Invites::kMax, kInviteBurst, kInviteInterval);
  const bool is_allowed = limit.allow(now);
  if (!is_allowed) ++counters_.rate_limited;
  return is_allowed;
}

bool RequestLimits::allow_entry(const InviteId& invite, TimePoint now) {
  const bool is_allowed =
      limit_of(entries_, invite, 2 * Invites::kMax, kEntryBurst, kEntryInterval).allow(now);
  if (!is_allowed) ++counters_.rate_limited;
  return is_allowed;
}

bool RequestLimits::allow_edge(const EndpointId& edge, TimePoint now) {
  const bool is_allowed = limit_of(edges_, edge, 2 * Edges::kMax, kEdgeBurst, kEdgeInterval).allow(now);
  if (!is_allowed) ++counters_.edge_limited;
  return is_allowed;
}

}  // namespace culvert::hub
