#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/secret.h"
#include "hub/record.h"

namespace culvert::hub {

// As long as it exists, its owner is told of commits; see RecordDatabase::watch().
class CommitWatch {
 public:
  virtual ~CommitWatch() = default;
};

// A database of records. Every call may block: for a lock that another process holds, and for the disk or the
// network. One thread at a time uses it.
class RecordDatabase {
 public:
  static constexpr size_t kHashKeySize = 32;
  // Removed records are kept for as many commits, for those that follow the revisions.
  static constexpr uint64_t kRemovedFor = 10'000;

  struct Content {
    uint64_t revision = 0;
    std::vector<Record> records;
  };

  // All that there is, but for what is removed and what hubs tell of themselves (Hubs::kKind).
  struct Archive {
    uint64_t revision = 0;
    SecretBytes<kHashKeySize> hash_key = {};
    std::vector<Record> records = {};
    std::vector<AuditEntry> audit = {};  // the oldest first
  };

  virtual ~RecordDatabase() = default;

  // The key of all secret hashes, kHashKeySize bytes, made with the database.
  virtual ByteView hash_key() const = 0;
  // All that is not removed.
  virtual Result<Content> load() = 0;
  // Writes all of `batch` if the database is at revision `at`, and nothing otherwise. `id` is this commit's:
  // a call that is repeated with the same values writes once. Errors: kIo, the message names the database,
  // and kClosed as check(): this call has written nothing. kReset: the connection was lost, and it may have
  // been written; the call is to be repeated until there is an outcome, or kClosed.
  virtual Result<CommitOutcome> commit(uint64_t at, const Batch& batch, uint64_t id) = 0;
  // What was written since the revision `after`. kIo, kClosed as check().
  virtual Result<CommitOutcome> newer(uint64_t after) = 0;
  // At most `limit` entries of the audit log, the newest first; those before the entry `before`, if there is
  // one. kIo.
  virtual Result<std::vector<AuditEntry>> audit(std::optional<uint64_t> before, size_t limit) = 0;
  // Removes the oldest entries of the audit log, so that the newest `keep` of tenants ("tenant ID") and as
  // many of all others are left, and no tenant can push out what operators did; some thousand at most for one
  // call. Whether there may be more to remove. kIo.
  virtual Result<bool> prune_audit(size_t keep) = 0;
  // As of one moment, whatever is written meanwhile. kIo.
  virtual Result<Archive> read_archive() = 0;
  // Puts the archive in the place of all that is there, at a revision from which every hub that follows reads
  // everything. With `only_if_empty`, kConflict when there is a record. kIo: nothing was changed.
  virtual Result<> write_archive(const Archive& archive, bool only_if_empty) = 0;
  // Whether it is there and still the database that was opened, and can be written to again if it could not.
  // kClosed: it is another one, and the message says what to do; kIo. Does what is to be done now and then.
  virtual Result<> check() = 0;

  // For a database that several hubs share: `on_commit` is called with the revision soon after each commit,
  // and without one when some may have been missed; on a thread of the watch, until that is destroyed, which
  // waits for a call that is under way. nullptr: nobody else writes to the database.
  virtual std::unique_ptr<CommitWatch> watch(std::function<void(std::optional<uint64_t>)> on_commit) = 0;
};

}  // namespace culvert::hub
