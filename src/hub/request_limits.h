#pragma once
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/key.h"
#include "base/rate_limit.h"
#include "base/socket_addr.h"
#include "hub/api_counters.h"
#include "hub/invite.h"
#include "hub/leases.h"

namespace culvert::hub {

// How often requests may come: refused ones from a source, signed ones of a tenant or an edge, wherever
// they come from. What is counted for a tenant or an edge was signed by its key: nobody uses up the rate of
// another.
class RequestLimits {
 public:
  // Declarations of agents without a lease, for each invite: all that it may have at once, as after a restart
  // of the hub. Renewals are not among them: each lease has a rate of its own (Leases::kRenewBurst), so that
  // no number of agents can make another lose its lease.
  static constexpr uint32_t kInviteBurst = Leases::kMaxPerInvite;
  static constexpr Duration kInviteInterval = std::chrono::milliseconds(250);
  // Requests of one tenant about its entries: each may ask name servers, and is written to the database. They
  // take nothing from its declarations.
  static constexpr uint32_t kEntryBurst = 20;
  static constexpr Duration kEntryInterval = std::chrono::seconds(2);
  // Requests of one edge. It reports every 2 s and when a tunnel closes, and all of its tunnels after a
  // restart of the hub: 100,000 are 125 reports (hubapi::kMaxReportedAgents). One that is refused reports all
  // of them again.
  static constexpr uint32_t kEdgeBurst = 600;
  static constexpr Duration kEdgeInterval = std::chrono::milliseconds(20);
  // Refused requests from each source (SocketAddr::source_prefix): past them, what comes from there is
  // refused before its signature is verified and the store is asked. Agents that hold a lease and known edges
  // are exempt. Wrong operator keys are counted alone, and right ones never refused. Two fleets may stand
  // behind one address, and refused agents ask every few minutes. Refusals of a known signer count for that
  // one at this source, and not for others behind the same address.
  static constexpr uint32_t kSourceBurst = 2 * Leases::kMaxPerInvite;
  static constexpr Duration kSourceInterval = std::chrono::milliseconds(250);
  static constexpr size_t kMaxSources = 4096;

  // Both outlive it.
  RequestLimits(Leases& leases, ApiCounters& counters) : leases_(leases), counters_(counters) {}

  // Whether a source may still be refused, and whether `claimed` may there, the name of who is said to have
  // signed; counts those that may not.
  bool allow_source(const SocketAddr& client, TimePoint now, std::string_view claimed = {});
  // Whether a source may show another wrong operator key, and counts it.
  bool allow_guess(const SocketAddr& client, TimePoint now);
  // `signer` is empty as long as it is not known to be a tenant's.
  void count_refusal(const SocketAddr& client, TimePoint now, std::string_view signer = {});
  // Whether an agent of the invite may declare now; counts those that may not. Like the next two, only for
  // what the tenant or the edge has signed.
  bool allow_declaration(const InviteId& invite, const EndpointId& agent, TimePoint now);
  bool allow_entry(const InviteId& invite, TimePoint now);
  bool allow_edge(const EndpointId& edge, TimePoint now);

  size_t counted_sources() const { return sources_.size(); }

 private:
  Leases& leases_;
  ApiCounters& counters_;
  std::map<InviteId, RateLimit> invites_;
  std::map<InviteId, RateLimit> entries_;
  std::map<EndpointId, RateLimit> edges_;
  // By prefix, and the signer behind it; only of those that were refused.
  std::unordered_map<std::string, RateLimit> sources_;
  RateLimit source_log_{5, std::chrono::seconds(10)};
};

}  // namespace culvert::hub
