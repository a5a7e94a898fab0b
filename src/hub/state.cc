#include "hub/state.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <set>
#include <string_view>

#include "hub/invite_record.h"

namespace culvert::hub {
namespace {

// What refers to another kind comes behind it.
constexpr std::array kOrder = {Entries::kSequenceKind,
                               Entries::kKind,
                               kTombstoneKind,
                               kInviteKind,
                               Claims::kKind,
                               Hubs::kKind,
                               Leases::kKind,
                               OperatorKeys::kKind,
                               Edges::kKind,
                               Certificates::kOrdererKind,
                               Certificates::kAccountKind,
                               Certificates::kBudgetKind,
                               Certificates::kKind,
                               Certificates::kChallengeKind};

}  // namespace

void State::apply(const std::vector<Record>& records, TimePoint now, UnixTime wall) {
  for (const std::string_view kind : kOrder) {
    for (const Record& record : records) {
      if (record.kind == kind) apply(record, now, wall);
    }
  }
}

void State::apply(const Record& record, TimePoint now, UnixTime wall) {
  if (record.kind == kInviteKind) {
    invites.apply(record);
  } else if (record.kind == Entries::kKind || record.kind == Entries::kSequenceKind) {
    invites.apply_entry(record);
  } else if (record.kind == kTombstoneKind) {
    invites.apply_tombstone(record);
  } else if (record.kind == OperatorKeys::kKind) {
    operator_keys.apply(record);
  } else if (record.kind == Edges::kKind) {
    edges.apply(record);
  } else if (record.kind == Claims::kKind) {
    apply_claim(record);
  } else if (record.kind == Hubs::kKind) {
    leases.hubs().apply(record);
    if (!record.body) leases.hub_ended(record.key, now);
  } else if (record.kind == Leases::kKind) {
    apply_lease(record, now, wall);
  } else {
    certificates.apply(record);
  }
}

// `invite` outlives what it returns.
Leases::MayServe State::may_serve(const Invite& invite, UnixTime wall) const {
  return [this, &invite, wall](const hubapi::DeclaredService& service) {
    const Invite* owner = invites.owner_of(service.hostname, wall);
    const auto mode = invites.mode_of(invite, service.hostname);
    return owner != nullptr && owner->id == invite.id && (!mode || *mode == service.tls_mode);
  };
}

void State::apply_claim(const Record& record) {
  const auto match = route::Match::parse(record.key);
  const route::PublicPort* port = match ? match->port() : nullptr;
  const Claims::Claim* held = port == nullptr ? nullptr : claims.find(*port);
  const auto before = held == nullptr ? std::nullopt : std::optional(*held);
  claims.apply(record);
  if (port == nullptr) return;
  held = claims.find(*port);
  const bool is_same = before && held && before->invite == held->invite && before->service == held->service;
  if (!is_same) leases.end_match(*match);
  if (held == nullptr) return;
  // One that was revoked meanwhile, or whose record is gone.
  const auto invite = invites.find(held->invite);
  if (invite && (*invite == nullptr || (*invite)->revoked)) claims.end(*port);
}

void State::apply_lease(const Record& record, TimePoint now, UnixTime wall) {
  const Invite* invite = nullptr;
  if (const auto id = Leases::invite_of(record)) invite = invites.find(*id).value_or(nullptr);
  const bool is_known = invite != nullptr && !invite->revoked;
  leases.apply(record, is_known ? invite : nullptr, now, is_known ? may_serve(*invite, wall) : nullptr);
  const auto agent = PublicKey::parse(record.key);
  const auto lease = agent ? leases.all().find(*agent) : leases.all().end();
  if (lease == leases.all().end()) return;
  for (const auto& declared : std::vector(lease->second.ports)) {
    const route::PublicPort port = declared.ports();
    const Claims::Claim* claim = claims.find(port);
    const bool is_claimed =
        claim != nullptr && claim->invite == lease->second.invite && claim->service == declared.name;
    if (!is_claimed) leases.end_match(port);
  }
}

std::vector<Record> State::removals_in(const std::vector<Record>& all) const {
  std::set<std::pair<std::string_view, std::string_view>> there;
  for (const Record& record : all) there.emplace(record.kind, record.key);
  std::vector<Record> removals;
  const auto look_for = [&](std::string_view kind, std::string key) {
    if (!there.contains({kind, key}))
      removals.push_back({.kind = std::string(kind), .key = std::move(key), .body = std::nullopt});
  };
  for (const auto& [tenant, of_tenant] : invites.entries().all()) {
    for (const Record& record : invites.entries().removals(tenant)) look_for(record.kind, record.key);
  }
  for (const Invite& invite : invites.list(std::nullopt, invites.size()).value())
    look_for(kInviteKind, invite_key(invite.id));
  for (const auto& [agent, lease] : leases.all()) look_for(Leases::kKind, agent.to_string());
  for (const auto& [port, claim] : claims.all()) look_for(Claims::kKind, port.text());
  for (const auto& [name, key] : operator_keys.all()) look_for(OperatorKeys::kKind, name);
  for (const auto& [id, edge] : edges.all()) look_for(Edges::kKind, id.to_string());
  certificates.each_key(look_for);
  return removals;
}

Batch State::unstored() const {
  Batch batch = invites.unstored();
  std::ranges::move(claims.unstored().records, std::back_inserter(batch.records));
  std::ranges::move(leases.unstored().records, std::back_inserter(batch.records));
  std::ranges::move(leases.hubs().unstored(), std::back_inserter(batch.records));
  return batch;
}

void State::follow_invites(UnixTime wall) {
  const std::set<InviteId> touched = invites.take_touched();
  const auto live = [&](const InviteId& id) -> const Invite* {
    const auto invite = invites.find(id);
    return invite && *invite != nullptr && (*invite)->live(wall) ? *invite : nullptr;
  };
  // What all of them lose comes before what one of them gains.
  for (const InviteId& id : touched) {
    leases.clear_reserved(id);
    if (const Invite* invite = live(id)) {
      for (const route::PublicPort& port : claims.lost(*invite, rules)) {
        claims.end(port);
        leases.end_match(port);
      }
      leases.set_invite(*invite, may_serve(*invite, wall), rules.limits.with(invite->quotas));
      continue;
    }
    leases.end_invite(id);
    // An invite that expired may be extended: its ports stay reserved as those of agents that are away.
    const auto invite = invites.find(id);
    if (invite && (*invite == nullptr || (*invite)->revoked)) claims.end_invite(id);
  }
  for (const InviteId& id : touched) {
    if (const Invite* invite = live(id)) leases.set_reserved(*invite, invites.overlapped(*invite, wall));
  }
}

void State::expire(TimePoint now, UnixTime wall) {
  if (invites.expire(wall)) follow_invites(wall);
  leases.expire(now, wall);
  claims.follow(leases.take_changed_ports(), leases, wall);
  claims.expire(wall);
}

std::optional<TimePoint> State::next_expiry(TimePoint now, UnixTime wall) const {
  std::optional<TimePoint> next = leases.next_expiry(now, wall);
  const auto expiry = invites.next_expiry();
  if (!expiry || !leases.has_reserved()) return next;
  // Wall clocks can be set. Compared in seconds first: a far expiry in nanoseconds would overflow.
  const auto wait = std::max(*expiry - wall, std::chrono::seconds::zero());
  const TimePoint then = now + (wait < Leases::kMaxWallWait ? Duration(wait) : Leases::kMaxWallWait);
  return next ? std::min(*next, then) : then;
}

}  // namespace culvert::hub
