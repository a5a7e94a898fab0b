#pragma once
#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/key.h"
#include "base/rate_limit.h"
#include "hub/hubs.h"
#include "hub/invite.h"
#include "hub/record.h"
#include "hubapi/declaration.h"
#include "route/liveness.h"
#include "route/snapshot.h"

namespace culvert::hub {

// What an agent declares besides its hostnames, and what its invite may have.
struct LeaseTerms {
  std::vector<hubapi::DeclaredPort> ports = {};  // that the invite has claimed for these services
  bool is_proven = false;                        // the declaration is signed by the agent's key
  bool is_exclusive = false;
  TenantLimits limits = {};
  // Whether no other invite has a more specific grant of a hostname; not set: none has.
  std::function<bool(const route::HostPattern&)> owns = nullptr;
  // Why nobody may serve a hostname; not set: there is no such name.
  std::function<std::optional<std::string>(const route::HostPattern&)> why_not = nullptr;
  // The only TLS mode in which the tenant's own entry lets a hostname be served; none: either.
  std::function<std::optional<route::TlsMode>(const route::HostPattern&)> mode_of = nullptr;
};

// Who serves what right now: one lease for each agent, gone when it is not renewed, when its agent or invite
// ends. In force at once and stored soon after, so that another start of the hub goes on with them; when they
// were renewed is not stored. A declaration renews it, and so does a tunnel that an edge hears. Sans-I/O.
// Several agents of one invite may hold the same hostname (replicas) in the same TLS mode, or the same port
// for the same service; different invites never do.
class Leases {
 public:
  // An agent may miss two renewals in a row before its names go.
  static constexpr Duration kLifetime = std::chrono::seconds(90);
  static constexpr Duration kRenewAfter = std::chrono::seconds(30);
  // When an agent that was told of no edge should ask again: one may be back in a moment, and nothing else
  // would tell the agent. Together they ask 300 times a second at most.
  static Duration look_again(size_t agents) {
    constexpr Duration kLeast = std::chrono::seconds(3);
    return std::clamp<Duration>(std::chrono::seconds(agents / 300), kLeast, kRenewAfter);
  }
  static constexpr size_t kMaxPerInvite = TenantLimits::kMostAgents;
  // Renewals of each lease. An agent whose tunnels fail asks every 2 s on average (its back-off stops at 4
  // s). One that asks more often is still renewed once in each interval, 45 times in a lifetime.
  static constexpr uint32_t kRenewBurst = 20;
  static constexpr Duration kRenewInterval = std::chrono::seconds(2);
  // An agent whose tunnel was not heard for this long no longer stands in the way of another TLS mode. The
  // same as the edge's route::Picker::kSilence: three keep-alives of the agent.
  static constexpr Duration kSilence = std::chrono::seconds(7);
  // A tunnel that closed without a goodbye is opened again within this time, or its agent is taken for dead.
  static constexpr Duration kReturnTime = std::chrono::seconds(3);
  // Where several hubs share a database, each lease has a keeper, the hub that ends it. One that has not
  // heard the agent for this long lets go of the lease, and another hub that has takes it.
  static constexpr Duration kLetGoAfter = std::chrono::seconds(60);
  // Wall clocks can be set: the expiry of invites is checked at least this often.
  static constexpr Duration kMaxWallWait = std::chrono::seconds(30);

  // Grants, renews or replaces the agent's lease; one verdict for each service, in order. A service is
  // refused alone; an agent with no accepted service holds no lease. A hostname in another TLS mode than its
  // holders' is refused while one of them lives, and taken from them otherwise: the newest declaration wins.
  // An agent lives for kSilence from its first declaration, and then while its tunnel is heard. `invite` is
  // live. A lease of another invite gives way to a declaration that is proven, if it is not itself. Errors,
  // which change nothing: kConflict, the agent's id is in use by another invite, or why_evicted(); kLimit,
  // the invite has as many agents as it may.
  //
  // An exclusive declaration ends the leases of the invite's other agents. They stay evicted while its own
  // lasts, also if they say that they are exclusive: two such agents would end each other's leases for ever.
  // A later agent that is exclusive evicts the one before.
  Result<std::vector<hubapi::ServiceVerdict>> declare(const Invite& invite, const EndpointId& agent,
                                                      const std::vector<hubapi::DeclaredService>& services,
                                                      TimePoint now, LeaseTerms terms = {});
  // Why an agent of the invite gets no lease because of one that is exclusive; nullopt: it may.
  std::optional<Error> why_evicted(const InviteId& invite, const EndpointId& agent, bool is_exclusive) const;

