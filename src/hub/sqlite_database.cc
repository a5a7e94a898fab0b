#include "hub/sqlite_database.h"

#include <sqlite3.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "base/encoding.h"
#include "base/file.h"
#include "base/log.h"
#include "base/secret.h"
#include "hub/hubs.h"
#include "hub/invite_record.h"
#include "hub/sqlite_statement.h"

namespace culvert::hub {
namespace {

namespace fs = std::filesystem;

constexpr int kApplicationId = 0x43565431;  // "CVT1": tells our files from another program's
constexpr uintmax_t kMinFileSize = 4096;    // one page

// `revision` of a record is that of the commit that wrote it last; one without a body is removed, and stays
// for those that follow the revisions.
constexpr const char* kSchema = R"sql(
  CREATE TABLE IF NOT EXISTS meta (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE records (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    body TEXT,
    revision INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
  ) WITHOUT ROWID;
  CREATE INDEX records_by_revision ON records (revision);
  CREATE INDEX removed_records ON records (revision) WHERE body IS NULL;
  CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    revision INTEGER NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL
  );
  INSERT INTO meta (key, value) VALUES ('revision', 0);
)sql";

constexpr const char* kSelectRevision = "SELECT value FROM meta WHERE key = 'revision'";

// Of schema 1, in the order that read_invite() expects.
constexpr const char* kSelectOldInvites = R"sql(
  SELECT id, name, tenant, secret_hash, created_at, expires_at, revoked,
         (SELECT group_concat(pattern) FROM
            (SELECT pattern FROM invite_hostnames WHERE invite = invites.sequence ORDER BY position)),
         sequence
  FROM invites ORDER BY sequence
)sql";
constexpr int kSequenceColumn = 8;

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;

bool is_damage(int code) { return (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB; }

// An invite of schema 1; nullopt when its row is damaged.
std::optional<Invite> read_invite(Statement& row) {
  InviteId id;
  Sha256 secret_hash;
  if (row.blob(0).size() != id.size() || row.blob(3).size() != secret_hash.size()) return std::nullopt;
  std::ranges::copy(row.blob(0), id.begin());
  std::ranges::copy(row.blob(3), secret_hash.begin());
  auto tenant = PublicKey::from_bytes(row.blob(2));
  auto hostnames = route::parse_host_patterns(row.text(7));
  if (!tenant || !hostnames) return std::nullopt;
  Invite invite{.id = id,
                .sequence = row.integer(kSequenceColumn),
                .name = std::string(row.text(1)),
                .tenant = *tenant,
                .secret_hash = secret_hash,
                .hostnames = std::move(*hostnames),
                .created_at = UnixTime(std::chrono::seconds(row.integer(4))),
                .expires_at = std::nullopt,
                .revoked = row.integer(6) != 0};
  if (!row.is_null(5)) invite.expires_at = UnixTime(std::chrono::seconds(row.integer(5)));
  return invite;
}

Result<> put_record(sqlite3* database, const Record& record, uint64_t revision) {
  Statement row(
      database,
      "INSERT INTO records (kind, key, body, revision) VALUES (?, ?, ?, ?) ON CONFLICT (kind, key) DO "
      "UPDATE SET body = excluded.body, revision = excluded.revision");
  row.bind(std::string_view(record.kind)).bind(std::string_view(record.key));
  if (record.body) {
    row.bind(std::string_view(*record.body));
  } else {
    row.bind_null();
  }
  return row.bind(static_cast<int64_t>(revision)).run();
}

Result<> put_audit(sqlite3* database, const AuditEntry& entry, uint64_t revision) {
  Statement row(
      database,
      "INSERT INTO audit (sequence, revision, at, actor, action, subject, before, after) VALUES (?, ?, ?, ?, "
      "?, ?, ?, ?)");
  // A new entry gets its number here.
  if (entry.sequence == 0) {
    row.bind_null();
  } else {
    row.bind(static_cast<int64_t>(entry.sequence));
  }
  row.bind(static_cast<int64_t>(revision)).bind(entry.at.time_since_epoch().count());
  for (const std::string* text : {&entry.actor, &entry.action, &entry.subject, &entry.before, &entry.after})
    row.bind(std::string_view(*text));
  return row.run();
}

Record read_record(Statement& row) {
  Record record{.kind = std::string(row.text(0)), .key = std::string(row.text(1)), .body = std::nullopt};
  if (!row.is_null(2)) record.body = std::string(row.text(2));
  return record;
}

}  // namespace

