#include "hub/invites.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "hub/invite_record.h"

namespace culvert::hub {

void Invites::apply(const Record& record) {
  const auto id = parse_invite_id(record.key);
  if (!id) {
    log_error("hub_record_damaged", "kind={} key={}", record.kind, culvert::quoted(record.key));
    return;
  }
  touched_.insert(*id);
  erase(*id);
  put(*id, record);
  changed();
}

void Invites::apply_entry(const Record& record) {
  const auto tenant = entries_.apply(record);
  const auto id = tenant ? tenants_.find(*tenant) : tenants_.end();
  if (id == tenants_.end() || record.kind != Entries::kKind) return;
  Invite invite = invites_.at(sequences_.at(id->second));
  erase(invite.id);
  insert(std::move(invite));
  changed();
}

void Invites::apply_tombstone(const Record& record) {
  const auto id = parse_invite_id(record.key);
  if (!id) return log_error("hub_record_damaged", "kind={} key={}", record.kind, culvert::quoted(record.key));
  if (!record.body) return;  // nothing removes one
  removed_.insert(*id);
  if (const auto tenant = tombstone_tenant(*record.body)) removed_tenants_.insert(*tenant);
}

bool Invites::is_in_force(const Invite& invite, const Entry& entry) {
  return entry.proof == Entry::Proof::kGrant ? invite.is_granted(entry.hostname)
                                             : invite.allow_custom_domains;
}

bool Invites::is_in_force(const PublicKey& tenant, const Entry& entry) const {
  const Invite* invite = find_tenant(tenant);
  return invite != nullptr && !invite->revoked && is_in_force(*invite, entry);
}

std::optional<Invites::Rival> Invites::rival_of(const InviteId& invite, const route::HostPattern& hostname,
                                                UnixTime now) const {
  std::optional<Rival> rival;
  grants_.find_overlap(hostname, [&](const Grants::Grant& grant) {
    const Invite& holder = invites_.at(sequences_.at(grant.holder));
    if (holder.id == invite || !holder.live(now)) return false;
    const bool is_entry = std::ranges::find(holder.hostnames, grant.pattern) == holder.hostnames.end();
    // Of two domains that their holders have proven, each keeps what is more specific.
    if (is_entry && grant.pattern != hostname) return false;
    rival = Rival{holder.tenant, is_entry};
    return !is_entry;
  });
  return rival;
}

void Invites::bury(const InviteId& id, const std::optional<PublicKey>& tenant, UnixTime now,
                   std::vector<Record>& records) const {
  if (tenant) {
    for (Record& record : entries_.removals(*tenant)) records.push_back(std::move(record));
  }
  records.push_back(tombstone_record(id, tenant, now));
}

void Invites::changed() const {
  if (listener_) listener_();
}

void Invites::touch(const Invite& invite) {
  touched_.insert(invite.id);
  for (const auto* patterns : {&invite.hostnames, &invite.entered}) {
    for (const auto& pattern : *patterns) {
      grants_.find_overlap(pattern, [&](const Grants::Grant& grant) {
        // Two that have the same are never live at the same time.
        if (grant.pattern != pattern) touched_.insert(grant.holder);
        return false;
      });
    }
  }
}

void Invites::put(const InviteId& id, const Record& record) {
  if (!record.body) {
    unstored_.erase(id);
    return;
  }
  auto invite = read_invite_record(id, *record.body);
  if (!invite) {
    log_error("hub_invite_damaged", "invite={} reason={}", record.key,
              culvert::quoted(invite.error().message));
    if (!unstored_.contains(id)) damaged_.insert(id);
    return;
  }
  if (invite->revoked) unstored_.erase(id);
  // Others may have written it before they knew.
  invite->revoked = invite->revoked || unstored_.contains(id);
  insert(std::move(*invite));
}

void Invites::insert(Invite invite) {
  invite.entered.clear();
  for (const auto& [hostname, entry] : entries_.of(invite.tenant)) {
    const bool is_granted_itself =
        std::ranges::find(invite.hostnames, entry.hostname) != invite.hostnames.end();
    if (is_in_force(invite, entry) && !is_granted_itself) invite.entered.push_back(entry.hostname);
  }
  touch(invite);
  for (const auto* patterns : {&invite.hostnames, &invite.entered}) {
    for (const auto& pattern : *patterns) grants_.add(pattern, invite.id);
  }
  if (invite.expires_at) expiries_.emplace(*invite.expires_at, invite.id);
  sequences_[invite.id] = invite.sequence;
  tenants_.insert_or_assign(invite.tenant, invite.id);
  const bool is_new = invites_.emplace(invite.sequence, std::move(invite)).second;
  CHECK(is_new);
}

void Invites::erase(const InviteId& id) {
  damaged_.erase(id);
  auto sequence = sequences_.find(id);
  if (sequence == sequences_.end()) return;
  auto invite = invites_.find(sequence->second);
  for (const auto* patterns : {&invite->second.hostnames, &invite->second.entered}) {
    for (const auto& pattern : *patterns) grants_.remove(pattern, id);
  }
  touch(invite->second);
  if (invite->second.expires_at) expiries_.erase({*invite->second.expires_at, id});
  tenants_.erase(invite->second.tenant);
  invites_.erase(invite);
  sequences_.erase(sequence);
}

Result<const Invite*> Invites::find(const InviteId& id) const {
  auto sequence = sequences_.find(id);
  if (sequence != sequences_.end()) return &invites_.at(sequence->second);
  if (damaged_.contains(id)) return fail(ErrorCode::kIo, "the invite is damaged in the database");
  return nullptr;
}

const Invite* Invites::find_tenant(const PublicKey& tenant) const {
  const auto id = tenants_.find(tenant);
  return id == tenants_.end() ? nullptr : &invites_.at(sequences_.at(id->second));
}

Result<std::vector<Invite>> Invites::list(const std::optional<InviteId>& after, size_t limit) const {
  auto next = invites_.begin();
  if (after) {
    auto sequence = sequences_.find(*after);
    if (sequence == sequences_.end()) return fail(ErrorCode::kNotFound, "unknown invite to list after");
    next = invites_.upper_bound(sequence->second);
  }
  std::vector<Invite> out;
  for (; next != invites_.end() && out.size() < limit; ++next) out.push_back(next->second);
  return out;
}

const Invite* Invites::owner_of(const route::HostPattern& hostname, UnixTime now) const {
  const Grants::Grant* grant = grants_.find_owner(
      hostname, [&](const Grants::Grant& each) { return invites_.at(sequences_.at(each.holder)).live(now); });
  return grant == nullptr ? nullptr : &invites_.at(sequences_.at(grant->holder));
}

std::optional<route::TlsMode> Invites::mode_of(const Invite& invite,
                                               const route::HostPattern& hostname) const {
  const Entry* entry = entries_.find(invite.tenant, hostname.text());
  return entry == nullptr ? std::nullopt : entry->tls_mode;
}

std::vector<route::HostPattern> Invites::overlapped(const Invite& invite, UnixTime now) const {
  std::vector<route::HostPattern> found;
  for (const auto* hostnames : {&invite.hostnames, &invite.entered}) {
    for (const auto& hostname : *hostnames) {
      // A wildcard's route is that of one level, and no two invites have the same wildcard.
      if (hostname.is_wildcard()) continue;
      const bool is_covered = grants_.find_owner(hostname, [&](const Grants::Grant& each) {
        return each.holder != invite.id && invites_.at(sequences_.at(each.holder)).live(now);
      }) != nullptr;
      if (is_covered) found.push_back(hostname);
    }
  }
  return found;
}

Invites::Expiries::const_iterator Invites::first_expiry_after(UnixTime time) const {
  return expiries_.lower_bound({time + std::chrono::seconds(1), InviteId{}});
}

bool Invites::expire(UnixTime now) {
  bool any = false;
  for (auto next = first_expiry_after(expired_until_); next != expiries_.end() && next->first <= now;
       ++next) {
    touch(invites_.at(sequences_.at(next->second)));
    any = true;
  }
  expired_until_ = std::max(expired_until_, now);
  if (any) changed();
  return any;
}

std::optional<UnixTime> Invites::next_expiry() const {
  const auto next = first_expiry_after(expired_until_);
  return next == expiries_.end() ? std::nullopt : std::optional(next->first);
}

Result<> Invites::check_free(const Invite& wanting, const std::vector<route::HostPattern>& hostnames,
                             UnixTime now, bool allow_overlap) const {
  if (!damaged_.empty()) {
    return fail(ErrorCode::kConflict,
                "the invite {} is damaged in the database, and may have the hostname; revoke it",
                invite_key(*damaged_.begin()));
  }
  for (const auto& wanted : hostnames) {
    const Grants::Grant* held = grants_.find_overlap(wanted, [&](const Grants::Grant& grant) {
      const bool conflicts = !allow_overlap || grant.pattern == wanted;
      return conflicts && grant.holder != wanting.id && invites_.at(sequences_.at(grant.holder)).live(now);
    });
    if (held == nullptr) continue;
    constexpr std::string_view kAllow =
        ", or allow the overlap (--allow-overlap): the most specific of those that cover a name has it";
    return fail(ErrorCode::kConflict,
                "hostname {} overlaps {} of the invite {}; revoke that one or choose another name{}",
                wanted.text(), held->pattern.text(),
                culvert::quoted(invites_.at(sequences_.at(held->holder)).name),
                held->pattern == wanted ? "" : kAllow);
  }
  return {};
}

Result<std::vector<Record>> Invites::add(Invite& invite, UnixTime now, bool allow_overlap) const {
  std::vector<Record> records;
  const bool was_used = sequences_.contains(invite.id) || tenants_.contains(invite.tenant) ||
                        was_removed(invite.id) || was_removed(invite.tenant);
  if (was_used)
    return fail(ErrorCode::kConflict, "the id or the key of the invite was used before; try again");
  if (invites_.size() >= kMax) {
    const auto ended =
        std::ranges::find_if(invites_, [&](const auto& each) { return !each.second.live(now); });
    if (ended == invites_.end()) {
      return fail(ErrorCode::kLimit, "there are {} live invites, the most this hub keeps; revoke some", kMax);
    }
    records.push_back(
        {.kind = std::string(kInviteKind), .key = invite_key(ended->second.id), .body = std::nullopt});
    bury(ended->second.id, ended->second.tenant, now, records);
  }
  if (auto free = check_free(invite, invite.hostnames, now, allow_overlap); !free)
    return std::unexpected(free.error());
  invite.sequence = invites_.empty() ? 1 : invites_.rbegin()->first + 1;
  records.push_back(invite_record(invite));
  return records;
}

Result<std::vector<Record>> Invites::change(const Invite& changed, UnixTime now, bool allow_overlap) const {
  std::vector<route::HostPattern> added = changed.hostnames;
  const auto sequence = sequences_.find(changed.id);
  if (sequence != sequences_.end() && invites_.at(sequence->second).live(now)) {
    // While it was not, others may have got them.
    const auto& before = invites_.at(sequence->second).hostnames;
    std::erase_if(added, [&](const auto& each) { return std::ranges::find(before, each) != before.end(); });
  }
  if (auto free = check_free(changed, added, now, allow_overlap); !free) return std::unexpected(free.error());
  return std::vector{invite_record(changed)};
}

Result<> Invites::revoke(const InviteId& id, AuditEntry audit) {
  auto sequence = sequences_.find(id);
  if (sequence != sequences_.end()) {
    Invite& invite = invites_.at(sequence->second);
    if (std::exchange(invite.revoked, true) && !unstored_.contains(id)) {
      return fail(ErrorCode::kNotFound, "no such invite, or it is revoked already");
    }
    touch(invite);
  } else if (damaged_.erase(id) == 0 && !unstored_.contains(id)) {
    return fail(ErrorCode::kNotFound, "no such invite, or it is revoked already");
  }
  unstored_.emplace(id, std::move(audit));
  touched_.insert(id);
  changed();
  return {};
}

Batch Invites::unstored() const {
  Batch batch;
  for (const auto& [id, audit] : unstored_) {
    const auto sequence = sequences_.find(id);
    // Without one it is damaged: nothing but its removal can be stored of it.
    batch.records.push_back(
        sequence != sequences_.end()
            ? invite_record(invites_.at(sequence->second))
            : Record{.kind = std::string(kInviteKind), .key = invite_key(id), .body = {}});
    const auto tenant =
        sequence != sequences_.end() ? std::optional(invites_.at(sequence->second).tenant) : std::nullopt;
    bury(id, tenant, audit.at, batch.records);
    batch.audit.push_back(audit);
  }
  return batch;
}

}  // namespace culvert::hub
