#pragma once
#include <filesystem>
#include <functional>
#include <memory>

#include "base/key.h"
#include "base/random.h"
#include "base/secret.h"
#include "hub/record.h"
#include "hub/record_database.h"
#include "hub/store_options.h"
#include "net/event_loop.h"

namespace culvert::hub {

// A database of records as the hub's loop sees it: no call waits for it but close().
class RecordStore {
 public:
  virtual ~RecordStore() = default;

  // The key of all secret hashes, 32 bytes, made with the database.
  virtual ByteView hash_key() const = 0;
  // What was there when it was opened.
  virtual uint64_t revision() const = 0;
  virtual std::vector<Record> take_records() = 0;

  // Writes `batch` if the database is at revision `at`. `then` is called on the loop, once, and also after
  // close(). Errors: kUnavailable, the hub ends, or too much waits; kIo, the database refused (full disk,
  // lock, damage) or cannot be reached; kClosed, it is no longer the one that was opened, the message says
  // what to do. After an error nothing was written, unless the hub ends. When the connection to a database
  // is lost while it writes, there is no answer before it is known which it is.
  virtual void commit(uint64_t at, Batch batch, std::function<void(Result<CommitOutcome>)> then) = 0;

  // At most `limit` entries of the audit log, the newest first; those before the entry `before`, if there is
  // one. Errors as those of commit().
  virtual void read_audit(std::optional<uint64_t> before, size_t limit,
                          std::function<void(Result<std::vector<AuditEntry>>)> then) = 0;

  // For a database that several hubs share. `on_commit` is called on the loop with the revision soon after
  // each commit of any hub, and without one when some may have been missed.
  virtual bool is_shared() const { return false; }
  virtual void set_on_commit(std::function<void(std::optional<uint64_t>)> on_commit) = 0;
  // What was written since the revision `after`. Errors as those of commit().
  virtual void read_newer(uint64_t after, std::function<void(Result<CommitOutcome>)> then) = 0;

  // Why nothing can be written now, as far as is known; looked at again every StoreOptions::check_interval.
  virtual std::optional<std::string> fault() const { return std::nullopt; }

  // Writes `last`, if there is anything in it, behind what is under way, and waits for both for a bounded
  // time; blocks. Every `then` was called when it returns.
  virtual void close(Batch last, std::function<void(Result<CommitOutcome>)> then) = 0;
};

// kInvalid: `text` is not the URL of a PostgreSQL database; the message does not repeat it.
Result<> check_database_url(std::string_view text);

// The PostgreSQL database at `url`, or the SQLite file at `path` when that is empty; made when it is missing.
// For the errors see PostgresDatabase::open() and SqliteDatabase::open().
Result<std::unique_ptr<RecordDatabase>> open_database(const std::filesystem::path& path,
                                                      const SecretString& url, Random& random,
                                                      StoreOptions options = {});
// A store over it, for a hub with this key. Errors: also those of load_as().
Result<std::unique_ptr<RecordStore>> open_store(net::EventLoop& loop, const std::filesystem::path& path,
                                                const SecretString& url, Random& random,
                                                const PublicKey& hub_key, StoreOptions options = {});
Result<std::unique_ptr<RecordStore>> open_sqlite_store(net::EventLoop& loop,
                                                       const std::filesystem::path& path, Random& random,
                                                       StoreOptions options = {});

}  // namespace culvert::hub
