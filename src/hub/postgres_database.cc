#include "hub/postgres_database.h"

#include <algorithm>
#include <map>
#include <utility>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/log.h"
#include "hub/hubs.h"
#include "hub/postgres_schema.h"
#include "hub/postgres_watch.h"

namespace culvert::hub {
namespace {

namespace json = boost::json;

// Advisory locks of one database are numbers that all its programs share: "CVT1" and the job.
constexpr const char* kLockSchema = "SELECT pg_advisory_xact_lock(1129730097, 1)";

// One statement, and so one transaction and one round trip. The update waits for the row's lock, and finds
// nothing when another hub was first; then the rest has nothing to write. The notification goes out with the
// commit.
constexpr const char* kCommit = R"sql(
  WITH moved AS (
    UPDATE culvert.hub SET revision = revision + 1 WHERE revision = $1::bigint RETURNING revision
  ), marked AS (
    INSERT INTO culvert.commits (revision, id) SELECT moved.revision, $2::bigint FROM moved
  ), written AS (
    INSERT INTO culvert.records (kind, key, body, revision)
    SELECT r.kind, r.key, r.body, moved.revision
    FROM moved, json_to_recordset($3::json) AS r (kind text, key text, body text)
    ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body, revision = excluded.revision
  ), audited AS (
    INSERT INTO culvert.audit (revision, at, actor, action, subject, before, after)
    SELECT moved.revision, e.at, e.actor, e.action, e.subject, e.before, e.after
    FROM moved, ROWS FROM (json_to_recordset($4::json) AS (at bigint, actor text, action text, subject text,
                                                          before text, after text))
      WITH ORDINALITY AS e (at, actor, action, subject, before, after, position)
    ORDER BY e.position
  )
  SELECT pg_notify('culvert_commit', revision::text) FROM moved
)sql";

constexpr const char* kWasCommitted =
    "SELECT 1 FROM culvert.commits WHERE revision = $1::bigint + 1 AND id = $2::bigint";

// Records of one commit in the order of load(): invites before the leases that name them. One statement sees
// one state.
constexpr const char* kLoad =
    "SELECT h.revision, encode(sha256(h.hash_key), 'hex'), r.kind, r.key, r.body FROM culvert.hub h"
    " LEFT JOIN culvert.records r ON r.body IS NOT NULL ORDER BY r.kind, r.key";
constexpr const char* kNewer =
    "SELECT h.revision, encode(sha256(h.hash_key), 'hex'), r.kind, r.key, r.body FROM culvert.hub h"
    " LEFT JOIN culvert.records r ON r.revision > $1::bigint ORDER BY r.revision, r.kind, r.key";

constexpr const char* kAuditBefore =
    "SELECT sequence, at, actor, action, subject, before, after FROM culvert.audit WHERE sequence < "
    "$1::bigint"
    " ORDER BY sequence DESC LIMIT $2::bigint";

// The lock is tried: of several hubs one does it, and the others need not wait.
constexpr const char* kPrune = R"sql(
  WITH turn AS (
    SELECT revision FROM culvert.hub WHERE pg_try_advisory_xact_lock(1129730097, 2)
  ), removed AS (
    DELETE FROM culvert.records r USING turn WHERE r.body IS NULL AND r.revision <= turn.revision - $1::bigint
  )
  DELETE FROM culvert.commits c USING turn WHERE c.revision <= turn.revision - $1::bigint
)sql";

std::string number(uint64_t value) { return std::to_string(static_cast<int64_t>(value)); }

// Of two records with one key the later one: a statement writes each row once.
std::string records_json(const std::vector<Record>& records) {
  std::map<std::pair<std::string_view, std::string_view>, const Record*> last;
  for (const Record& record : records) last[{record.kind, record.key}] = &record;
  json::array out;
  for (const auto& [name, record] : last) {
    json::object row{{"kind", record->kind}, {"key", record->key}};
    if (record->body) row["body"] = *record->body;
    out.push_back(std::move(row));
  }
  return json::serialize(out);
}

std::string audit_json(const std::vector<AuditEntry>& entries) {
  json::array out;
  for (const AuditEntry& entry : entries) {
    out.push_back(json::object{{"sequence", entry.sequence},
                               {"at", entry.at.time_since_epoch().count()},
                               {"actor", entry.actor},
                               {"action", entry.action},
                               {"subject", entry.subject},
                               {"before", entry.before},
                               {"after", entry.after}});
  }
  return json::serialize(out);
}

