#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/result.h"
#include "hub/entries.h"
#include "hub/grants.h"
#include "hub/invite.h"
#include "hub/record.h"

namespace culvert::hub {

// All invites in memory, in the order in which they were made: what the database has, and revocations that it
// does not have yet. Sans-I/O.
class Invites {
 public:
  static constexpr size_t kMax = 10'000;

  // Called when invites have changed, after which take_touched() names them: `listener` looks them up, and
  // changes none.
  void set_listener(std::function<void()> listener) { listener_ = std::move(listener); }
  // Invites that were added, changed, revoked or removed since the last call, and those whose grants overlap
  // theirs.
  std::set<InviteId> take_touched() { return std::exchange(touched_, {}); }

  // A record of kInviteKind, as it is in the database from now on.
  void apply(const Record& record);
  // One of Entries' kinds.
  void apply_entry(const Record& record);
  // One of kTombstoneKind.
  void apply_tombstone(const Record& record);

  // nullptr: unknown. kIo: damaged in the database.
  Result<const Invite*> find(const InviteId& id) const;
  // nullptr: unknown, or damaged.
  const Invite* find_tenant(const PublicKey& tenant) const;
  // Whether it was removed, and may not come back.
  bool was_removed(const InviteId& id) const { return removed_.contains(id); }
  bool was_removed(const PublicKey& tenant) const { return removed_tenants_.contains(tenant); }

  const Entries& entries() const { return entries_; }
  // Whether an entry of the tenant counts now: its invite grants the name, or allows it domains of its own.
  bool is_in_force(const PublicKey& tenant, const Entry& entry) const;
  // What stands in the way of an entry of `hostname` that the operator has not granted.
  struct Rival {
    PublicKey tenant;
    bool is_entry;  // of exactly this hostname; otherwise the operator has granted what overlaps it
  };
  std::optional<Rival> rival_of(const InviteId& invite, const route::HostPattern& hostname,
                                UnixTime now) const;
  // Whose a name, or the names under a wildcard, are: the live invite's with the most specific grant of those
  // that cover it. nullptr: nobody's.
  const Invite* owner_of(const route::HostPattern& hostname, UnixTime now) const;
  // The only TLS mode in which the tenant's own entry lets the hostname be served; nullopt: either.
  std::optional<route::TlsMode> mode_of(const Invite& invite, const route::HostPattern& hostname) const;
  // Hostnames of the invite that a wildcard of another live invite covers as well: without a route of their
  // own, that one's would get their clients.
  std::vector<route::HostPattern> overlapped(const Invite& invite, UnixTime now) const;
  // Whether some invite has expired by `now` that had not at the last call; they are touched then.
  bool expire(UnixTime now);
  // When the next one does; nullopt: none that is known will.
  std::optional<UnixTime> next_expiry() const;
  // At most `limit`, beginning behind `after`; kNotFound when that is unknown.
  Result<std::vector<Invite>> list(const std::optional<InviteId>& after, size_t limit) const;
  size_t size() const { return invites_.size(); }
  // In the order of their creation.
  const std::map<int64_t, Invite>& all() const { return invites_; }

  // What adds `invite`, with the sequence number that it gets, and removes the oldest that is not live if
  // there are kMax. With `allow_overlap` a hostname of it may overlap those of other invites, but not be the
  // same. Errors: kConflict, a hostname is or overlaps one of a live invite of another tenant, the message
  // names pattern and invite, or its id or key was used before; kLimit, there are kMax live ones; kIo, a
  // damaged one may overlap.
  Result<std::vector<Record>> add(Invite& invite, UnixTime now, bool allow_overlap = false) const;

  // What puts `changed` in the place of the invite with its id, which is there. Hostnames that it has already
  // are not judged again while it is live. Errors: as add().
  Result<std::vector<Record>> change(const Invite& changed, UnixTime now, bool allow_overlap = false) const;

  // In force at once; also when it was revoked before, as long as that is not stored. `audit` is written when
  // it is. kNotFound: unknown, or revoked and stored.
  Result<> revoke(const InviteId& id, AuditEntry audit);
  // What stores the revocations that the database does not have.
  Batch unstored() const;
  const std::map<InviteId, AuditEntry>& unstored_revocations() const { return unstored_; }
  // Those whose records cannot be read. They may have any hostname: until they are revoked none is granted.
  const std::set<InviteId>& damaged() const { return damaged_; }

 private:
  using Expiries = std::set<std::pair<UnixTime, InviteId>>;

  Expiries::const_iterator first_expiry_after(UnixTime time) const;
  void put(const InviteId& id, const Record& record);
  void insert(Invite invite);
  void erase(const InviteId& id);
  Result<> check_free(const Invite& wanting, const std::vector<route::HostPattern>& hostnames, UnixTime now,
                      bool allow_overlap) const;
  void touch(const Invite& invite);
  static bool is_in_force(const Invite& invite, const Entry& entry);
  // What removes all that is kept of a tenant but its invite.
  void bury(const InviteId& id, const std::optional<PublicKey>& tenant, UnixTime now,
            std::vector<Record>& records) const;
  void changed() const;

  std::map<int64_t, Invite> invites_;
  std::map<InviteId, int64_t> sequences_;
  std::unordered_map<PublicKey, InviteId> tenants_;
  Entries entries_;
  Grants grants_;  // of the operator, and of entries in force
  std::set<InviteId> removed_;
  std::unordered_set<PublicKey> removed_tenants_;
  std::set<InviteId> damaged_;
  std::map<InviteId, AuditEntry> unstored_;
  std::set<InviteId> touched_;
  Expiries expiries_;
  UnixTime expired_until_{};  // expiries up to here were told
  std::function<void()> listener_;
};

}  // namespace culvert::hub
