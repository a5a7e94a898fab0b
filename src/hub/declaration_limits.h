#pragma once
#include <map>
#include <string>
#include <unordered_map>

#include "base/rate_limit.h"
#include "base/socket_addr.h"
#include "hub/api_counters.h"
#include "hub/invite.h"
#include "hub/leases.h"

namespace culvert::hub {

// How often agents may declare, and how often a source may be refused whatever it asks for.
class DeclarationLimits {
 public:
  // Declarations of agents without a lease, for each invite: all that it may have at once, as after a restart
  // of the hub. Renewals are not among them: each lease has a rate of its own (Leases::kRenewBurst), so that
  // no number of agents can make another lose its lease.
  static constexpr uint32_t kInviteBurst = Leases::kMaxPerInvite;
  static constexpr Duration kInviteInterval = std::chrono::milliseconds(250);
  // Refused requests from each source (SocketAddr::source_prefix), with a signature or an operator's key:
  // past them, what comes from there is refused before its signature is verified and the store is asked.
  // Agents that hold a lease and operators with a right key are exempt. Two fleets may stand behind one
  // address, and refused agents ask every few minutes.
  static constexpr uint32_t kSourceBurst = 2 * Leases::kMaxPerInvite;
  static constexpr Duration kSourceInterval = std::chrono::milliseconds(250);
  static constexpr size_t kMaxSources = 4096;

  // Both outlive it.
  DeclarationLimits(Leases& leases, ApiCounters& counters) : leases_(leases), counters_(counters) {}

  // Whether a source may still be refused; counts those that may not.
  bool allow_source(const SocketAddr& client, TimePoint now);
  void count_refusal(const SocketAddr& client, TimePoint now);
  // Whether an agent of the invite may declare now; counts those that may not.
  bool allow_declaration(const InviteId& invite, const EndpointId& agent, TimePoint now);

  size_t counted_sources() const { return sources_.size(); }

 private:
  Leases& leases_;
  ApiCounters& counters_;
  std::map<InviteId, RateLimit> invites_;               // only those whose secret was shown
  std::unordered_map<std::string, RateLimit> sources_;  // by prefix; only of those that were refused
  RateLimit source_log_{5, std::chrono::seconds(10)};
};

}  // namespace culvert::hub
