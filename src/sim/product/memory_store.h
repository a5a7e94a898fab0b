#pragma once
#include <map>
#include <memory>

#include "hub/invite_index.h"
#include "hub/store.h"

// Tests only: invites on a simulated disk.
namespace culvert::sim {

// What survives the node that wrote it.
struct Disk {
  Bytes hash_key;
  std::map<int64_t, hub::Invite> invites;  // in the order in which they were made
};

// Each write takes a random while; one that has not ended when the node is killed has not happened.
class MemoryStore final : public hub::Store {
 public:
  MemoryStore(net::EventLoop& loop, std::shared_ptr<Disk> disk);

  ByteView hash_key() const override { return disk_->hash_key; }
  net::Task<Result<>> add_invite(hub::Invite invite, UnixTime now) override;
  net::Task<Result<std::optional<hub::Invite>>> find_invite(hub::InviteId id) override;
  net::Task<Result<std::vector<hub::Invite>>> list_invites(std::optional<hub::InviteId> after,
                                                           size_t limit) override;
  Result<> revoke_now(const hub::InviteId& id) override { return index_.revoke(id); }
  net::Task<Result<>> store_revocation(hub::InviteId id) override;
  void close() override { *is_open_ = false; }
  size_t unstored_revocations() const override { return index_.unstored_revocations().size(); }

 private:
  net::EventLoop& loop_;
  std::shared_ptr<Disk> disk_;
  hub::InviteIndex index_;
  std::shared_ptr<bool> is_open_ =
      std::make_shared<bool>(true);  // outlives the store for tasks that still wait
};

}  // namespace culvert::sim
