#include "hub/leases.h"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <unordered_map>

#include <boost/json/serialize.hpp>

#include "base/check.h"
#include "base/json.h"
#include "base/log.h"
#include "hub/invite_record.h"

namespace culvert::hub {
namespace {

namespace json = boost::json;

// Those of `services` that are not among `others` with the same mode.
std::vector<hubapi::DeclaredService> without(const std::vector<hubapi::DeclaredService>& services,
                                             const std::vector<hubapi::DeclaredService>& others) {
  std::unordered_map<std::string_view, route::TlsMode> modes;
  for (const auto& other : others) modes.emplace(other.hostname.text(), other.tls_mode);
  std::vector<hubapi::DeclaredService> rest;
  for (const auto& service : services) {
    auto other = modes.find(service.hostname.text());
    if (other == modes.end() || other->second != service.tls_mode) rest.push_back(service);
  }
  return rest;
}

// One agent has few ports (hubapi::kMaxServices).
std::vector<hubapi::DeclaredPort> without(const std::vector<hubapi::DeclaredPort>& ports,
                                          const std::vector<hubapi::DeclaredPort>& others) {
  std::vector<hubapi::DeclaredPort> rest;
  for (const auto& port : ports) {
    if (std::ranges::find(others, port) == others.end()) rest.push_back(port);
  }
  return rest;
}

struct StoredLease {
  bool is_proven;
  std::string keeper;
  std::vector<hubapi::DeclaredService> services;
  std::vector<hubapi::DeclaredPort> ports;
  bool is_exclusive;
  std::vector<EndpointId> evicted;
};

Result<StoredLease> read_lease(std::string_view text) {
  constexpr std::string_view kWhat = "the lease's record";
  auto body = parse_json_object(kWhat, text);
  if (!body) return std::unexpected(body.error());
  JsonReader reader(kWhat, *body);
  StoredLease stored{.is_proven = reader.boolean("is_proven"),
                     .keeper = std::string(reader.optional_text("hub")),
                     .services = {},
                     .ports = {},
                     .is_exclusive = reader.has("exclusive") && reader.boolean("exclusive"),
                     .evicted = {}};
  for (const json::value& entry : reader.array("services")) {
    if (!entry.is_object()) return fail(ErrorCode::kInvalid, "{}: a service is not an object", kWhat);
    JsonReader service(kWhat, entry.get_object());
    auto hostname = route::HostPattern::parse(service.text("hostname"));
    auto mode = route::parse_tls_mode(service.text("tls_mode"));
    if (!hostname || !mode) return fail(ErrorCode::kInvalid, "{}: a service is damaged", kWhat);
    stored.services.push_back({std::move(*hostname), *mode});
  }
  if (reader.has("ports")) {
    for (const json::value& entry : reader.array("ports")) {
      if (!entry.is_object()) return fail(ErrorCode::kInvalid, "{}: a port is not an object", kWhat);
      JsonReader port(kWhat, entry.get_object());
      auto match = route::Match::parse(port.text("port"));
      std::string name(port.text("service"));
      if (!match || !match->port() || port.error())
        return fail(ErrorCode::kInvalid, "{}: a port is damaged", kWhat);
      stored.ports.push_back(
          {match->port()->protocol, std::move(name), match->port()->number, match->port()->more});
    }
  }
  if (reader.has("evicted")) {
    for (const std::string& agent : reader.texts("evicted")) {
      auto id = PublicKey::parse(agent);
      if (!id) return std::unexpected(id.error());
      stored.evicted.push_back(*id);
    }
  }
  if (reader.error()) return std::unexpected(*reader.error());
  return stored;
}

}  // namespace

hubapi::ServiceVerdict Leases::judge(const Invite& invite, const EndpointId& agent,
                                     const hubapi::DeclaredService& service, TimePoint now) const {
  const std::string& hostname = service.hostname.text();
  auto refused = [&](std::string reason) {
    return hubapi::ServiceVerdict{hostname, false, std::move(reason)};
  };
  if (!invite.grants(service.hostname)) {
    std::string list;
    for (const auto& own : invite.hostnames) list += (list.empty() ? "" : ", ") + own.text();
    return refused(fmt::format("the invite does not grant {}; it grants {}", hostname, list));
  }
  auto held = names_.find(hostname);
  if (held == names_.end()) return {hostname, true, ""};
  const Name& name = held->second;
  // A lease of another invite that gives way (declare) no longer holds it then.
  const bool is_freed = name.agents == std::vector{agent} && !name.is_reserved;
  if (name.invite != invite.id && !is_freed)
    return refused(fmt::format("{} is held by another invite", hostname));
  if (name.agents.empty() || name.tls_mode == service.tls_mode) return {hostname, true, ""};
  for (const EndpointId& other : name.agents) {
    if (other == agent || !lives(other, now)) continue;
    auto verdict = refused(fmt::format(
        "conflict with agent {}, which is connected and serves {} as {}, not as {}; agents of one "
        "hostname must declare the same mode. Stop that agent, or declare its mode",
        other.short_text(), hostname, route::to_string(*name.tls_mode), route::to_string(service.tls_mode)));
    const Lease& held_by_other = leases_.at(other);
    const TimePoint silent_at = hearing_.contains(other) ? now + kSilence : held_by_other.lives_until;
    // One second later than the other may be found silent; when another hub hears it, that hub tells later.
    verdict.retry_after =
        is_kept_elsewhere(held_by_other)
            ? std::chrono::duration_cast<std::chrono::seconds>(kRenewAfter)
            : std::chrono::ceil<std::chrono::seconds>(silent_at - now) + std::chrono::seconds(1);
    return verdict;
  }
  return {hostname, true, ""};
}

bool Leases::lives(const EndpointId& agent, TimePoint now) const {
  auto lease = leases_.find(agent);
  return lease != leases_.end() &&
         (hearing_.contains(agent) || now < lease->second.lives_until || is_kept_elsewhere(lease->second));
}

bool Leases::is_kept_elsewhere(const Lease& lease) const {
  return hubs_.is_shared() && lease.keeper != hubs_.self() && hubs_.lives(lease.keeper);
}

void Leases::keep(const EndpointId& agent, Lease& lease, TimePoint now) {
  if (hearing_.contains(agent)) lease.renewed_at = std::max(lease.renewed_at, now);
  if (!hubs_.is_shared() || lease.keeper == hubs_.self() || hubs_.lives(lease.keeper)) return;
  if (lease.renewed_at + kLetGoAfter <= now) return;
  lease.keeper = hubs_.self();
  unstored_.insert(agent);
  earliest_end_ = std::min(earliest_end_, lease.renewed_at + kLetGoAfter);
}

void Leases::hub_ended(std::string_view id, TimePoint now) {
  for (auto& [agent, lease] : leases_) {
    if (lease.keeper != id) continue;
    lease.ends_at = std::max(lease.ends_at, now + kLifetime);
    earliest_end_ = std::min(earliest_end_, lease.ends_at);
    keep(agent, lease, now);
  }
}

std::vector<hubapi::ServiceVerdict> Leases::judge_all(const Invite& invite, const EndpointId& agent,
                                                      const std::vector<hubapi::DeclaredService>& services,
                                                      const LeaseTerms& terms, TimePoint now) const {
  const auto is_shared = [&](const std::string& hostname) {
    const auto name = names_.find(hostname);
    return name != names_.end() && name->second.invite == invite.id &&
           std::ranges::any_of(name->second.agents, [&](const auto& other) { return other != agent; });
  };
  // Those that this agent holds alone are declared once more, or gone.
  const auto of_invite = invites_.find(invite.id);
  size_t hostnames = of_invite == invites_.end() ? 0 : of_invite->second.hostnames;
  const auto held = leases_.find(agent);
  if (held != leases_.end() && held->second.invite == invite.id) {
    for (const auto& service : held->second.services) hostnames -= is_shared(service.hostname.text()) ? 0 : 1;
  }
  std::vector<hubapi::ServiceVerdict> verdicts;
  for (const auto& service : services) {
    verdicts.push_back(judge(invite, agent, service, now));
    hubapi::ServiceVerdict& verdict = verdicts.back();
    if (verdict.accepted && terms.owns && !terms.owns(service.hostname)) {
      verdict.accepted = false;
      verdict.reason = fmt::format(
          "{} is another tenant's: its grant is more specific than this invite's; choose another name",
          verdict.hostname);
    }
    if (verdict.accepted && terms.why_not) {
      if (auto why_not = terms.why_not(service.hostname))
        verdict = {verdict.hostname, false, std::move(*why_not)};
    }
    const auto fixed = terms.mode_of ? terms.mode_of(service.hostname) : std::nullopt;
    if (verdict.accepted && fixed && *fixed != service.tls_mode) {
      verdict.accepted = false;
      verdict.reason = fmt::format(
          "the tenant's entry says that {} is served as {}, not as {}; declare that, or change "
          "the entry",
          verdict.hostname, route::to_string(*fixed), route::to_string(service.tls_mode));
    }
    if (!verdict.accepted || is_shared(verdict.hostname)) continue;
    if (hostnames < terms.limits.hostnames) {
      ++hostnames;
      continue;
    }
    verdict.accepted = false;
    verdict.reason = fmt::format(
        "the tenant may serve {} hostnames and serves as many; remove one, or ask the hub's operator for a "
        "higher "
        "quota",
        terms.limits.hostnames);
  }
  return verdicts;
}

std::optional<Error> Leases::why_evicted(const InviteId& invite, const EndpointId& agent,
                                         bool is_exclusive) const {
  const auto of_invite = invites_.find(invite);
  if (of_invite == invites_.end() || !of_invite->second.exclusive) return std::nullopt;
  const EndpointId& holder = *of_invite->second.exclusive;
  if (holder == agent) return std::nullopt;
  const auto& evicted = leases_.at(holder).evicted;
  const bool was_evicted = std::ranges::find(evicted, agent) != evicted.end();
  if (is_exclusive && !was_evicted) return std::nullopt;
  return Error{
      ErrorCode::kConflict,
      fmt::format("agent {} is exclusive and serves this tenant alone{}; stop that agent, or restart this "
                  "one with --exclusive yes to take its place",
                  holder.short_text(), was_evicted ? ", and has ended the lease of this one" : "")};
}

bool Leases::may_serve_alone(const Invite& invite, const hubapi::DeclaredService& service,
                             const LeaseTerms& terms) const {
  const auto name = names_.find(service.hostname.text());
  const bool is_others = name != names_.end() && name->second.invite != invite.id;
  const auto fixed = terms.mode_of ? terms.mode_of(service.hostname) : std::nullopt;
  if (terms.why_not && terms.why_not(service.hostname)) return false;
  return invite.grants(service.hostname) && !is_others && (!terms.owns || terms.owns(service.hostname)) &&
         (!fixed || *fixed == service.tls_mode);
}

void Leases::evict_others(const InviteId& invite, const EndpointId& agent, std::vector<EndpointId>& evicted) {
  const auto of_invite = invites_.find(invite);
  if (of_invite == invites_.end()) return;
  if (const auto& before = of_invite->second.exclusive; before && *before != agent) {
    const auto& by_that = leases_.at(*before).evicted;
    evicted.insert(evicted.end(), by_that.begin(), by_that.end());
  }
  for (const EndpointId& other : std::set(of_invite->second.agents)) {
    if (other == agent) continue;
    evicted.push_back(other);
    end_agent(other);
  }
  // The agents that still ask are among the latest.
  if (evicted.size() > kMaxPerInvite)
    evicted.erase(evicted.begin(), evicted.end() - static_cast<std::ptrdiff_t>(kMaxPerInvite));
}

Result<std::vector<hubapi::ServiceVerdict>> Leases::declare(
    const Invite& invite, const EndpointId& agent, const std::vector<hubapi::DeclaredService>& services,
    TimePoint now, LeaseTerms terms) {
  auto held = leases_.find(agent);
  const bool is_of_another = held != leases_.end() && held->second.invite != invite.id;
  if (is_of_another && (!terms.is_proven || held->second.is_proven)) {
    return fail(ErrorCode::kConflict,
                "agent {} holds a lease of another invite; restart the agent for a fresh key",
                agent.short_text());
  }
  if (auto evicted = why_evicted(invite.id, agent, terms.is_exclusive)) return std::unexpected(*evicted);
  // What the others hold does not count: it is free when they are gone.
  const bool evicts =
      terms.is_exclusive && (!terms.ports.empty() || std::ranges::any_of(services, [&](const auto& each) {
        return may_serve_alone(invite, each, terms);
      }));
  std::vector<EndpointId> evicted;
  if (evicts) {
    if (held != leases_.end() && !is_of_another) evicted = held->second.evicted;
    evict_others(invite.id, agent, evicted);
  }
  std::vector<hubapi::ServiceVerdict> verdicts = judge_all(invite, agent, services, terms, now);
  std::vector<hubapi::DeclaredService> accepted;
  for (size_t i = 0; i < services.size(); ++i) {
    if (verdicts[i].accepted) accepted.push_back(services[i]);
  }
  if (accepted.empty() && terms.ports.empty()) {
    if (held != leases_.end()) end(held);
    return verdicts;
  }

  const bool is_new = held == leases_.end() || is_of_another;
  const auto of_invite = invites_.find(invite.id);
  if (is_new && of_invite != invites_.end() && of_invite->second.agents.size() >= terms.limits.agents) {
    return fail(ErrorCode::kLimit,
                "{} agents hold leases of this invite, the most that one may have; stop some, or wait "
                "{} s for those that died",
                of_invite->second.agents.size(),
                std::chrono::duration_cast<std::chrono::seconds>(kLifetime).count());
  }
  if (is_of_another) end(held);  // its agent declared a key that it does not have
  const bool is_exclusive = evicts;
  if (!is_new) {
    Lease& lease = held->second;
    lease.ends_at = std::max(lease.ends_at, now + kLifetime);
    lease.renewed_at = std::max(lease.renewed_at, now);
    keep(agent, lease, now);
    const bool is_same = lease.services == accepted && lease.ports == terms.ports &&
                         lease.is_exclusive == is_exclusive && lease.evicted == evicted;
    if (!is_same || (terms.is_proven && !lease.is_proven)) unstored_.insert(agent);
    lease.is_proven = lease.is_proven || terms.is_proven;
    lease.is_exclusive = is_exclusive;
    lease.evicted = std::move(evicted);
    const auto gained = without(accepted, lease.services);
    const auto gained_ports = without(terms.ports, lease.ports);
    drop(agent, without(lease.services, accepted));
    drop(agent, without(lease.ports, terms.ports));
    take_over(agent, gained);
    hold(invite, agent, gained);
    hold(invite, agent, gained_ports);
    lease.services = std::move(accepted);
    lease.ports = std::move(terms.ports);
    if (is_exclusive) {
      invites_[invite.id].exclusive = agent;
    } else if (auto& exclusive = invites_[invite.id].exclusive; exclusive == agent) {
      exclusive.reset();
    }
    earliest_end_ = std::min(earliest_end_, lease.ends_at);
    if (invite.expires_at) earliest_wall_end_ = std::min(earliest_wall_end_, *invite.expires_at);
  } else {
    unstored_.insert(agent);
    begin(agent, invite,
          Lease{.invite = invite.id,
                .invite_expires_at = invite.expires_at,
                .services = std::move(accepted),
                .ends_at = now + kLifetime,
                .is_proven = terms.is_proven,
                .lives_until = now + kSilence,
                .renewed_at = now,
                .keeper = hubs_.self(),
                .ports = std::move(terms.ports),
                .is_exclusive = is_exclusive,
                .evicted = std::move(evicted)});
    if (hubs_.is_shared()) earliest_end_ = std::min(earliest_end_, now + kLetGoAfter);
  }
  for (size_t i = 0; i < services.size(); ++i) {
    if (verdicts[i].accepted) verdicts[i].others = others(services[i].hostname, agent, now);
  }
  return verdicts;
}

size_t Leases::others(const route::Match& match, const EndpointId& agent, TimePoint now) const {
  const auto name = names_.find(match.text());
  if (name == names_.end()) return 0;
  return static_cast<size_t>(std::ranges::count_if(
      name->second.agents, [&](const EndpointId& other) { return other != agent && lives(other, now); }));
}

std::optional<Leases::Rival> Leases::rival(const route::PublicPort& port, const EndpointId& agent,
                                           TimePoint now) const {
  const auto name = names_.find(port.text());
  if (name == names_.end()) return std::nullopt;
  for (const EndpointId& other : name->second.agents) {
    if (other != agent && lives(other, now)) return Rival{other, leases_.at(other).lives_until};
  }
  return std::nullopt;
}

bool Leases::is_held(const route::PublicPort& port, const std::optional<EndpointId>& except) const {
  const auto name = names_.find(port.text());
  return name != names_.end() &&
         std::ranges::any_of(name->second.agents, [&](const EndpointId& each) { return each != except; });
}

void Leases::end_match(const route::Match& match) {
  const auto name = names_.find(match.text());
  if (name == names_.end()) return;
  for (const EndpointId& holder : std::vector(name->second.agents)) {
    const auto lease = leases_.find(holder);
    CHECK(lease != leases_.end());
    drop(holder, match);
    std::erase_if(lease->second.services,
                  [&](const auto& each) { return each.hostname.text() == match.text(); });
    std::erase_if(lease->second.ports, [&](const auto& each) { return each.ports().text() == match.text(); });
    unstored_.insert(holder);
    if (lease->second.is_empty()) end(lease);
  }
}

void Leases::take_over(const EndpointId& agent, const std::vector<hubapi::DeclaredService>& services) {
  for (const auto& service : services) {
    auto name = names_.find(service.hostname.text());
    if (name == names_.end() || name->second.agents.empty() || name->second.tls_mode == service.tls_mode)
      continue;
    CHECK(std::ranges::find(name->second.agents, agent) == name->second.agents.end());
    end_match(service.hostname);
  }
}

void Leases::hold(const Invite& invite, const EndpointId& agent,
                  const std::vector<hubapi::DeclaredService>& services) {
  for (const auto& service : services) {
    hold(invite, agent,
         Name{.match = service.hostname,
              .invite = invite.id,
              .tenant = invite.tenant,
              .tls_mode = service.tls_mode,
              .service = {},
              .agents = {}});
  }
}

void Leases::hold(const Invite& invite, const EndpointId& agent,
                  const std::vector<hubapi::DeclaredPort>& ports) {
  for (const auto& port : ports) {
    const auto name = names_.find(port.ports().text());
    const bool is_lost =
        name != names_.end() && (name->second.invite != invite.id || name->second.service != port.name);
    if (is_lost) end_match(port.ports());  // the claim says whose it is
    hold(invite, agent,
         Name{.match = port.ports(),
              .invite = invite.id,
              .tenant = invite.tenant,
              .tls_mode = std::nullopt,
              .service = port.name,
              .agents = {}});
  }
}

void Leases::hold(const Invite& invite, const EndpointId& agent, Name wanted) {
  remember(wanted.match.text());
  Name& name = names_.try_emplace(wanted.match.text(), wanted).first->second;
  CHECK(name.invite == invite.id);
  if (name.agents.empty()) {
    name.tls_mode = wanted.tls_mode;
    name.follow(invite);
    held_changed(name, 1);
  }
  CHECK(name.tls_mode == wanted.tls_mode && name.service == wanted.service);
  name.agents.insert(std::ranges::upper_bound(name.agents, agent), agent);
}

void Leases::drop(const EndpointId& agent, const std::vector<hubapi::DeclaredService>& services) {
  for (const auto& service : services) drop(agent, route::Match(service.hostname));
}

void Leases::drop(const EndpointId& agent, const std::vector<hubapi::DeclaredPort>& ports) {
  for (const auto& port : ports) drop(agent, route::Match(port.ports()));
}

void Leases::drop(const EndpointId& agent, const route::Match& match) {
  const auto found = names_.find(match.text());
  CHECK(found != names_.end());
  remember(match.text());
  Name& name = found->second;
  std::erase(name.agents, agent);
  if (!name.agents.empty()) return;
  held_changed(name, -1);
  name.tls_mode.reset();
  if (!name.is_reserved) names_.erase(found);
}

// It got its first agent, or lost its last.
void Leases::held_changed(const Name& name, int change) {
  if (const route::PublicPort* port = name.match.port()) {
    changed_ports_.push_back(*port);
  } else {
    invites_[name.invite].hostnames += static_cast<size_t>(change);
  }
}

Leases::LeaseMap::iterator Leases::end(LeaseMap::iterator lease) {
  if (former_rates_.size() >= kMaxFormerRates) former_rates_.clear();
  former_rates_.insert_or_assign({lease->second.invite, lease->first}, lease->second.renewals);
  drop(lease->first, lease->second.services);
  drop(lease->first, lease->second.ports);
  unstored_.insert(lease->first);
  auto of_invite = invites_.find(lease->second.invite);
  CHECK(of_invite != invites_.end());
  of_invite->second.agents.erase(lease->first);
  if (of_invite->second.exclusive == lease->first) of_invite->second.exclusive.reset();
  if (of_invite->second.agents.empty()) invites_.erase(of_invite);
  return leases_.erase(lease);
}

RateLimit* Leases::renewals(const InviteId& invite, const EndpointId& agent) {
  auto held = leases_.find(agent);
  return held != leases_.end() && held->second.invite == invite ? &held->second.renewals : nullptr;
}

void Leases::heard(const route::AgentHeard& heard) {
  auto lease = leases_.find(heard.agent);
  if (lease == leases_.end()) return;
  lease->second.ends_at = std::max(lease->second.ends_at, heard.when + kLifetime);
  lease->second.lives_until = std::max(lease->second.lives_until, heard.when + kSilence);
  lease->second.renewed_at = std::max(lease->second.renewed_at, heard.when);
  keep(heard.agent, lease->second, heard.when);
}

void Leases::end_hearing(const EndpointId& agent, TimePoint now, TimePoint lives_until) {
  const auto hearing = hearing_.find(agent);
  CHECK(hearing != hearing_.end());
  if (--hearing->second > 0) return;
  hearing_.erase(hearing);
  const auto lease = leases_.find(agent);
  if (lease == leases_.end()) return;
  lease->second.ends_at = std::max(lease->second.ends_at, now + kLifetime);
  lease->second.lives_until = std::max(lease->second.lives_until, lives_until);
  lease->second.renewed_at = std::max(lease->second.renewed_at, now);
}

void Leases::tunnel_closed(const EndpointId& agent, TimePoint now) {
  auto lease = leases_.find(agent);
  if (lease == leases_.end()) return;
  lease->second.lives_until = std::min(lease->second.lives_until, now + kReturnTime);
}

void Leases::end_agent(const EndpointId& agent) {
  if (auto lease = leases_.find(agent); lease != leases_.end()) end(lease);
}

void Leases::end_invite(const InviteId& invite) {
  const auto of_invite = invites_.find(invite);
  if (of_invite == invites_.end()) return;
  for (const EndpointId& agent : std::set(of_invite->second.agents)) end_agent(agent);
}

void Leases::set_invite(const Invite& invite, const MayServe& may_serve, const TenantLimits& limits) {
  const auto of_invite = invites_.find(invite.id);
  if (of_invite == invites_.end()) return;
  const auto follow = [&](const std::string& match) {
    remember(match);
    names_.at(match).follow(invite);
  };
  for (const EndpointId& agent : std::set(of_invite->second.agents)) {
    const auto lease = leases_.find(agent);
    Lease& held = lease->second;
    held.invite_expires_at = invite.expires_at;
    if (invite.expires_at) earliest_wall_end_ = std::min(earliest_wall_end_, *invite.expires_at);
    std::vector<hubapi::DeclaredService> lost;
    std::ranges::copy_if(held.services, std::back_inserter(lost),
                         [&](const auto& service) { return may_serve && !may_serve(service); });
    drop(agent, lost);
    if (!lost.empty()) unstored_.insert(agent);
    held.services = without(held.services, lost);
    for (const auto& service : held.services) follow(service.hostname.text());
    for (const auto& port : held.ports) follow(port.ports().text());
    if (held.is_empty()) end(lease);
  }
  keep_within(invite.id, limits);
}

void Leases::keep_within(const InviteId& invite, const TenantLimits& limits) {
  const auto of_invite = invites_.find(invite);
  if (of_invite == invites_.end()) return;
  std::vector<std::pair<TimePoint, EndpointId>> agents;
  std::set<std::string> hostnames;
  for (const EndpointId& agent : of_invite->second.agents) {
    const Lease& lease = leases_.at(agent);
    const bool is_heard = hubs_.is_shared() || hearing_.contains(agent);
    agents.emplace_back(is_heard ? TimePoint::max() : lease.lives_until, agent);
    for (const auto& service : lease.services) hostnames.insert(service.hostname.text());
  }
  std::ranges::sort(agents);
  for (size_t i = 0; i + limits.agents < agents.size(); ++i) end_agent(agents[i].second);
  for (; hostnames.size() > limits.hostnames; hostnames.erase(std::prev(hostnames.end()))) {
    const auto name = names_.find(*hostnames.rbegin());
    if (name != names_.end()) end_match(route::Match(name->second.match));
  }
}

void Leases::set_reserved(const Invite& invite, const std::vector<route::HostPattern>& hostnames) {
  for (const route::HostPattern& hostname : hostnames) {
    remember(hostname.text());
    if (const auto held = names_.find(hostname.text());
        held != names_.end() && held->second.invite != invite.id)
      end_match(hostname);
    Name& name = names_
                     .try_emplace(hostname.text(), Name{.match = hostname,
                                                        .invite = invite.id,
                                                        .tenant = invite.tenant,
                                                        .tls_mode = std::nullopt,
                                                        .service = {},
                                                        .agents = {}})
                     .first->second;
    // Two invites have one name only where the database was changed by hand: the first keeps it.
    if (name.invite != invite.id) continue;
    name.is_reserved = true;
    name.follow(invite);
    reserved_[invite.id].push_back(hostname.text());
  }
}

void Leases::clear_reserved(const InviteId& invite) {
  const auto reserved = reserved_.find(invite);
  if (reserved == reserved_.end()) return;
  for (const std::string& hostname : reserved->second) {
    remember(hostname);
    const auto name = names_.find(hostname);
    name->second.is_reserved = false;
    if (name->second.agents.empty()) names_.erase(name);
  }
  reserved_.erase(reserved);
}

Record Leases::record_of(const EndpointId& agent) const {
  Record record{.kind = std::string(kKind), .key = agent.to_string()};
  const auto found = leases_.find(agent);
  if (found == leases_.end()) return record;
  const Lease& lease = found->second;
  json::array services;
  for (const auto& service : lease.services) {
    services.push_back(json::object{{"hostname", service.hostname.text()},
                                    {"tls_mode", route::to_string(service.tls_mode)}});
  }
  json::object body{{"invite_id", invite_key(lease.invite)},
                    {"is_proven", lease.is_proven},
                    {"services", std::move(services)}};
  if (!lease.ports.empty()) {
    json::array ports;
    for (const auto& port : lease.ports)
      ports.push_back(json::object{{"port", port.ports().text()}, {"service", port.name}});
    body["ports"] = std::move(ports);
  }
  if (lease.is_exclusive) {
    json::array evicted;
    for (const EndpointId& each : lease.evicted) evicted.push_back(json::string(each.to_string()));
    body["exclusive"] = true;
    body["evicted"] = std::move(evicted);
  }
  if (!lease.keeper.empty()) body["hub"] = lease.keeper;
  record.body = json::serialize(body);
  return record;
}

Batch Leases::unstored() const {
  Batch batch;
  for (const EndpointId& agent : unstored_) batch.records.push_back(record_of(agent));
  return batch;
}

std::optional<InviteId> Leases::invite_of(const Record& record) {
  auto body = parse_json_object("the lease's record", record.body.value_or("{}"));
  if (!body) return std::nullopt;
  JsonReader reader("the lease's record", *body);
  const InviteId id = reader.bytes<std::tuple_size_v<InviteId>>("invite_id");
  return reader.error() ? std::nullopt : std::optional(id);
}

void Leases::apply(const Record& record, const Invite* invite, TimePoint now, const MayServe& may_serve) {
  const auto agent = PublicKey::parse(record.key);
  if (!agent) return log_error("hub_record_damaged", "kind={} key={}", kKind, culvert::quoted(record.key));
  if (unstored_.contains(*agent)) {
    // What changed since then is written next.
    if (record_of(*agent) == record) unstored_.erase(*agent);
    return;
  }
  const auto held = leases_.find(*agent);
  if (held != leases_.end() && record_of(*agent) == record) return;
  auto declared = read_lease(record.body.value_or("{}"));
  if (held != leases_.end()) {
    Lease& lease = held->second;
    const bool is_same = declared && invite != nullptr && invite->id == lease.invite &&
                         declared->services == lease.services && declared->ports == lease.ports &&
                         declared->is_exclusive == lease.is_exclusive && declared->evicted == lease.evicted &&
                         declared->is_proven == lease.is_proven;
    if (is_same) {
      lease.keeper = std::move(declared->keeper);
      lease.ends_at = std::max(lease.ends_at, now + kLifetime);
      return keep(*agent, lease, now);
    }
    end(held);
    unstored_.erase(*agent);
  }
  if (!record.body) return;
  if (!declared || invite == nullptr) {
    unstored_.insert(*agent);  // it is removed
    return;
  }
  adopt(*agent, *invite,
        Lease{.invite = invite->id,
              .invite_expires_at = invite->expires_at,
              .services = std::move(declared->services),
              .ends_at = now + kLifetime,
              .is_proven = declared->is_proven,
              .lives_until = now + kSilence,
              .renewed_at = TimePoint::min() + kLetGoAfter,
              .keeper = hubs_.is_shared() ? std::move(declared->keeper) : std::string(),
              .ports = std::move(declared->ports),
              .is_exclusive = declared->is_exclusive,
              .evicted = std::move(declared->evicted)},
        now, may_serve);
}

// Of what several hubs wrote at once, the names that this one finds free are kept. A hub that was killed may
// have written what another one's grant has taken from the invite since.
void Leases::adopt(const EndpointId& agent, const Invite& invite, Lease lease, TimePoint now,
                   const MayServe& may_serve) {
  const size_t declared = lease.services.size() + lease.ports.size();
  std::erase_if(lease.services, [&](const auto& service) {
    return (may_serve && !may_serve(service)) || !judge(invite, agent, service, now).accepted;
  });
  std::erase_if(lease.ports, [&](const auto& port) {
    const auto name = names_.find(port.ports().text());
    return name != names_.end() && (name->second.invite != invite.id || name->second.service != port.name);
  });
  if (lease.services.size() + lease.ports.size() != declared) unstored_.insert(agent);
  if (lease.is_empty()) return;
  begin(agent, invite, std::move(lease));
}

void Leases::begin(const EndpointId& agent, const Invite& invite, Lease lease) {
  if (const auto rate = former_rates_.extract({invite.id, agent})) lease.renewals = rate.mapped();
  OfInvite& of_invite = invites_[invite.id];
  of_invite.agents.insert(agent);
  if (lease.is_exclusive) of_invite.exclusive = agent;
  take_over(agent, lease.services);
  hold(invite, agent, lease.services);
  hold(invite, agent, lease.ports);
  earliest_end_ = std::min(earliest_end_, lease.ends_at);
  if (invite.expires_at) earliest_wall_end_ = std::min(earliest_wall_end_, *invite.expires_at);
  leases_.emplace(agent, std::move(lease));
}

void Leases::expire(TimePoint now, UnixTime wall) {
  if (now < earliest_end_ && wall < earliest_wall_end_) return;
  earliest_end_ = TimePoint::max();
  earliest_wall_end_ = UnixTime::max();
  for (auto lease = leases_.begin(); lease != leases_.end();) {
    Lease& held = lease->second;
    if (hearing_.contains(lease->first)) {
      held.ends_at = std::max(held.ends_at, now + kLifetime);
      keep(lease->first, held, now);
    }
    const bool is_others = is_kept_elsewhere(held);
    if ((held.ends_at <= now && !is_others) || (held.invite_expires_at && *held.invite_expires_at <= wall)) {
      lease = end(lease);
      continue;
    }
    const TimePoint lets_go_at = held.renewed_at + kLetGoAfter;
    if (hubs_.is_shared() && held.keeper == hubs_.self() && lets_go_at <= now) {
      held.keeper.clear();
      unstored_.insert(lease->first);
    }
    if (!is_others) earliest_end_ = std::min(earliest_end_, held.ends_at);
    if (hubs_.is_shared() && held.keeper == hubs_.self()) earliest_end_ = std::min(earliest_end_, lets_go_at);
    if (held.invite_expires_at) earliest_wall_end_ = std::min(earliest_wall_end_, *held.invite_expires_at);
    ++lease;
  }
}

std::optional<TimePoint> Leases::next_expiry(TimePoint now, UnixTime wall) const {
  if (leases_.empty()) return std::nullopt;
  TimePoint next = earliest_end_;
  if (earliest_wall_end_ != UnixTime::max()) {
    // Compared in seconds first: a far expiry in nanoseconds would overflow.
    auto wait = earliest_wall_end_ - wall;
    next = std::min(next,
                    now + (wait < kMaxWallWait ? std::max<Duration>(wait, Duration::zero()) : kMaxWallWait));
  }
  return next;
}

void Leases::Name::follow(const Invite& of) {
  is_suspended = of.suspended;
  own_limits = own_limits_of(of.quotas);
  ends_at = of.expires_at;
}

route::Route Leases::route_of(const Name& name) {
  route::Route route{name.match, name.tenant, name.tls_mode, {}};
  for (const EndpointId& agent : name.agents) route.targets.push_back({agent});
  route.is_suspended = name.is_suspended;
  route.service = name.service;
  route.own_limits = name.own_limits;
  route.ends_at = name.ends_at;
  return route;
}

void Leases::remember(const std::string& match) {
  auto [before, fresh] = before_.try_emplace(match);
  if (!fresh) return;
  if (auto name = names_.find(match); name != names_.end()) before->second = route_of(name->second);
}

std::optional<route::Delta> Leases::take_delta() {
  route::Delta delta{.from = version_, .to = version_ + 1, .upserts = {}, .removals = {}};
  for (const auto& [pattern, before] : std::exchange(before_, {})) {
    auto name = names_.find(pattern);
    if (name == names_.end()) {
      if (before) delta.removals.push_back(before->id());
    } else if (route::Route now = route_of(name->second); now != before) {
      delta.upserts.push_back(std::move(now));
    }
  }
  if (delta.empty()) return std::nullopt;
  version_ = delta.to;
  return delta;
}

std::vector<route::Route> Leases::routes_after(std::string_view after, size_t limit) const {
  std::vector<route::Route> routes;
  for (auto name = names_.upper_bound(std::string(after)); name != names_.end() && routes.size() < limit;
       ++name)
    routes.push_back(route_of(name->second));
  return routes;
}

std::optional<route::Route> Leases::route_named(std::string_view pattern) const {
  const auto name = names_.find(std::string(pattern));
  return name == names_.end() ? std::nullopt : std::optional(route_of(name->second));
}

route::SnapshotPtr Leases::snapshot() const {
  std::vector<route::Route> routes;
  routes.reserve(names_.size());
  for (const auto& [pattern, name] : names_) routes.push_back(route_of(name));
  return route::Snapshot::of(std::move(routes), version_);
}

}  // namespace culvert::hub