// Of kLoad and kNewer: without records there is one row, of the revision alone.
std::vector<Record> read_records(const PostgresRows& rows) {
  std::vector<Record> records;
  for (int row = 0; row < rows.size(); ++row) {
    if (rows.is_null(row, 2)) continue;
    Record record{
        .kind = std::string(rows.text(row, 2)), .key = std::string(rows.text(row, 3)), .body = std::nullopt};
    if (!rows.is_null(row, 4)) record.body = std::string(rows.text(row, 4));
    records.push_back(std::move(record));
  }
  return records;
}

std::vector<AuditEntry> read_entries(const PostgresRows& rows) {
  std::vector<AuditEntry> entries;
  for (int row = 0; row < rows.size(); ++row) {
    entries.push_back({.sequence = static_cast<uint64_t>(rows.integer(row, 0)),
                       .at = UnixTime(std::chrono::seconds(rows.integer(row, 1))),
                       .actor = std::string(rows.text(row, 2)),
                       .action = std::string(rows.text(row, 3)),
                       .subject = std::string(rows.text(row, 4)),
                       .before = std::string(rows.text(row, 5)),
                       .after = std::string(rows.text(row, 6))});
  }
  return entries;
}

}  // namespace

std::unexpected<Error> PostgresDatabase::failed(const char* verb, const Error& error) const {
  return fail(error.code, "cannot {} the PostgreSQL database {}: {}", verb, url_.name(), error.message);
}

Result<std::unique_ptr<PostgresDatabase>> PostgresDatabase::open(std::string_view url, Random& random,
                                                                 const PostgresConnection::Times& times) {
  auto parsed = PostgresUrl::parse(url);
  if (!parsed) return std::unexpected(parsed.error());
  std::unique_ptr<PostgresDatabase> database(new PostgresDatabase(std::move(*parsed), times));
  if (auto done = database->connect(); !done) return database->failed("open", done.error());
  if (auto done = database->make_schema(random); !done) return std::unexpected(done.error());
  if (auto done = database->load_hash_key(); !done) return std::unexpected(done.error());
  return database;
}

Result<> PostgresDatabase::connect() {
  auto opened = PostgresConnection::open(url_, times_);
  if (!opened) return std::unexpected(opened.error());
  connection_ = std::move(*opened);
  return {};
}

// kReset: it may have been done.
Result<PostgresRows> PostgresDatabase::run_once(
    const char* sql, std::initializer_list<std::optional<std::string_view>> values) {
  if (!connection_) {
    if (auto connected = connect(); !connected) return std::unexpected(connected.error());
  }
  auto rows = connection_->run(sql, values);
  if (!rows && rows.error().code == ErrorCode::kReset) connection_.reset();
  return rows;
}

Result<PostgresRows> PostgresDatabase::run(const char* sql,
                                           std::initializer_list<std::optional<std::string_view>> values) {
  auto rows = run_once(sql, values);
  if (!rows && rows.error().code == ErrorCode::kReset) rows = run_once(sql, values);
  if (!rows) return fail(ErrorCode::kIo, "{}", rows.error().message);
  return rows;
}

// 0: there is none. Never over a new connection, which would not be in the transaction of migrate().
Result<int> PostgresDatabase::schema_version() {
  // The catalogue, since to_regclass() may answer from a cache that is older than the lock of migrate().
  auto found =
      run_once("SELECT FROM pg_tables WHERE schemaname = 'culvert' AND tablename = 'schema_version'");
  if (!found) return failed("read", found.error());
  if (found->size() == 0) return 0;
  auto version = run_once("SELECT max(version) FROM culvert.schema_version");
  if (!version) return failed("read", version.error());
  return static_cast<int>(version->integer(0, 0));
}