struct SqliteDatabase::Impl {
  fs::path path;
  Database database;
  SecretBytes<SqliteDatabase::kHashKeySize> hash_key;
  Duration busy_time;
  FileIdentity identity;  // of the open file
  // Of what write_again() made and could not open yet.
  std::optional<FileIdentity> rewritten;
  std::optional<Error> file_lost;  // what the last look at the path found wrong
  bool is_refusing = false;        // the last write failed

  std::unexpected<Error> failed(const char* verb, const Error& error) const {
    return fail(error.code, "cannot {} the database {}: {}", verb, path.native(), error.message);
  }
  Error corrupt(std::string_view detail) const {
    return {ErrorCode::kInvalid,
            fmt::format(
                "the database {} is corrupt or no database at all ({}); restore it from a backup, or move it "
                "away to start with an empty one (all invites must then be created again)",
                path.native(), detail)};
  }
  Result<> connect(Random& random);
  Result<> create(Random& random);
  Result<> check_kind();
  Result<> make_schema(Random& random);
  Result<> convert_invites();
  Result<> load_hash_key();
  Result<> check_integrity();
  Result<> try_write();
  Error explain(const Error& error);

  Result<std::vector<Record>> all_records();
  Result<std::vector<Record>> records_after(uint64_t revision);
  Result<CommitOutcome> write(uint64_t at, const Batch& batch);
  Result<> replace(const RecordDatabase::Archive& archive, bool only_if_empty);

  Result<> open_file();
  Result<> write_copy();
  Result<> set_modes();
  Result<> look();
  Result<> look_at_path();
  Result<> write_again();
  Result<> use_written();
};

// Why an open failed, for the person who must repair it.
Error SqliteDatabase::Impl::explain(const Error& error) {
  if (!database || !is_damage(sqlite3_errcode(database.get()))) return error;
  std::string detail = sqlite3_errmsg(database.get());
  Statement check(database.get(), "PRAGMA quick_check(1)");
  if (auto row = check.step(); row && *row && check.text(0) != "ok") detail = check.text(0);
  return corrupt(detail);
}

Result<> SqliteDatabase::Impl::connect(Random& random) {
  std::error_code ec;
  auto status = fs::status(path, ec);
  if (fs::is_directory(status)) {
    return fail(ErrorCode::kInvalid, "the database {} is a directory; name a file", path.native());
  }
  if (status.type() == fs::file_type::not_found) {
    if (auto created = create(random); !created) return created;
  } else if (fs::exists(status) && !fs::is_regular_file(status)) {
    return fail(ErrorCode::kInvalid, "the database {} is not a regular file", path.native());
  }
  auto changed = make_private(path);
  if (!changed) return std::unexpected(changed.error());
  if (*changed) {
    log_warn("hub_database_mode", "path={} was=shared now=private", culvert::quoted(path.native()));
  }
  // SQLite takes some stumps, and an empty file, for an empty database; ours is never shorter than a page.
  // But a write that was interrupted may leave one together with a journal, from which SQLite restores the
  // file.
  std::error_code no_journal;
  const auto journal = fs::file_size(path.native() + "-journal", no_journal);
  auto size = fs::file_size(path, ec);
  if (!ec && size < kMinFileSize && (no_journal || journal == 0)) {
    return std::unexpected(corrupt(fmt::format("{} bytes long, cut off", size)));
  }
  return open_file();
}

// A new file appears whole: an empty one is a loss, and not a start that was cut off.
Result<> SqliteDatabase::Impl::create(Random& random) {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open(":memory:", &raw);
  database.reset(raw);
  if (code != SQLITE_OK) return fail(ErrorCode::kIo, "cannot make a database: {}", sqlite3_errstr(code));
  if (auto made = make_schema(random); !made) return made;
  // SQLite gives the files it makes beside this one (-journal) the same mode.
  auto created = write_copy();
  if (!created && created.error().code != ErrorCode::kConflict) return created;
  return {};
}

