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

// The SQLite file of the hub's invites. Every call may block: for a lock that another process holds, for as
// long as `busy_time`, and for the disk. One thread at a time uses it. Whatever SQLite refuses (disk full,
// read-only, damaged, locked) comes back as kIo and has changed nothing.
class StoreDatabase {
 public:
  static constexpr int kSchemaVersion = 1;
  static constexpr size_t kHashKeySize = 32;
  static constexpr Duration kMaxCheckTime = std::chrono::seconds(5);  // far more than so many invites take

  // Makes the file (mode 0600) when missing. Checks its length and, for at most kMaxCheckTime, its structure.
  // A file that cannot be written for want of space is opened, with a warning. Errors name the file and the
  // next step: kInvalid for a corrupt or foreign file, a directory, a newer schema; kIo when it cannot be
  // read, or written for another reason.
  static Result<std::unique_ptr<StoreDatabase>> open(const std::filesystem::path& path, Random& random,
                                                     Duration busy_time);
  ~StoreDatabase();

  // The key of all secret hashes, kHashKeySize bytes, made with the database.
  ByteView hash_key() const;

  struct Row {
    int64_t sequence;  // grows with each invite
    InviteId id;
    Result<Invite> invite;  // kIo when the row is damaged
  };
  // All rows, oldest first. Those without a readable id are left out, with an error in the log.
  Result<std::vector<Row>> load();

  struct Added {
    int64_t sequence;
    std::optional<InviteId> removed;  // made room
  };
  // Stores `revocations` as well, or neither. kConflict: a hostname overlaps a live invite of another tenant;
  // the message names pattern and invite. kLimit: `max_invites` live ones exist. At that number, the oldest
  // that is not live makes room.
  Result<Added> add_invite(const Invite& invite, UnixTime now, const std::set<InviteId>& revocations,
                           size_t max_invites);
  // All or none. Unknown ids and those that are revoked already are no error.
  Result<> store_revocations(const std::set<InviteId>& ids);

  // Whether the path still leads to the file that is open: every write of the calls above does this first.
  // A file that was removed is written again with everything that was in it, because no other file was put
  // there. One that was replaced is left alone, and nothing is written to either: kClosed, and the message
  // says what to do.
  Result<> check_file();

 private:
  struct Impl;
  explicit StoreDatabase(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::hub