Result<> PostgresDatabase::make_schema(Random& random) {
  auto version = schema_version();
  if (!version) return std::unexpected(version.error());
  if (*version > kSchemaVersion) {
    return fail(ErrorCode::kInvalid,
                "the PostgreSQL database {} has schema version {}, this culvert knows up to {}; run the "
                "newer culvert, or "
                "restore the backup from before the upgrade",
                url_.name(), *version, kSchemaVersion);
  }
  if (*version == kSchemaVersion) return {};
  auto begun = run_once("BEGIN");
  Result<> made = begun ? migrate(random) : std::unexpected(begun.error());
  if (made) {
    auto committed = run_once("COMMIT");
    if (!committed) made = std::unexpected(committed.error());
  }
  if (made) return {};
  connection_.reset();  // and with it the transaction
  return failed("make the schema of", {ErrorCode::kIo, made.error().message});
}

Result<> PostgresDatabase::migrate(Random& random) {
  Result<> done;
  const auto step = [&](const char* sql, std::initializer_list<std::optional<std::string_view>> values = {}) {
    if (!done) return;
    if (auto ran = run_once(sql, values); !ran) done = std::unexpected(ran.error());
  };
  step(kLockSchema);
  if (!done) return done;
  // Another hub may have been first; it has committed before it let go of the lock.
  auto version = schema_version();
  if (!version) return std::unexpected(version.error());
  const int from = *version;
  if (from == 0) {
    auto schema = run_once("SELECT FROM pg_namespace WHERE nspname = 'culvert'");
    if (!schema) return std::unexpected(schema.error());
    if (schema->size() == 0) step("CREATE SCHEMA culvert");
    step(
        "CREATE TABLE culvert.schema_version (version integer PRIMARY KEY, made_at timestamptz DEFAULT "
        "now())");
  }
  const auto migrations = postgres_migrations();
  static_assert(kSchemaVersion == 1, "add the migration to postgres_schema.cc");
  for (int next = from + 1; next <= kSchemaVersion; ++next) {
    for (const char* sql : migrations[static_cast<size_t>(next - 1)]) step(sql);
    step("INSERT INTO culvert.schema_version (version) VALUES ($1::integer)", {std::to_string(next)});
  }
  if (from == 0) {
    const auto key = SecretBytes<kHashKeySize>::random(random);
    std::string text = to_hex(key.expose());
    WipeAtEnd wipe(text);
    step("INSERT INTO culvert.hub (revision, hash_key) VALUES (0, decode($1, 'hex'))", {text});
  }
  return done;
}

Result<> PostgresDatabase::load_hash_key() {
  auto rows = run("SELECT encode(hash_key, 'hex') FROM culvert.hub");
  if (!rows) return failed("read", rows.error());
  auto key = rows->size() == 1 ? from_hex(rows->text(0, 0)) : fail(ErrorCode::kInvalid, "there is none");
  if (!key || key->size() != kHashKeySize) {
    return fail(ErrorCode::kInvalid,
                "the PostgreSQL database {} has lost its hash key; restore it from a backup", url_.name());
  }
  WipeAtEnd wipe(*key);
  hash_key_ = SecretBytes<kHashKeySize>::from(*key);
  return {};
}

Result<RecordDatabase::Content> PostgresDatabase::load() {
  auto rows = run(kLoad);
  if (!rows) return failed("read", rows.error());
  if (rows->size() == 0) return failed("read", {ErrorCode::kIo, "its revision is missing"});
  return Content{.revision = static_cast<uint64_t>(rows->integer(0, 0)), .records = read_records(*rows)};
}

Result<CommitOutcome> PostgresDatabase::newer(uint64_t after) {
  auto rows = run(kNewer, {number(after)});
  if (!rows) return failed("read", rows.error());
  if (rows->size() == 0) return failed("read", {ErrorCode::kIo, "its revision is missing"});
  if (auto same = check_key(rows->text(0, 1)); !same) return std::unexpected(same.error());
  const auto revision = static_cast<uint64_t>(rows->integer(0, 0));
  if (revision < after) {
    return fail(
        ErrorCode::kClosed,
        "the PostgreSQL database {} is at revision {}, and this hub has read revision {}: an earlier state "
        "was "
        "restored while the hub runs, and nothing is stored; restart the hub to use what is there now",
        url_.name(), revision, after);
  }
  if (revision == after) return CommitOutcome{.revision = revision};
  if (after + kRemovedFor < revision) {
    auto all = load();
    if (!all) return std::unexpected(all.error());
    return CommitOutcome{
        .has_moved = true, .revision = all->revision, .newer = std::move(all->records), .is_complete = true};
  }
  return CommitOutcome{.has_moved = true, .revision = revision, .newer = read_records(*rows)};
}