  // Another agent that lives and serves a port.
  struct Rival {
    EndpointId agent;
    TimePoint lives_until;
  };
  std::optional<Rival> rival(const route::PublicPort& port, const EndpointId& agent, TimePoint now) const;
  // Whether an agent other than `except` holds it, alive or not.
  bool is_held(const route::PublicPort& port, const std::optional<EndpointId>& except = std::nullopt) const;
  // Agents but this one that live and share what matches.
  size_t others(const route::Match& match, const EndpointId& agent, TimePoint now) const;
  // Nobody holds it any more: its tenant has lost it.
  void end_match(const route::Match& match);
  // Ports that are held since the last call, or no longer.
  std::vector<route::PublicPort> take_changed_ports() { return std::exchange(changed_ports_, {}); }
  // The rate of the renewals of the lease that `agent` holds of this invite; nullptr when it holds none.
  RateLimit* renewals(const InviteId& invite, const EndpointId& agent);
  // An edge heard the agent's tunnel: what it declared last stays leased for kLifetime from then. Nothing
  // without a lease: neither a revocation nor an expiry is undone.
  void heard(const route::AgentHeard& heard);
  // An edge hears the agent from now on, until it says otherwise: meanwhile its lease does not end. Several
  // edges may; whether it holds a lease does not matter.
  void begin_hearing(const EndpointId& agent) { ++hearing_[agent]; }
  // One of these edges does not any more. Without another one the agent lives until `lives_until`, and its
  // lease goes on for kLifetime.
  void end_hearing(const EndpointId& agent, TimePoint now, TimePoint lives_until);
  // Whether the agent was heard within kSilence, as far as this hub knows.
  bool lives(const EndpointId& agent, TimePoint now) const;
  // Its tunnel closed without a goodbye.
  void tunnel_closed(const EndpointId& agent, TimePoint now);
  void end_agent(const EndpointId& agent);
  void end_invite(const InviteId& invite);
  // Whether an invite's agents may serve this now; not set: they may.
  using MayServe = std::function<bool(const hubapi::DeclaredService&)>;
  // The invite was changed, or another that overlaps it: what its agents may not serve any more is lost, and
  // its routes follow its suspension and quota. Of hostnames above the limit the last lose their agents. Of
  // agents those end that are silent for longest; hubs that share them do not know that of each other's, and
  // end those with the lowest ids.
  void set_invite(const Invite& invite, const MayServe& may_serve, const TenantLimits& limits = {});
  // These hostnames of the invite, for which none is reserved, have a route also while no agent serves them.
  void set_reserved(const Invite& invite, const std::vector<route::HostPattern>& hostnames);
  void clear_reserved(const InviteId& invite);
  bool has_reserved() const { return !reserved_.empty(); }

  static constexpr std::string_view kKind = "lease";
  // A record of kKind, as it is in the database from now on. A lease that another start of the hub, or
  // another hub, has granted is taken over as far as its agent may serve it, and lives from now on like one
  // that was just renewed. `invite` is that of the record, nullptr when there is none that is live.
  void apply(const Record& record, const Invite* invite, TimePoint now, const MayServe& may_serve = nullptr);
  // The hubs that share the database.
  Hubs& hubs() { return hubs_; }
  const Hubs& hubs() const { return hubs_; }
  // The hub `id` has ended: what it kept ends unless another one hears it.
  void hub_ended(std::string_view id, TimePoint now);
  // The invite that a record of kKind names; nullopt: it is damaged.
  static std::optional<InviteId> invite_of(const Record& record);
  // What the database does not have yet.
  Batch unstored() const;
  bool has_unstored() const { return !unstored_.empty(); }
  bool is_unstored(const EndpointId& agent) const { return unstored_.contains(agent); }

  // Ends what is over by now. Cheap when nothing can be.
  void expire(TimePoint now, UnixTime wall);
  // When expire() has work next; nullopt without leases.
  std::optional<TimePoint> next_expiry(TimePoint now, UnixTime wall) const;

  // What became of the routes since the last call; nullopt when they are the same. Each delta follows the one
  // before.
  std::optional<route::Delta> take_delta();
  // All routes as of now, with the version of the last delta. Costs O(routes).
  route::SnapshotPtr snapshot() const;
  // At most `limit` of them, in the order of their patterns, beginning behind `after`.
  std::vector<route::Route> routes_after(std::string_view after, size_t limit) const;
  size_t size() const { return leases_.size(); }
  std::optional<route::Route> route_named(std::string_view pattern) const;
  size_t route_count() const { return names_.size(); }