// Everything that is committed, to the path; never over a file that is there.
Result<> SqliteDatabase::Impl::write_copy() {
  sqlite3_int64 size = 0;
  std::unique_ptr<unsigned char, decltype(&sqlite3_free)> content(
      sqlite3_serialize(database.get(), "main", &size, 0), sqlite3_free);
  if (!content) return fail(ErrorCode::kIo, "its content cannot be read: {}", sqlite3_errmsg(database.get()));
  return create_private_file(path, ByteView(content.get(), static_cast<size_t>(size)));
}

// Keeps the open database when that of the path cannot be opened: its file may be all that is left.
Result<> SqliteDatabase::Impl::open_file() {
  sqlite3* raw = nullptr;
  int code = sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  Database opened(raw);
  if (code != SQLITE_OK) {
    int cause = raw ? sqlite3_system_errno(raw) : 0;
    return fail(ErrorCode::kIo,
                "cannot open the database {}: {}; check its owner and mode, and its directory's",
                path.native(), cause != 0 ? std::generic_category().message(cause) : sqlite3_errstr(code));
  }
  sqlite3_extended_result_codes(raw, 1);
  sqlite3_busy_timeout(
      raw, static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(busy_time).count()));
  // A damaged or hostile file must not run code of its own or look into memory.
  sqlite3_db_config(raw, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  if (sqlite3_db_readonly(raw, "main") == 1) {
    return fail(ErrorCode::kIo,
                "the database {} cannot be written; check its owner and mode, and that its file system "
                "is not mounted read-only",
                path.native());
  }
  auto its_identity = file_identity(path);
  if (!its_identity) return std::unexpected(its_identity.error());
  identity = *its_identity;
  database = std::move(opened);
  return {};
}

// After check_kind(): these may change the file.
Result<> SqliteDatabase::Impl::set_modes() {
  // A rollback journal and not a WAL: whatever is committed is in this one file, so that a copy of it is a
  // backup; there are too few writes for a WAL's speed to matter, and no checkpoint that could fail. FULL:
  // an invite whose token was printed must survive a power cut.
  auto modes = execute(database.get(),
                       "PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON");
  if (!modes) return failed("write", modes.error());
  return {};
}

Result<> SqliteDatabase::Impl::check_kind() {
  auto version = query_integer(database.get(), "PRAGMA user_version");
  if (!version) return failed("read", version.error());
  auto application = query_integer(database.get(), "PRAGMA application_id");
  if (!application) return failed("read", application.error());
  auto objects = query_integer(database.get(), "SELECT count(*) FROM sqlite_schema");
  if (!objects) return failed("read", objects.error());
  if (*application != kApplicationId && (*application != 0 || *version != 0 || *objects != 0)) {
    return fail(ErrorCode::kInvalid, "the database {} belongs to another program; name another file",
                path.native());
  }
  if (*version > kSchemaVersion) {
    return fail(ErrorCode::kInvalid,
                "the database {} has schema version {}, this culvert knows up to {}; run the newer culvert, "
                "or restore "
                "the backup from before the upgrade",
                path.native(), *version, kSchemaVersion);
  }
  if (*application == kApplicationId && *version < 1) {
    return fail(ErrorCode::kInvalid,
                "the database {} has the impossible schema version {}; restore it from a backup",
                path.native(), *version);
  }
  return {};
}

// The current schema, in a new file or in the place of an earlier one.
Result<> SqliteDatabase::Impl::make_schema(Random& random) {
  auto transaction = Transaction::begin(database.get());
  if (!transaction) return failed("write", transaction.error());
  // Another process may have been first.
  auto version = query_integer(database.get(), "PRAGMA user_version");
  if (!version) return failed("read", version.error());
  if (*version == kSchemaVersion) return {};
  auto made = execute(database.get(), kSchema);
  if (!made) return failed("write", made.error());
  if (*version == 0) {
    auto key = SecretBytes<kHashKeySize>::random(random);
    Statement insert(database.get(), "INSERT INTO meta (key, value) VALUES ('hash_key', ?)");
    auto inserted = insert.bind(ByteView(key.expose())).run();
    if (!inserted) return failed("write", inserted.error());
  } else if (auto converted = convert_invites(); !converted) {
    return failed("convert", converted.error());
  }
  auto marks =
      fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", kApplicationId, kSchemaVersion);
  auto marked = execute(database.get(), marks.c_str());
  if (!marked) return failed("write", marked.error());
  auto committed = transaction->commit();
  if (!committed) return failed("write", committed.error());
  if (*version != 0) {
    log_info("hub_database_converted", "path={} from_schema={} to_schema={}", culvert::quoted(path.native()),
             *version, kSchemaVersion);
  }
  return {};
}