// The statement is repeated as it is after the connection was lost: if it was done before, it finds another
// revision.
Result<CommitOutcome> PostgresDatabase::commit(uint64_t at, const Batch& batch, uint64_t id) {
  const std::string records = records_json(batch.records);
  const std::string audit = audit_json(batch.audit);
  bool may_be_done = false;
  auto rows = run_once(kCommit, {number(at), number(id), records, audit});
  if (!rows && rows.error().code == ErrorCode::kReset) {
    may_be_done = true;
    rows = run_once(kCommit, {number(at), number(id), records, audit});
  }
  is_refusing_ = !rows;
  if (!rows) {
    return failed("write to", {may_be_done ? ErrorCode::kReset : ErrorCode::kIo, rows.error().message});
  }
  if (rows->size() == 1) return CommitOutcome{.revision = at + 1};
  auto mine = run(kWasCommitted, {number(at), number(id)});
  if (!mine) return failed("read", {ErrorCode::kReset, mine.error().message});
  if (mine->size() == 1) return CommitOutcome{.revision = at + 1};
  auto others = newer(at);
  if (others && !others->has_moved) return failed("write to", {ErrorCode::kIo, "it did not move"});
  return others;
}

Result<std::vector<AuditEntry>> PostgresDatabase::audit(std::optional<uint64_t> before, size_t limit) {
  const uint64_t end = std::min<uint64_t>(before.value_or(INT64_MAX), INT64_MAX);
  auto rows = run(kAuditBefore, {number(end), number(limit)});
  if (!rows) return failed("read", rows.error());
  return read_entries(*rows);
}

// One statement sees one state, and a transaction that reads repeatably sees one in all of its statements.
Result<RecordDatabase::Archive> PostgresDatabase::read_archive() {
  auto read = [&]() -> Result<Archive> {
    auto begun = run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    if (!begun) return std::unexpected(begun.error());
    Archive archive{.hash_key = hash_key_};
    auto rows = run_once(kLoad);
    if (!rows) return std::unexpected(rows.error());
    if (rows->size() != 0) archive.revision = static_cast<uint64_t>(rows->integer(0, 0));
    archive.records = read_records(*rows);
    std::erase_if(archive.records, [](const Record& record) { return record.kind == Hubs::kKind; });
    auto entries = run_once(kAuditBefore, {number(INT64_MAX), number(INT64_MAX)});
    if (!entries) return std::unexpected(entries.error());
    archive.audit = read_entries(*entries);
    std::ranges::reverse(archive.audit);
    return archive;
  }();
  if (connection_) (void)run_once("ROLLBACK");
  if (!read) return failed("read", {ErrorCode::kIo, read.error().message});
  return read;
}

Result<> PostgresDatabase::write_archive(const Archive& archive, bool only_if_empty) {
  auto begun = run("BEGIN");
  Result<> written = begun ? replace(archive, only_if_empty) : std::unexpected(begun.error());
  if (written) {
    auto committed = run_once("COMMIT");
    if (!committed) written = std::unexpected(committed.error());
  }
  if (!written) {
    connection_.reset();  // and with it the transaction
    const ErrorCode code =
        written.error().code == ErrorCode::kConflict ? ErrorCode::kConflict : ErrorCode::kIo;
    return failed("write to", {code, written.error().message});
  }
  hash_key_ = archive.hash_key;
  return {};
}

