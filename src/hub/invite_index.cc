#include "hub/invite_index.h"

#include <utility>

namespace culvert::hub {

void InviteIndex::insert(int64_t sequence, Invite invite) {
  sequences_[invite.id] = sequence;
  invites_.insert_or_assign(sequence, std::move(invite));
}

void InviteIndex::erase(const InviteId& id) {
  damaged_.erase(id);
  unstored_.erase(id);
  auto sequence = sequences_.find(id);
  if (sequence == sequences_.end()) return;
  invites_.erase(sequence->second);
  sequences_.erase(sequence);
}

Result<const Invite*> InviteIndex::find(const InviteId& id) const {
  auto sequence = sequences_.find(id);
  if (sequence != sequences_.end()) return &invites_.at(sequence->second);
  if (damaged_.contains(id)) return fail(ErrorCode::kIo, "the invite is damaged in the database");
  return nullptr;
}

Result<std::vector<Invite>> InviteIndex::list(const std::optional<InviteId>& after, size_t limit) const {
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

Result<> InviteIndex::revoke(const InviteId& id) {
  auto sequence = sequences_.find(id);
  if (sequence != sequences_.end()) {
    Invite& invite = invites_.at(sequence->second);
    if (std::exchange(invite.revoked, true) && !unstored_.contains(id)) {
      return fail(ErrorCode::kNotFound, "no such invite, or it is revoked already");
    }
  } else if (damaged_.erase(id) == 0 && !unstored_.contains(id)) {
    return fail(ErrorCode::kNotFound, "no such invite, or it is revoked already");
  }
  unstored_.insert(id);
  return {};
}

void InviteIndex::mark_stored(const std::set<InviteId>& revocations) {
  for (const InviteId& id : revocations) unstored_.erase(id);
}

}  // namespace culvert::hub