Result<> SqliteDatabase::Impl::convert_invites() {
  Statement select(database.get(), kSelectOldInvites);
  while (true) {
    auto row = select.step();
    if (!row) return std::unexpected(row.error());
    if (!*row) break;
    auto invite = read_invite(select);
    // A damaged one stays in the way of nothing, but is told of and can be revoked.
    const Record record =
        invite ? invite_record(*invite)
               : Record{.kind = std::string(kInviteKind), .key = to_base64url(select.blob(0)), .body = "{}"};
    if (auto put = put_record(database.get(), record, 0); !put) return put;
  }
  return execute(database.get(), "DROP TABLE invite_hostnames; DROP TABLE invites");
}

Result<> SqliteDatabase::Impl::load_hash_key() {
  Statement select(database.get(), "SELECT value FROM meta WHERE key = 'hash_key'");
  auto row = select.step();
  if (!row) return failed("read", row.error());
  if (!*row || select.blob(0).size() != kHashKeySize) {
    return fail(ErrorCode::kInvalid, "the database {} has lost its hash key; restore it from a backup",
                path.native());
  }
  hash_key = SecretBytes<kHashKeySize>::from(select.blob(0));
  return {};
}

// SQLite completes a short last page with zeros, which damages a row but no structure: the length is
// compared. The rest is what quick_check finds.
Result<> SqliteDatabase::Impl::check_integrity() {
  auto pages = query_integer(database.get(), "PRAGMA page_count");
  if (!pages) return failed("read", pages.error());
  auto page_size = query_integer(database.get(), "PRAGMA page_size");
  if (!page_size) return failed("read", page_size.error());
  std::error_code ec;
  const auto size = fs::file_size(path, ec);
  const auto expected = static_cast<uintmax_t>(*pages) * static_cast<uintmax_t>(*page_size);
  if (!ec && (size < expected || size % static_cast<uintmax_t>(*page_size) != 0)) {
    return std::unexpected(corrupt(fmt::format("{} bytes long instead of {}", size, expected)));
  }

  constexpr int kStepsPerLook = 10'000;
  TimePoint deadline = monotonic_now() + kMaxCheckTime;
  auto is_over = [](void* end) -> int { return monotonic_now() > *static_cast<TimePoint*>(end); };
  sqlite3_progress_handler(database.get(), kStepsPerLook, is_over, &deadline);
  Statement check(database.get(), "PRAGMA quick_check(1)");
  auto row = check.step();
  sqlite3_progress_handler(database.get(), 0, nullptr, nullptr);
  if (!row && sqlite3_errcode(database.get()) == SQLITE_INTERRUPT) {
    log_warn("hub_database_check_incomplete", "path={} seconds={}", culvert::quoted(path.native()),
             std::chrono::duration_cast<std::chrono::seconds>(kMaxCheckTime).count());
    return {};
  }
  if (!row) return failed("read", row.error());
  if (*row && check.text(0) != "ok") return std::unexpected(corrupt(check.text(0)));
  return {};
}

// One write that changes nothing (SQLite leaves out that of an equal row, not that of a pragma).
Result<> SqliteDatabase::Impl::try_write() {
  auto transaction = Transaction::begin(database.get());
  if (!transaction) return std::unexpected(transaction.error());
  auto updated = execute(database.get(), fmt::format("PRAGMA user_version = {}", kSchemaVersion).c_str());
  if (!updated) return updated;
  return transaction->commit();
}