Result<> PostgresDatabase::replace(const Archive& archive, bool only_if_empty) {
  // Commits of hubs wait for this row.
  auto row = run_once("SELECT revision FROM culvert.hub FOR UPDATE");
  if (!row) return std::unexpected(row.error());
  const uint64_t before = row->size() == 0 ? 0 : static_cast<uint64_t>(row->integer(0, 0));
  const std::string revision = number(std::max(archive.revision, before) + kRemovedFor + 1);
  auto there =
      run_once("SELECT count(*) FROM culvert.records WHERE body IS NOT NULL AND kind <> $1", {Hubs::kKind});
  if (!there) return std::unexpected(there.error());
  if (only_if_empty && there->integer(0, 0) != 0)
    return fail(ErrorCode::kConflict, "it has {} records already", there->integer(0, 0));
  Result<> done;
  const auto step = [&](const char* sql, std::initializer_list<std::optional<std::string_view>> values = {}) {
    if (!done) return;
    if (auto ran = run_once(sql, values); !ran) done = std::unexpected(ran.error());
  };
  std::string key = to_hex(archive.hash_key.expose());
  WipeAtEnd wipe(key);
  step("DELETE FROM culvert.records");
  step("DELETE FROM culvert.audit");
  step("DELETE FROM culvert.commits");
  step(
      "INSERT INTO culvert.records (kind, key, body, revision) SELECT r.kind, r.key, r.body, $1::bigint"
      " FROM json_to_recordset($2::json) AS r (kind text, key text, body text)",
      {revision, records_json(archive.records)});
  step(
      "INSERT INTO culvert.audit (sequence, revision, at, actor, action, subject, before, after)"
      " SELECT e.sequence, $1::bigint, e.at, e.actor, e.action, e.subject, e.before, e.after"
      " FROM json_to_recordset($2::json) AS e (sequence bigint, at bigint, actor text, action text, subject "
      "text,"
      " before text, after text)",
      {revision, audit_json(archive.audit)});
  // New entries are numbered behind these.
  step(
      "SELECT setval(pg_get_serial_sequence('culvert.audit', 'sequence'),"
      " (SELECT coalesce(max(sequence), 0) + 1 FROM culvert.audit), false)");
  step("UPDATE culvert.hub SET revision = $1::bigint, hash_key = decode($2, 'hex')", {revision, key});
  step("SELECT pg_notify('culvert_commit', $1)", {revision});
  return done;
}

// Hubs that do this at the same time remove different entries, or wait for each other a moment.
Result<bool> PostgresDatabase::prune_audit(size_t keep) {
  constexpr int64_t kAtOnce = 5000;
  auto pruned =
      run("WITH gone AS (DELETE FROM culvert.audit WHERE sequence IN (("
          "SELECT sequence FROM culvert.audit WHERE actor LIKE 'tenant %' AND sequence <= ("
          "SELECT sequence FROM culvert.audit WHERE actor LIKE 'tenant %' "
          "ORDER BY sequence DESC LIMIT 1 OFFSET $1::bigint) "
          "UNION ALL "
          "SELECT sequence FROM culvert.audit WHERE actor NOT LIKE 'tenant %' AND sequence <= ("
          "SELECT sequence FROM culvert.audit WHERE actor NOT LIKE 'tenant %' "
          "ORDER BY sequence DESC LIMIT 1 OFFSET $1::bigint)) "
          "ORDER BY sequence LIMIT $2::bigint) RETURNING 1) SELECT count(*) FROM gone",
          {number(keep), number(kAtOnce)});
  if (!pruned) return failed("write to", pruned.error());
  return pruned->text(0, 0) == std::to_string(kAtOnce);
}

// The key does not travel for this: servers may log what they return.
Result<> PostgresDatabase::check_key(std::string_view digest) const {
  if (digest == to_hex(sha256(hash_key_.expose()))) return {};
  return fail(
      ErrorCode::kClosed,
      "the PostgreSQL database {} was replaced by another hub's while this hub runs, and nothing is stored "
      "in it; restart the hub to use what is there now",
      url_.name());
}

Result<> PostgresDatabase::check() {
  auto rows = run("SELECT encode(sha256(hash_key), 'hex') FROM culvert.hub");
  if (!rows) return failed("read", rows.error());
  if (auto same = check_key(rows->size() == 1 ? rows->text(0, 0) : ""); !same) return same;
  // The row that every commit writes: whether a disk is full or a lock is held is known only by writing.
  auto written =
      is_refusing_ ? run("UPDATE culvert.hub SET revision = revision") : run(kPrune, {number(kRemovedFor)});
  if (!written) return failed("write to", written.error());
  is_refusing_ = false;
  return {};
}

std::unique_ptr<CommitWatch> PostgresDatabase::watch(std::function<void(std::optional<uint64_t>)> on_commit) {
  return std::make_unique<PostgresWatch>(url_, times_, std::move(on_commit));
}

}  // namespace culvert::hub
