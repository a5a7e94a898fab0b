#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "hub/invite.h"

namespace culvert::hub {

// Invites in one SQLite file. Every call is a handful of page reads, or one synced write: small enough to run
// on the hub's own loop, which carries no data path. Whatever SQLite refuses (disk full, read-only, damaged,
// locked) comes back as kIo and has changed nothing, but for revocations: see revoke_invite().
class Store {
 public:
  static constexpr int kSchemaVersion = 1;
  static constexpr size_t kMaxInvites = 10'000;
  static constexpr Duration kMaxCheckTime = std::chrono::seconds(5);  // far more than so many invites take

  // Makes the file (mode 0600) when missing. Checks its length and, for at most kMaxCheckTime, its structure.
  // A file that cannot be written for want of space is opened, with a warning: agents need reads only. Errors
  // name the file and the next step: kInvalid for a corrupt or foreign file, a directory, a newer schema; kIo
  // when it cannot be read, or written for another reason.
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
  // kNotFound: unknown or revoked already. kIo: the invite is revoked, but only in memory until
  // store_revocations() or a further call for it succeeds; a restart before that brings it back.
  Result<> revoke_invite(const InviteId& id);
  // Stores what revoke_invite() could not. Nothing to do: success.
  Result<> store_revocations();
  // At most kMaxInvites.
  const std::set<InviteId>& unstored_revocations() const;

 private:
  struct Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::hub
