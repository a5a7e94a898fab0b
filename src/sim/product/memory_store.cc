#include "sim/product/memory_store.h"

#include <algorithm>

namespace culvert::sim {
namespace {

constexpr uint64_t kMostMilliseconds = 50;

net::Task<Result<>> write(net::EventLoop& loop, std::shared_ptr<bool> is_open) {
  co_await net::sleep_for(loop, std::chrono::milliseconds(loop.random().below(kMostMilliseconds)));
  if (!*is_open) co_return fail(ErrorCode::kUnavailable, "the hub ends");
  co_return Result<>();
}

}  // namespace

MemoryStore::MemoryStore(net::EventLoop& loop, std::shared_ptr<Disk> disk)
    : loop_(loop), disk_(std::move(disk)) {
  if (disk_->hash_key.empty()) {
    disk_->hash_key.resize(32);
    loop.random().fill(disk_->hash_key);
  }
  for (const auto& [sequence, invite] : disk_->invites) index_.insert(sequence, invite);
}

net::Task<Result<>> MemoryStore::add_invite(hub::Invite invite, UnixTime /*now*/) {
  auto written = co_await write(loop_, is_open_);
  if (!written) co_return written;
  const int64_t sequence = disk_->invites.empty() ? 1 : disk_->invites.rbegin()->first + 1;
  disk_->invites.emplace(sequence, invite);
  index_.insert(sequence, std::move(invite));
  co_return Result<>();
}

net::Task<Result<std::optional<hub::Invite>>> MemoryStore::find_invite(hub::InviteId id) {
  auto found = index_.find(id);
  if (!found) co_return std::unexpected(found.error());
  co_return *found ? std::optional(**found) : std::nullopt;
}

net::Task<Result<std::vector<hub::Invite>>> MemoryStore::list_invites(std::optional<hub::InviteId> after,
                                                                      size_t limit) {
  co_return index_.list(after, limit);
}

net::Task<Result<>> MemoryStore::store_revocation(hub::InviteId id) {
  auto written = co_await write(loop_, is_open_);
  if (!written) co_return written;
  for (auto& [sequence, invite] : disk_->invites) invite.revoked = invite.revoked || invite.id == id;
  index_.mark_stored({id});
  co_return Result<>();
}

}  // namespace culvert::sim
