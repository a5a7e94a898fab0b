#pragma once
#include <filesystem>
#include <memory>

#include "base/clock.h"
#include "base/random.h"
#include "hub/record_database.h"

namespace culvert::hub {

// Records in an SQLite file. Whatever SQLite refuses (disk full, read-only, damaged, locked) comes back as
// kIo.
class SqliteDatabase final : public RecordDatabase {
 public:
  // 1: invites in tables of their own. 2: records.
  static constexpr int kSchemaVersion = 2;
  static constexpr Duration kMaxCheckTime = std::chrono::seconds(5);

  // Makes the file (mode 0600) when missing, and converts that of an earlier schema in one step. Checks its
  // length and, for at most kMaxCheckTime, its structure. A file that cannot be written for want of space is
  // opened, with a warning, if its schema is the current one. Calls wait for a lock for `busy_time` at most.
  // Errors name the file and the next step: kInvalid for a corrupt or foreign file, a directory, a newer
  // schema; kIo when it cannot be read, or written for another reason.
  static Result<std::unique_ptr<SqliteDatabase>> open(const std::filesystem::path& path, Random& random,
                                                      Duration busy_time);
  ~SqliteDatabase() override;

  ByteView hash_key() const override;
  Result<Content> load() override;
  Result<CommitOutcome> commit(uint64_t at, const Batch& batch, uint64_t id) override;
  Result<CommitOutcome> newer(uint64_t after) override;
  Result<bool> prune_audit(size_t keep) override;
  Result<std::vector<AuditEntry>> audit(std::optional<uint64_t> before, size_t limit) override;
  Result<Archive> read_archive() override;
  Result<> write_archive(const Archive& archive, bool only_if_empty) override;
  // A file that was removed is written again with everything that was in it, because no other file was put
  // there. One that was replaced is left alone, and nothing is written to either.
  Result<> check() override;
  std::unique_ptr<CommitWatch> watch(std::function<void(std::optional<uint64_t>)> /*on_commit*/) override {
    return nullptr;
  }

 private:
  struct Impl;
  explicit SqliteDatabase(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::hub
