#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/key.h"
#include "hub/invite.h"
#include "hub/leases.h"
#include "hub/record.h"
#include "hub/tenant_limits.h"
#include "hubapi/declaration.h"

namespace culvert::hub {

// Which tenant's service has which public port, or range of them: no two overlap. A claim is in force when
// the database has it, unlike a lease: two hubs never give one port to two tenants. It lasts while a lease
// declares it and is reserved for some time afterwards; the end of its invite ends it. Sans-I/O.
class Claims {
 public:
  static constexpr std::string_view kKind = "claim";
  // A claim that no lease declares is its tenant's for so long: an agent that was away for some days, or that
  // got its port from the hub, must find the address that its users know. A quota counts such claims, and
  // what is declared takes the place of the oldest of them.
  static constexpr std::chrono::seconds kReserved = std::chrono::days(7);

  struct Claim {
    InviteId invite;
    std::string service;
    std::optional<UnixTime> idle_since = {};  // no lease declares it since then
    bool operator==(const Claim&) const = default;
  };

  // What an agent's declared ports come to. With `records` nothing is decided: they are to be committed, and
  // it is to be judged again. Without, the verdicts hold.
  struct Judgement {
    std::vector<hubapi::PortVerdict> verdicts;  // one for each declared port, in order
    std::vector<Record> records;
    std::vector<std::string> touches;  // for Ledger::Command
  };
  // `leases` says which services agents that live declare: what one of them serves stays where it is.
  Judgement judge(const Invite& invite, const EndpointId& agent,
                  std::span<const hubapi::DeclaredPort> declared, const TenantRules& rules,
                  const Leases& leases, TimePoint now) const;

  // Ports of the invite that it may not have any more: those outside of its grant, and those above its quota,
  // first what no lease declares, the oldest before, then the highest.
  std::vector<route::PublicPort> lost(const Invite& invite, const TenantRules& rules) const;

  // What the audit log says of a Judgement's records, which are not applied yet: claim.take and claim.free.
  std::vector<AuditEntry> audit_of(const std::vector<Record>& records, const std::string& actor,
                                   UnixTime wall) const;

  // A record of kKind, as it is in the database from now on.
  void apply(const Record& record);
  // nullptr: nobody's.
  const Claim* find(const route::PublicPort& port) const;
  const std::map<route::PublicPort, Claim>& all() const { return claims_; }
  std::vector<route::PublicPort> ports_of(const InviteId& invite) const;

  // Looks whether leases declare these ports, and those whose records came since the last call.
  void follow(const std::vector<route::PublicPort>& ports, const Leases& leases, UnixTime wall);
  // Ends what was reserved for long enough. Cheap when nothing was.
  void expire(UnixTime wall);
  void end(const route::PublicPort& port);
  void end_invite(const InviteId& invite);

  // What the database does not have yet.
  Batch unstored() const;
  bool has_unstored() const { return !unstored_.empty(); }

 private:
  using ClaimMap = std::map<route::PublicPort, Claim>;
  class Judge;

  void put(const route::PublicPort& port, Claim claim);
  void erase(const route::PublicPort& port);
  void set_idle(const route::PublicPort& port, bool is_idle, UnixTime wall);

  ClaimMap claims_;
  std::map<InviteId, std::set<route::PublicPort>> by_invite_;
  std::set<std::pair<UnixTime, route::PublicPort>> idle_;  // by the time since when
  std::set<route::PublicPort> damaged_;                    // in the database; nobody may claim them
  std::set<route::PublicPort> unstored_;
  std::set<route::PublicPort> to_follow_;
};

}  // namespace culvert::hub
