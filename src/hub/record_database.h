#pragma once
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "hub/record.h"

namespace culvert::hub {

// A database of records. Every call may block: for a lock that another process holds, and for the disk or the
// network. One thread at a time uses it.
class RecordDatabase {
 public:
  static constexpr size_t kHashKeySize = 32;

  struct Content {
    uint64_t revision = 0;
    std::vector<Record> records;
  };

  virtual ~RecordDatabase() = default;

  // The key of all secret hashes, kHashKeySize bytes, made with the database.
  virtual ByteView hash_key() const = 0;
  // All that is not removed.
  virtual Result<Content> load() = 0;
  // Writes all of `batch` if the database is at revision `at`, and nothing otherwise. Errors, after which
  // nothing was written: kIo, the message names the database; kClosed as check().
  virtual Result<CommitOutcome> commit(uint64_t at, const Batch& batch) = 0;
  // At most `limit` entries of the audit log, the newest first; those before the entry `before`, if there is
  // one. kIo.
  virtual Result<std::vector<AuditEntry>> audit(std::optional<uint64_t> before, size_t limit) = 0;
  // Removes the oldest entries of the audit log, so that at least the newest `keep` are left, some thousand
  // at most for one call. Whether there may be more to remove. kIo.
  virtual Result<bool> prune_audit(size_t keep) = 0;
  // Whether it is still the database that was opened; every commit does this first. kClosed: no, and the
  // message says what to do.
  virtual Result<> check() = 0;
};

}  // namespace culvert::hub
