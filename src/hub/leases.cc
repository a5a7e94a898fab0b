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

struct StoredLease {
  bool is_proven;
  std::vector<hubapi::DeclaredService> services;
};

Result<StoredLease> read_lease(std::string_view text) {
  constexpr std::string_view kWhat = "the lease's record";
  auto body = parse_json_object(kWhat, text);
  if (!body) return std::unexpected(body.error());
  JsonReader reader(kWhat, *body);
  StoredLease stored{.is_proven = reader.boolean("is_proven"), .services = {}};
  for (const json::value& entry : reader.array("services")) {
    if (!entry.is_object()) return fail(ErrorCode::kInvalid, "{}: a service is not an object", kWhat);
    JsonReader service(kWhat, entry.get_object());
    auto hostname = route::HostPattern::parse(service.text("hostname"));
    auto mode = route::parse_tls_mode(service.text("tls_mode"));
    if (!hostname || !mode) return fail(ErrorCode::kInvalid, "{}: a service is damaged", kWhat);
    stored.services.push_back({std::move(*hostname), *mode});
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
  const bool is_freed = name.agents == std::vector{agent};
  if (name.invite != invite.id && !is_freed)
    return refused(fmt::format("{} is held by another invite", hostname));
  if (name.tls_mode == service.tls_mode) return {hostname, true, ""};
  for (const EndpointId& other : name.agents) {
    if (other == agent || !lives(other, now)) continue;
    auto verdict = refused(fmt::format(
        "conflict with agent {}, which is connected and serves {} as {}, not as {}; agents of one "
        "hostname must declare the same mode. Stop that agent, or declare its mode",
        other.short_text(), hostname, route::to_string(name.tls_mode), route::to_string(service.tls_mode)));
    // One second later than the other may be found silent.
    const TimePoint silent_at = hearing_.contains(other) ? now + kSilence : leases_.at(other).lives_until;
    verdict.retry_after = std::chrono::ceil<std::chrono::seconds>(silent_at - now) + std::chrono::seconds(1);
    return verdict;
  }
  return {hostname, true, ""};
}

bool Leases::lives(const EndpointId& agent, TimePoint now) const {
  auto lease = leases_.find(agent);
  return lease != leases_.end() && (hearing_.contains(agent) || now < lease->second.lives_until);
}

Result<std::vector<hubapi::ServiceVerdict>> Leases::declare(
    const Invite& invite, const EndpointId& agent, const std::vector<hubapi::DeclaredService>& services,
    TimePoint now, bool is_proven) {
  auto held = leases_.find(agent);
  const bool is_of_another = held != leases_.end() && held->second.invite != invite.id;
  if (is_of_another && (!is_proven || held->second.is_proven)) {
    return fail(ErrorCode::kConflict,
                "agent {} holds a lease of another invite; restart the agent for a fresh key",
                agent.short_text());
  }
  std::vector<hubapi::ServiceVerdict> verdicts;
  std::vector<hubapi::DeclaredService> accepted;
  for (const auto& service : services) {
    verdicts.push_back(judge(invite, agent, service, now));
    if (verdicts.back().accepted) accepted.push_back(service);
  }
  if (accepted.empty()) {
    if (held != leases_.end()) end(held);
    return verdicts;
  }

  const bool is_new = held == leases_.end() || is_of_another;
  const auto agents = agents_.find(invite.id);
  if (is_new && agents != agents_.end() && agents->second.size() >= kMaxPerInvite) {
    return fail(ErrorCode::kLimit,
                "{} agents hold leases of this invite, the most that one may have; stop some, or wait "
                "{} s for those that died",
                agents->second.size(), std::chrono::duration_cast<std::chrono::seconds>(kLifetime).count());
  }
  if (is_of_another) end(held);  // its agent declared a key that it does not have
  TimePoint ends_at = now + kLifetime;
  if (!is_new) {
    Lease& lease = held->second;
    lease.ends_at = std::max(lease.ends_at, ends_at);
    if (lease.services != accepted || (is_proven && !lease.is_proven)) unstored_.insert(agent);
    lease.is_proven = lease.is_proven || is_proven;
    const auto gained = without(accepted, lease.services);
    drop_names(agent, without(lease.services, accepted));
    take_over(agent, gained);
    hold_names(invite, agent, gained);
    lease.services = std::move(accepted);
  } else {
    unstored_.insert(agent);
    begin(agent, invite, std::move(accepted), is_proven, now);
  }
  for (hubapi::ServiceVerdict& verdict : verdicts) {
    if (!verdict.accepted) continue;
    verdict.others = static_cast<size_t>(
        std::ranges::count_if(names_.at(verdict.hostname).agents,
                              [&](const EndpointId& other) { return other != agent && lives(other, now); }));
  }
  earliest_end_ = std::min(earliest_end_, ends_at);
  if (invite.expires_at) earliest_wall_end_ = std::min(earliest_wall_end_, *invite.expires_at);
  return verdicts;
}

void Leases::take_over(const EndpointId& agent, const std::vector<hubapi::DeclaredService>& services) {
  for (const auto& service : services) {
    auto name = names_.find(service.hostname.text());
    if (name == names_.end() || name->second.tls_mode == service.tls_mode) continue;
    const std::vector<EndpointId> holders = name->second.agents;
    for (const EndpointId& holder : holders) {
      CHECK(holder != agent);
      auto lease = leases_.find(holder);
      CHECK(lease != leases_.end());
      auto& held = lease->second.services;
      auto lost = std::ranges::find(held, service.hostname, &hubapi::DeclaredService::hostname);
      CHECK(lost != held.end());
      drop_names(holder, {*lost});
      held.erase(lost);
      unstored_.insert(holder);
      if (held.empty()) end(lease);
    }
  }
}

void Leases::hold_names(const Invite& invite, const EndpointId& agent,
                        const std::vector<hubapi::DeclaredService>& services) {
  for (const auto& service : services) {
    remember(service.hostname.text());
    auto [name, fresh] = names_.try_emplace(service.hostname.text(), Name{.pattern = service.hostname,
                                                                          .invite = invite.id,
                                                                          .tenant = invite.tenant,
                                                                          .tls_mode = service.tls_mode,
                                                                          .agents = {},
                                                                          .is_suspended = invite.suspended});
    CHECK(fresh || (name->second.invite == invite.id && name->second.tls_mode == service.tls_mode));
    auto& agents = name->second.agents;
    agents.insert(std::ranges::upper_bound(agents, agent), agent);
  }
}

void Leases::drop_names(const EndpointId& agent, const std::vector<hubapi::DeclaredService>& services) {
  for (const auto& service : services) {
    auto name = names_.find(service.hostname.text());
    CHECK(name != names_.end());
    remember(service.hostname.text());
    std::erase(name->second.agents, agent);
    if (name->second.agents.empty()) names_.erase(name);
  }
}

Leases::LeaseMap::iterator Leases::end(LeaseMap::iterator lease) {
  drop_names(lease->first, lease->second.services);
  unstored_.insert(lease->first);
  auto agents = agents_.find(lease->second.invite);
  CHECK(agents != agents_.end());
  agents->second.erase(lease->first);
  if (agents->second.empty()) agents_.erase(agents);
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
  const auto agents = agents_.find(invite);
  if (agents == agents_.end()) return;
  for (const EndpointId& agent : std::set(agents->second)) end_agent(agent);
}

void Leases::set_invite(const Invite& invite) {
  const auto agents = agents_.find(invite.id);
  if (agents == agents_.end()) return;
  for (const EndpointId& agent : std::set(agents->second)) {
    const auto lease = leases_.find(agent);
    Lease& held = lease->second;
    held.invite_expires_at = invite.expires_at;
    if (invite.expires_at) earliest_wall_end_ = std::min(earliest_wall_end_, *invite.expires_at);
    std::vector<hubapi::DeclaredService> lost;
    std::ranges::copy_if(held.services, std::back_inserter(lost),
                         [&](const auto& service) { return !invite.grants(service.hostname); });
    drop_names(agent, lost);
    if (!lost.empty()) unstored_.insert(agent);
    held.services = without(held.services, lost);
    for (const auto& service : held.services) {
      remember(service.hostname.text());
      names_.at(service.hostname.text()).is_suspended = invite.suspended;
    }
    if (held.services.empty()) end(lease);
  }
}

Record Leases::record_of(const EndpointId& agent) const {
  Record record{.kind = std::string(kKind), .key = agent.to_string()};
  const auto lease = leases_.find(agent);
  if (lease == leases_.end()) return record;
  json::array services;
  for (const auto& service : lease->second.services) {
    services.push_back(json::object{{"hostname", service.hostname.text()},
                                    {"tls_mode", route::to_string(service.tls_mode)}});
  }
  record.body = json::serialize(json::object{{"invite_id", invite_key(lease->second.invite)},
                                             {"is_proven", lease->second.is_proven},
                                             {"services", std::move(services)}});
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

void Leases::apply(const Record& record, const Invite* invite, TimePoint now) {
  const auto agent = PublicKey::parse(record.key);
  if (!agent) return log_error("hub_record_damaged", "kind={} key={}", kKind, culvert::quoted(record.key));
  if (unstored_.contains(*agent)) {
    // What changed since then is written next.
    if (record_of(*agent) == record) unstored_.erase(*agent);
    return;
  }
  if (const auto held = leases_.find(*agent); held != leases_.end()) {
    if (record_of(*agent) == record) return;
    end(held);
    unstored_.erase(*agent);
  }
  if (!record.body) return;
  auto declared = read_lease(*record.body);
  if (!declared || invite == nullptr) {
    unstored_.insert(*agent);  // it is removed
    return;
  }
  adopt(*agent, *invite, std::move(declared->services), declared->is_proven, now);
}

// Of what several hubs wrote at once, the names that this one finds free are kept.
void Leases::adopt(const EndpointId& agent, const Invite& invite,
                   std::vector<hubapi::DeclaredService> services, bool is_proven, TimePoint now) {
  const size_t declared = services.size();
  std::erase_if(services, [&](const auto& service) { return !judge(invite, agent, service, now).accepted; });
  if (services.size() != declared) unstored_.insert(agent);
  if (services.empty()) return;
  begin(agent, invite, std::move(services), is_proven, now);
}

void Leases::begin(const EndpointId& agent, const Invite& invite,
                   std::vector<hubapi::DeclaredService> services, bool is_proven, TimePoint now) {
  agents_[invite.id].insert(agent);
  take_over(agent, services);
  hold_names(invite, agent, services);
  leases_.emplace(agent, Lease{.invite = invite.id,
                               .invite_expires_at = invite.expires_at,
                               .services = std::move(services),
                               .ends_at = now + kLifetime,
                               .is_proven = is_proven,
                               .lives_until = now + kSilence});
  earliest_end_ = std::min(earliest_end_, now + kLifetime);
  if (invite.expires_at) earliest_wall_end_ = std::min(earliest_wall_end_, *invite.expires_at);
}

void Leases::expire(TimePoint now, UnixTime wall) {
  if (now < earliest_end_ && wall < earliest_wall_end_) return;
  earliest_end_ = TimePoint::max();
  earliest_wall_end_ = UnixTime::max();
  for (auto lease = leases_.begin(); lease != leases_.end();) {
    Lease& held = lease->second;
    if (held.ends_at <= now && hearing_.contains(lease->first)) held.ends_at = now + kLifetime;
    if (held.ends_at <= now || (held.invite_expires_at && *held.invite_expires_at <= wall)) {
      lease = end(lease);
      continue;
    }
    earliest_end_ = std::min(earliest_end_, held.ends_at);
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

route::Route Leases::route_of(const Name& name) {
  route::Route route{name.pattern, name.tenant, name.tls_mode, {}};
  for (const EndpointId& agent : name.agents) route.targets.push_back({agent});
  route.is_suspended = name.is_suspended;
  return route;
}

void Leases::remember(const std::string& pattern) {
  auto [before, fresh] = before_.try_emplace(pattern);
  if (!fresh) return;
  if (auto name = names_.find(pattern); name != names_.end()) before->second = route_of(name->second);
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