  struct Lease {
    InviteId invite;
    std::optional<UnixTime> invite_expires_at;
    std::vector<hubapi::DeclaredService> services;
    TimePoint ends_at;
    bool is_proven;
    TimePoint lives_until;                         // from then on its agent is silent
    TimePoint renewed_at;                          // at this hub
    std::string keeper;                            // the hub that ends it; empty: none
    std::vector<hubapi::DeclaredPort> ports = {};  // each with its number
    bool is_exclusive = false;
    std::vector<EndpointId> evicted = {};  // by this one or those before it, the latest last
    RateLimit renewals{kRenewBurst, kRenewInterval};

    bool is_empty() const { return services.empty() && ports.empty(); }
  };
  using LeaseMap = std::map<EndpointId, Lease>;
  const LeaseMap& all() const { return leases_; }

 private:
  // What at least one agent holds, or what is reserved.
  struct Name {
    route::Match match;
    InviteId invite;
    PublicKey tenant;
    std::optional<route::TlsMode> tls_mode;  // of a hostname
    std::string service;                     // of a port
    std::vector<EndpointId> agents;          // by their ids, so that all hubs make one route of them
    bool is_suspended = false;
    route::OwnLimits own_limits = {};
    std::optional<UnixTime> ends_at = {};
    bool is_reserved = false;

    // What every route of the invite has of it.
    void follow(const Invite& of);
  };
  struct OfInvite {
    std::set<EndpointId> agents;          // that hold leases
    std::optional<EndpointId> exclusive;  // one of them
    size_t hostnames = 0;                 // that these hold
  };

  // Whatever the quota.
  hubapi::ServiceVerdict judge(const Invite& invite, const EndpointId& agent,
                               const hubapi::DeclaredService& service, TimePoint now) const;
  std::vector<hubapi::ServiceVerdict> judge_all(const Invite& invite, const EndpointId& agent,
                                                const std::vector<hubapi::DeclaredService>& services,
                                                const LeaseTerms& terms, TimePoint now) const;
  void keep_within(const InviteId& invite, const TenantLimits& limits);
  // Whether an agent of the invite may if the invite's others hold nothing.
  bool may_serve_alone(const Invite& invite, const hubapi::DeclaredService& service,
                       const LeaseTerms& terms) const;
  void evict_others(const InviteId& invite, const EndpointId& agent, std::vector<EndpointId>& evicted);
  bool is_kept_elsewhere(const Lease& lease) const;
  // After this hub has heard the agent, or has learnt that nobody keeps its lease.
  void keep(const EndpointId& agent, Lease& lease, TimePoint now);
  // Takes hostnames from agents that hold them in another mode than `services`.
  void take_over(const EndpointId& agent, const std::vector<hubapi::DeclaredService>& services);
  void adopt(const EndpointId& agent, const Invite& invite, Lease lease, TimePoint now,
             const MayServe& may_serve);
  // A lease of an agent that holds none.
  void begin(const EndpointId& agent, const Invite& invite, Lease lease);
  Record record_of(const EndpointId& agent) const;
  void hold(const Invite& invite, const EndpointId& agent,
            const std::vector<hubapi::DeclaredService>& services);
  void hold(const Invite& invite, const EndpointId& agent, const std::vector<hubapi::DeclaredPort>& ports);
  void hold(const Invite& invite, const EndpointId& agent, Name wanted);
  void drop(const EndpointId& agent, const std::vector<hubapi::DeclaredService>& services);
  void drop(const EndpointId& agent, const std::vector<hubapi::DeclaredPort>& ports);
  void drop(const EndpointId& agent, const route::Match& match);
  void held_changed(const Name& name, int change);
  LeaseMap::iterator end(LeaseMap::iterator lease);
  static route::Route route_of(const Name& name);
  // Before the route changes.
  void remember(const std::string& match);

  Hubs hubs_;
  LeaseMap leases_;
  std::set<EndpointId> unstored_;      // agents whose lease, or whose want of one, the database does not have
  std::map<std::string, Name> names_;  // by the text of the match
  std::unordered_map<EndpointId, unsigned> hearing_;  // by how many edges it is heard
  std::map<InviteId, OfInvite> invites_;
  std::map<InviteId, std::vector<std::string>> reserved_;  // hostnames
  // Of leases that have ended: a port that moves ends one, and the agent's next lease of the invite goes on
  // with its rate. Dropped all at once when there are too many, which costs a burst each.
  static constexpr size_t kMaxFormerRates = 4096;
  std::map<std::pair<InviteId, EndpointId>, RateLimit> former_rates_;
  std::vector<route::PublicPort> changed_ports_;
  TimePoint earliest_end_ = TimePoint::max();                  // no lease ends before
  UnixTime earliest_wall_end_ = UnixTime::max();               // no lease's invite expires before
  std::map<std::string, std::optional<route::Route>> before_;  // of names that changed since the last delta
  uint64_t version_ = 0;                                       // of the last delta
};

}  // namespace culvert::hub