Result<std::unique_ptr<SqliteDatabase>> SqliteDatabase::open(const fs::path& path, Random& random,
                                                             Duration busy_time) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  impl->busy_time = busy_time;
  auto opened = [&]() -> Result<> {
    if (auto done = impl->connect(random); !done) return done;
    if (auto done = impl->check_kind(); !done) return done;
    if (auto done = impl->set_modes(); !done) return done;
    auto version = query_integer(impl->database.get(), "PRAGMA user_version");
    if (!version) return impl->failed("read", version.error());
    // An earlier file is checked before it is converted.
    if (*version != 0) {
      if (auto done = impl->check_integrity(); !done) return done;
    }
    if (*version != kSchemaVersion) {
      if (auto done = impl->make_schema(random); !done) return done;
    }
    return impl->load_hash_key();
  }();
  if (!opened) return std::unexpected(impl->explain(opened.error()));
  // A full disk is reported at the start and not at the first revocation.
  if (auto written = impl->try_write(); !written) {
    impl->is_refusing = true;
    log_error("hub_database_not_writable", "path={} reason={} meaning={}", culvert::quoted(path.native()),
              culvert::quoted(written.error().message),
              culvert::quoted(
                  "agents are served; nothing can be changed, and a revocation is kept in memory only"));
  }
  return std::unique_ptr<SqliteDatabase>(new SqliteDatabase(std::move(impl)));
}

