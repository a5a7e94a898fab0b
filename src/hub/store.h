#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "base/random.h"
#include "base/result.h"
#include "hub/invite.h"

namespace culvert::hub {

// Invites in one SQLite file. Every call is a handful of page reads, or one synced write: small enough to run
// on the hub's own loop, which carries no data path. Whatever SQLite refuses (disk full, read-only, damaged,
// locked) comes back as kIo and has changed nothing.
class Store {
 public:
  static constexpr int kSchemaVersion = 1;
  static constexpr size_t kMaxInvites = 10'000;

  // Makes the file (mode 0600) when missing. Takes constant time whatever the file's size; damage that it
  // meets, and only that, is looked into with quick_check. Errors name the file and the next step: kInvalid
  // for a corrupt or foreign file, a directory, a newer schema; kIo when it cannot be read or written.
  static Result<std::unique_ptr<Store>> open(const std::filesystem::path& path, Random& random);
  ~Store();

  // The key of all secret hashes, 32 bytes, made with the database.
  ByteView hash_key() const;

  // kConflict: a hostname overlaps a live invite of another tenant; the message names pattern and invite.
  // kLimit: kMaxInvites live ones exist. At the cap, the oldest that are not live make room.
  Result<> add_invite(const Invite& invite, UnixTime now);
  Result<std::optional<Invite>> find_invite(const InviteId& id);
  // At most `limit`, oldest first, beginning behind `after`; kNotFound when `after` is unknown.
  Result<std::vector<Invite>> list_invites(const std::optional<InviteId>& after, size_t limit);
  // kNotFound: unknown or revoked already.
  Result<> revoke_invite(const InviteId& id);

 private:
  struct Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::hub
