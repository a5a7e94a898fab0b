#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/result.h"
#include "hub/invite.h"

namespace culvert::hub {

// All invites in memory, in the order in which they were made. There are at most Store::kMaxInvites, some 500
// bytes each.
class InviteIndex {
 public:
  void insert(int64_t sequence, Invite invite);
  // One that is stored and cannot be read: it is neither known nor unknown, but can be revoked.
  void insert_damaged(const InviteId& id) { damaged_.insert(id); }
  void erase(const InviteId& id);

  // nullptr: unknown. kIo: damaged.
  Result<const Invite*> find(const InviteId& id) const;
  // At most `limit`, beginning behind `after`; kNotFound when that is unknown.
  Result<std::vector<Invite>> list(const std::optional<InviteId>& after, size_t limit) const;

  // Also when it is revoked, as long as that is not stored. kNotFound: unknown, or revoked and stored.
  Result<> revoke(const InviteId& id);
  void mark_stored(const std::set<InviteId>& revocations);
  const std::set<InviteId>& unstored_revocations() const { return unstored_; }

 private:
  std::map<int64_t, Invite> invites_;
  std::map<InviteId, int64_t> sequences_;
  std::set<InviteId> damaged_;
  std::set<InviteId> unstored_;
};

}  // namespace culvert::hub