SqliteDatabase::SqliteDatabase(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SqliteDatabase::~SqliteDatabase() = default;

ByteView SqliteDatabase::hash_key() const { return impl_->hash_key.expose(); }

Result<RecordDatabase::Content> SqliteDatabase::load() {
  auto revision = query_integer(impl_->database.get(), kSelectRevision);
  if (!revision) return impl_->failed("read", revision.error());
  auto records = impl_->all_records();
  if (!records) return impl_->failed("read", records.error());
  return Content{.revision = static_cast<uint64_t>(*revision), .records = std::move(*records)};
}

// In the order of the keys: invites before the leases that name them.
Result<std::vector<Record>> SqliteDatabase::Impl::all_records() {
  Statement select(database.get(),
                   "SELECT kind, key, body FROM records WHERE body IS NOT NULL ORDER BY kind, key");
  std::vector<Record> records;
  while (true) {
    auto row = select.step();
    if (!row) return std::unexpected(row.error());
    if (!*row) return records;
    records.push_back(read_record(select));
  }
}

Result<std::vector<Record>> SqliteDatabase::Impl::records_after(uint64_t revision) {
  Statement select(database.get(),
                   "SELECT kind, key, body FROM records WHERE revision > ? ORDER BY revision, kind, key");
  select.bind(static_cast<int64_t>(revision));
  std::vector<Record> records;
  while (true) {
    auto row = select.step();
    if (!row) return std::unexpected(row.error());
    if (!*row) return records;
    records.push_back(read_record(select));
  }
}

Result<CommitOutcome> SqliteDatabase::Impl::write(uint64_t at, const Batch& batch) {
  auto transaction = Transaction::begin(database.get());
  if (!transaction) return std::unexpected(transaction.error());
  auto read = query_integer(database.get(), kSelectRevision);
  if (!read) return std::unexpected(read.error());
  const auto revision = static_cast<uint64_t>(*read);
  if (revision != at) {
    auto content = at + kRemovedFor < revision ? all_records() : records_after(at);
    if (!content) return std::unexpected(content.error());
    return CommitOutcome{.has_moved = true,
                         .revision = revision,
                         .newer = std::move(*content),
                         .is_complete = at + kRemovedFor < revision};
  }
  for (const Record& record : batch.records) {
    if (auto done = put_record(database.get(), record, revision + 1); !done)
      return std::unexpected(done.error());
  }
  for (const AuditEntry& entry : batch.audit) {
    if (auto done = put_audit(database.get(), entry, revision + 1); !done)
      return std::unexpected(done.error());
  }
  if (revision > kRemovedFor) {
    Statement prune(database.get(), "DELETE FROM records WHERE body IS NULL AND revision <= ?");
    if (auto done = prune.bind(static_cast<int64_t>(revision - kRemovedFor)).run(); !done)
      return std::unexpected(done.error());
  }
  Statement count(database.get(), "UPDATE meta SET value = value + 1 WHERE key = 'revision'");
  if (auto done = count.run(); !done) return std::unexpected(done.error());
  if (auto done = transaction->commit(); !done) return std::unexpected(done.error());
  return CommitOutcome{.revision = revision + 1};
}

Result<CommitOutcome> SqliteDatabase::commit(uint64_t at, const Batch& batch, uint64_t /*id*/) {
  if (auto same_file = impl_->look(); !same_file) return std::unexpected(same_file.error());
  auto written = impl_->write(at, batch);
  impl_->is_refusing = !written;
  if (!written) return impl_->failed("write", written.error());
  return written;
}

Result<CommitOutcome> SqliteDatabase::newer(uint64_t after) {
  if (auto same_file = impl_->look(); !same_file) return std::unexpected(same_file.error());
  auto revision = query_integer(impl_->database.get(), kSelectRevision);
  if (!revision) return impl_->failed("read", revision.error());
  if (static_cast<uint64_t>(*revision) == after) return CommitOutcome{.revision = after};
  auto records = impl_->records_after(after);
  if (!records) return impl_->failed("read", records.error());
  return CommitOutcome{
      .has_moved = true, .revision = static_cast<uint64_t>(*revision), .newer = std::move(*records)};
}

Result<std::vector<AuditEntry>> SqliteDatabase::audit(std::optional<uint64_t> before, size_t limit) {
  Statement select(
      impl_->database.get(),
      "SELECT sequence, at, actor, action, subject, before, after FROM audit WHERE sequence < ? ORDER "
      "BY sequence DESC LIMIT ?");
  select.bind(before ? static_cast<int64_t>(std::min<uint64_t>(*before, INT64_MAX)) : INT64_MAX)
      .bind(static_cast<int64_t>(limit));
  std::vector<AuditEntry> entries;
  while (true) {
    auto row = select.step();
    if (!row) return impl_->failed("read", row.error());
    if (!*row) return entries;
    entries.push_back({.sequence = static_cast<uint64_t>(select.integer(0)),
                       .at = UnixTime(std::chrono::seconds(select.integer(1))),
                       .actor = std::string(select.text(2)),
                       .action = std::string(select.text(3)),
                       .subject = std::string(select.text(4)),
                       .before = std::string(select.text(5)),
                       .after = std::string(select.text(6))});
  }
}

Result<bool> SqliteDatabase::prune_audit(size_t keep) {
  constexpr int64_t kAtOnce = 5000;  // some milliseconds, which commits wait for
  Statement remove(
      impl_->database.get(),
      "DELETE FROM audit WHERE sequence IN ("
      "SELECT sequence FROM audit WHERE actor LIKE 'tenant %' AND sequence <= ("
      "SELECT sequence FROM audit WHERE actor LIKE 'tenant %' ORDER BY sequence DESC LIMIT 1 OFFSET ?1) "
      "UNION ALL "
      "SELECT sequence FROM audit WHERE actor NOT LIKE 'tenant %' AND sequence <= ("
      "SELECT sequence FROM audit WHERE actor NOT LIKE 'tenant %' ORDER BY sequence DESC LIMIT 1 OFFSET ?1) "
      "ORDER BY sequence LIMIT ?2)");
  remove.bind(static_cast<int64_t>(keep)).bind(kAtOnce);
  if (auto done = remove.run(); !done) return impl_->failed("prune", done.error());
  return sqlite3_changes(impl_->database.get()) == kAtOnce;
}

Result<RecordDatabase::Archive> SqliteDatabase::read_archive() {
  // One transaction sees one state.
  auto read = [&]() -> Result<Archive> {
    if (auto begun = execute(impl_->database.get(), "BEGIN"); !begun) return std::unexpected(begun.error());
    auto content = load();
    if (!content) return std::unexpected(content.error());
    Archive archive{.revision = content->revision,
                    .hash_key = impl_->hash_key,
                    .records = std::move(content->records),
                    .audit = {}};
    std::erase_if(archive.records, [](const Record& record) { return record.kind == Hubs::kKind; });
    auto entries = audit(std::nullopt, INT64_MAX);
    if (!entries) return std::unexpected(entries.error());
    archive.audit = std::move(*entries);
    std::ranges::reverse(archive.audit);
    return archive;
  }();
  (void)execute(impl_->database.get(), "ROLLBACK");
  return read;
}

Result<> SqliteDatabase::write_archive(const Archive& archive, bool only_if_empty) {
  auto written = impl_->replace(archive, only_if_empty);
  if (written) {
    impl_->hash_key = archive.hash_key;
    return written;
  }
  return impl_->failed("write", written.error());
}

Result<> SqliteDatabase::Impl::replace(const RecordDatabase::Archive& archive, bool only_if_empty) {
  auto transaction = Transaction::begin(database.get());
  if (!transaction) return std::unexpected(transaction.error());
  auto there = query_integer(database.get(), "SELECT count(*) FROM records WHERE body IS NOT NULL");
  if (!there) return std::unexpected(there.error());
  if (only_if_empty && *there != 0) return fail(ErrorCode::kConflict, "it has {} records already", *there);
  auto before = query_integer(database.get(), kSelectRevision);
  if (!before) return std::unexpected(before.error());
  const uint64_t revision =
      std::max(archive.revision, static_cast<uint64_t>(*before)) + RecordDatabase::kRemovedFor + 1;
  auto cleared = execute(database.get(), "DELETE FROM records; DELETE FROM audit");
  if (!cleared) return cleared;
  for (const Record& record : archive.records) {
    if (auto done = put_record(database.get(), record, revision); !done) return done;
  }
  for (const AuditEntry& entry : archive.audit) {
    if (auto done = put_audit(database.get(), entry, revision); !done) return done;
  }
  Statement count(database.get(), "UPDATE meta SET value = ? WHERE key = 'revision'");
  if (auto done = count.bind(static_cast<int64_t>(revision)).run(); !done) return done;
  Statement key(database.get(), "UPDATE meta SET value = ? WHERE key = 'hash_key'");
  if (auto done = key.bind(ByteView(archive.hash_key.expose())).run(); !done) return done;
  return transaction->commit();
}

// SQLite goes on with a file that has lost its name, and everything that it writes is gone with the process.
Result<> SqliteDatabase::Impl::look_at_path() {
  auto there = file_identity(path);
  if (there && *there == identity) return {};
  if (there && rewritten && *there == *rewritten) return use_written();
  if (there) {
    return fail(ErrorCode::kClosed,
                "the database {} was replaced by another file while the node runs, and nothing is stored in "
                "either; restart the node to use the file that is there now, or move the former one back",
                path.native());
  }
  auto restored = there.error().code == ErrorCode::kNotFound ? write_again() : std::unexpected(there.error());
  if (restored) return {};
  return fail(ErrorCode::kClosed,
              "the database {} was removed while the node runs and could not be written again: {}; the node "
              "tries at each write and now and then: make its directory writable and do not stop the node "
              "before hub_database_restored is in its log, or the invites are lost",
              path.native(), restored.error().message);
}

// From the file that has no name any more.
Result<> SqliteDatabase::Impl::write_again() {
  if (auto written = write_copy(); !written) return written;
  auto fresh = file_identity(path);
  if (!fresh) return std::unexpected(fresh.error());
  rewritten = *fresh;
  return use_written();
}

Result<> SqliteDatabase::Impl::use_written() {
  auto opened = open_file();
  if (!opened) return opened;
  rewritten.reset();
  auto modes = set_modes();
  if (!modes) return modes;
  log_error("hub_database_restored", "path={} meaning={}", culvert::quoted(path.native()),
            culvert::quoted("the file was removed while the node runs; it was written again with all that "
                            "was stored"));
  return {};
}

Result<> SqliteDatabase::Impl::look() {
  auto looked = look_at_path();
  if (looked) {
    if (file_lost) log_info("hub_database_found", "path={}", culvert::quoted(path.native()));
    file_lost.reset();
    return {};
  }
  const bool is_new = !file_lost || file_lost->message != looked.error().message;
  if (is_new) log_error("hub_database_lost", "reason={}", culvert::quoted(looked.error().message));
  file_lost = looked.error();
  return looked;
}

Result<> SqliteDatabase::check() {
  if (auto looked = impl_->look(); !looked) return looked;
  if (!impl_->is_refusing) return {};
  auto written = impl_->try_write();
  if (!written) return impl_->failed("write", written.error());
  impl_->is_refusing = false;
  return {};
}

}  // namespace culvert::hub
