#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "hub/grants.h"
#include "hub/invite.h"
#include "hub/record.h"

namespace culvert::hub {

// All invites in memory, in the order in which they were made: what the database has, and revocations that it
// does not have yet. Sans-I/O.
class Invites {
 public:
  static constexpr size_t kMax = 10'000;

  // Called with the id of each invite that has changed: `listener` looks it up, and does not call back.
  void set_listener(std::function<void(const InviteId&)> listener) { listener_ = std::move(listener); }

  // A record of kInviteKind, as it is in the database from now on.
  void apply(const Record& record);

  // nullptr: unknown. kIo: damaged in the database.
  Result<const Invite*> find(const InviteId& id) const;
  // nullptr: unknown, or damaged.
  const Invite* find_tenant(const PublicKey& tenant) const;
  // At most `limit`, beginning behind `after`; kNotFound when that is unknown.
  Result<std::vector<Invite>> list(const std::optional<InviteId>& after, size_t limit) const;
  size_t size() const { return invites_.size(); }
  // In the order of their creation.
  const std::map<int64_t, Invite>& all() const { return invites_; }

  // What adds `invite`, with the sequence number that it gets, and removes the oldest that is not live if
  // there are kMax. Errors: kConflict, a hostname overlaps a live invite of another tenant, the message names
  // pattern and invite; kLimit, there are kMax live ones; kIo, a damaged one may overlap.
  Result<std::vector<Record>> add(Invite& invite, UnixTime now) const;

  // What puts `changed` in the place of the invite with its id, which is there. Errors: as add().
  Result<std::vector<Record>> change(const Invite& changed, UnixTime now) const;

  // In force at once; also when it was revoked before, as long as that is not stored. `audit` is written when
  // it is. kNotFound: unknown, or revoked and stored.
  Result<> revoke(const InviteId& id, AuditEntry audit);
  // What stores the revocations that the database does not have.
  Batch unstored() const;
  const std::map<InviteId, AuditEntry>& unstored_revocations() const { return unstored_; }

 private:
  void put(const InviteId& id, const Record& record);
  void insert(Invite invite);
  void erase(const InviteId& id);
  Result<> check_free(const Invite& wanting, UnixTime now) const;

  std::map<int64_t, Invite> invites_;
  std::map<InviteId, int64_t> sequences_;
  std::unordered_map<PublicKey, InviteId> tenants_;
  Grants grants_;
  std::set<InviteId> damaged_;
  std::map<InviteId, AuditEntry> unstored_;
  std::function<void(const InviteId&)> listener_;
};

}  // namespace culvert::hub
