#include "hub/store.h"

#include <sqlite3.h>

#include <algorithm>

#include "base/file.h"
#include "base/log.h"

namespace culvert::hub {
namespace {

namespace fs = std::filesystem;

constexpr int kApplicationId = 0x43565431;  // "CVT1": tells our files from another program's
constexpr int kBusyMilliseconds = 2000;     // a backup or an administrator's shell holds the lock for moments
constexpr size_t kHashKeySize = 32;
constexpr uintmax_t kMinFileSize = 4096;  // one page

constexpr const char* kSchema = R"sql(
  CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE invites (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    tenant BLOB NOT NULL UNIQUE,
    secret_hash BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked INTEGER NOT NULL DEFAULT 0
  );
  CREATE TABLE invite_hostnames (
    invite INTEGER NOT NULL REFERENCES invites (sequence) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    pattern TEXT NOT NULL,
    PRIMARY KEY (invite, position)
  ) WITHOUT ROWID;
)sql";

// Columns in the order that read_invite() expects.
constexpr const char* kSelectInvite = R"sql(
  SELECT id, name, tenant, secret_hash, created_at, expires_at, revoked,
         (SELECT group_concat(pattern) FROM
            (SELECT pattern FROM invite_hostnames WHERE invite = invites.sequence ORDER BY position))
  FROM invites
)sql";

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;

bool is_damage(int code) { return (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB; }

// One prepared statement; values are bound by position from 1. The first error stays and ends stepping.
class Statement {
 public:
  Statement(sqlite3* database, std::string_view sql) : database_(database) {
    code_ = sqlite3_prepare_v2(database, sql.data(), static_cast<int>(sql.size()), &statement_, nullptr);
  }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement() { sqlite3_finalize(statement_); }

  Statement& bind(int64_t value) { return bound(sqlite3_bind_int64(statement_, ++position_, value)); }
  Statement& bind(ByteView value) {
    return bound(sqlite3_bind_blob64(statement_, ++position_, value.data(), value.size(), SQLITE_TRANSIENT));
  }
  Statement& bind(std::string_view value) {
    return bound(sqlite3_bind_text64(statement_, ++position_, value.data(), value.size(), SQLITE_TRANSIENT,
                                     SQLITE_UTF8));
  }
  Statement& bind_null() { return bound(sqlite3_bind_null(statement_, ++position_)); }

  // True: a row is there; false: there is no more.
  Result<bool> step() {
    if (code_ == SQLITE_OK) code_ = sqlite3_step(statement_);
    if (code_ == SQLITE_ROW || code_ == SQLITE_DONE) {
      bool row = code_ == SQLITE_ROW;
      code_ = SQLITE_OK;
      return row;
    }
    return fail(ErrorCode::kIo, "{}", sqlite3_errmsg(database_));
  }
  Result<> run() {
    auto row = step();
    if (!row) return std::unexpected(row.error());
    return {};
  }

  int64_t integer(int column) { return sqlite3_column_int64(statement_, column); }
  bool is_null(int column) { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
  ByteView blob(int column) {
    auto data = static_cast<const uint8_t*>(sqlite3_column_blob(statement_, column));
    return {data, static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
  }
  std::string_view text(int column) {
    auto data = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    return {data ? data : "", static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
  }

 private:
  Statement& bound(int code) {
    if (code_ == SQLITE_OK) code_ = code;
    return *this;
  }

  sqlite3* database_;
  sqlite3_stmt* statement_ = nullptr;
  int code_;
  int position_ = 0;
};

Result<> execute(sqlite3* database, const char* sql) {
  if (sqlite3_exec(database, sql, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return fail(ErrorCode::kIo, "{}", sqlite3_errmsg(database));
}

Result<int64_t> query_integer(sqlite3* database, std::string_view sql) {
  Statement statement(database, sql);
  auto row = statement.step();
  if (!row) return std::unexpected(row.error());
  return *row ? statement.integer(0) : 0;
}

// Takes the write lock at once; whatever was not committed is undone.
class Transaction {
 public:
  static Result<Transaction> begin(sqlite3* database) {
    auto begun = execute(database, "BEGIN IMMEDIATE");
    if (!begun) return std::unexpected(begun.error());
    return Transaction(database);
  }
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction() {
    // A failed statement may have ended it already.
    if (database_ && !sqlite3_get_autocommit(database_)) (void)execute(database_, "ROLLBACK");
  }
  Result<> commit() {
    auto committed = execute(database_, "COMMIT");
    if (committed) database_ = nullptr;
    return committed;
  }

 private:
  explicit Transaction(sqlite3* database) : database_(database) {}
  sqlite3* database_;
};

Result<Invite> read_invite(Statement& row) {
  auto damaged = [](const char* what) { return fail(ErrorCode::kIo, "an invite's {} is damaged", what); };
  InviteId id;
  Sha256 secret_hash;
  if (row.blob(0).size() != id.size()) return damaged("id");
  std::ranges::copy(row.blob(0), id.begin());
  auto tenant = PublicKey::from_bytes(row.blob(2));
  if (!tenant) return damaged("tenant key");
  if (row.blob(3).size() != secret_hash.size()) return damaged("secret hash");
  std::ranges::copy(row.blob(3), secret_hash.begin());
  auto hostnames = route::parse_host_patterns(row.text(7));
  if (!hostnames) return damaged("hostname list");
  Invite invite{.id = id,
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

}  // namespace

struct Store::Impl {
  fs::path path;
  Database database;
  Bytes hash_key;
  std::set<InviteId> unstored_revocations;

  std::unexpected<Error> failed(const char* verb, const Error& error) const {
    return fail(error.code, "cannot {} the database {}: {}", verb, path.native(), error.message);
  }
  Error corrupt(std::string_view detail) const {
    return {ErrorCode::kInvalid,
            fmt::format(
                "the database {} is corrupt or no database at all ({}); restore it from a backup, or move it "
                "away to start with an empty one (all invites must then be made anew)",
                path.native(), detail)};
  }
  Result<> connect();
  Result<> check_kind();
  Result<> create_schema(Random& random);
  Result<> load_hash_key();
  Result<> check_integrity();
  void check_writable();
  Result<bool> set_revoked(const InviteId& id);
  Result<> set_unstored_revocations();
  Result<Invite> read(Statement& row) const;
  Error explain(const Error& error);

  Result<> check_overlap(const Invite& invite, UnixTime now);
  Result<> make_room(UnixTime now);
  Result<> insert(const Invite& invite);
};

// Why an open failed, for the person who must repair it.
Error Store::Impl::explain(const Error& error) {
  if (!database || !is_damage(sqlite3_errcode(database.get()))) return error;
  std::string detail = sqlite3_errmsg(database.get());
  Statement check(database.get(), "PRAGMA quick_check(1)");
  if (auto row = check.step(); row && *row && check.text(0) != "ok") detail = check.text(0);
  return corrupt(detail);
}

Result<> Store::Impl::connect() {
  std::error_code ec;
  auto status = fs::status(path, ec);
  if (fs::is_directory(status)) {
    return fail(ErrorCode::kInvalid, "the database {} is a directory; name a file", path.native());
  }
  if (status.type() == fs::file_type::not_found) {
    // SQLite gives the files it makes beside this one (-journal) the same mode.
    auto created = create_private_file(path, {});
    if (!created && created.error().code != ErrorCode::kConflict) return std::unexpected(created.error());
  } else if (fs::exists(status) && !fs::is_regular_file(status)) {
    return fail(ErrorCode::kInvalid, "the database {} is not a regular file", path.native());
  }
  auto changed = make_private(path);
  if (!changed) return std::unexpected(changed.error());
  if (*changed) {
    log_warn("hub_database_mode", "path={} was=shared now=private", culvert::quoted(path.native()));
  }
  // SQLite takes some stumps for an empty database; ours is never shorter than a page. But a write that was
  // interrupted may leave one together with a journal, from which SQLite restores the file.
  std::error_code no_journal;
  const auto journal = fs::file_size(path.native() + "-journal", no_journal);
  auto size = fs::file_size(path, ec);
  if (!ec && size > 0 && size < kMinFileSize && (no_journal || journal == 0)) {
    return std::unexpected(corrupt(fmt::format("{} bytes long, cut off", size)));
  }
  sqlite3* raw = nullptr;
  int code = sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  database.reset(raw);
  if (code != SQLITE_OK) {
    int cause = raw ? sqlite3_system_errno(raw) : 0;
    return fail(ErrorCode::kIo,
                "cannot open the database {}: {}; check its owner and mode, and its directory's",
                path.native(), cause != 0 ? std::generic_category().message(cause) : sqlite3_errstr(code));
  }
  sqlite3_extended_result_codes(raw, 1);
  sqlite3_busy_timeout(raw, kBusyMilliseconds);
  // A damaged or hostile file must not run code of its own or look into memory.
  sqlite3_db_config(raw, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  if (sqlite3_db_readonly(raw, "main") == 1) {
    return fail(ErrorCode::kIo,
                "the database {} cannot be written; check its owner and mode, and that its file system "
                "is not mounted read-only",
                path.native());
  }
  return {};
}

Result<> Store::Impl::check_kind() {
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

Result<> Store::Impl::create_schema(Random& random) {
  auto transaction = Transaction::begin(database.get());
  if (!transaction) return failed("write", transaction.error());
  // Another process may have been first.
  auto version = query_integer(database.get(), "PRAGMA user_version");
  if (!version) return failed("read", version.error());
  if (*version != 0) return {};
  auto created = execute(database.get(), kSchema);
  if (!created) return failed("write", created.error());
  Bytes key(kHashKeySize);
  random.fill(key);
  Statement insert(database.get(), "INSERT INTO meta (key, value) VALUES ('hash_key', ?)");
  auto inserted = insert.bind(ByteView(key)).run();
  if (!inserted) return failed("write", inserted.error());
  auto marks =
      fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", kApplicationId, kSchemaVersion);
  auto marked = execute(database.get(), marks.c_str());
  if (!marked) return failed("write", marked.error());
  auto committed = transaction->commit();
  if (!committed) return failed("write", committed.error());
  return {};
}

Result<> Store::Impl::load_hash_key() {
  Statement select(database.get(), "SELECT value FROM meta WHERE key = 'hash_key'");
  auto row = select.step();
  if (!row) return failed("read", row.error());
  if (!*row || select.blob(0).size() != kHashKeySize) {
    return fail(ErrorCode::kInvalid, "the database {} has lost its hash key; restore it from a backup",
                path.native());
  }
  hash_key = to_bytes(select.blob(0));
  return {};
}

// SQLite completes a short last page with zeros, which damages a row but no structure: the length is
// compared. The rest is what quick_check finds.
Result<> Store::Impl::check_integrity() {
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

// One write that changes nothing (SQLite leaves out that of an equal row, not that of a pragma), so that a
// full disk is reported at the start and not at the first revocation.
void Store::Impl::check_writable() {
  auto written = [&]() -> Result<> {
    auto transaction = Transaction::begin(database.get());
    if (!transaction) return std::unexpected(transaction.error());
    auto updated = execute(database.get(), fmt::format("PRAGMA user_version = {}", kSchemaVersion).c_str());
    if (!updated) return updated;
    return transaction->commit();
  }();
  if (written) return;
  log_error("hub_database_not_writable", "path={} reason={} meaning={}", culvert::quoted(path.native()),
            culvert::quoted(written.error().message),
            culvert::quoted(
                "agents are served; invites cannot be created, and a revocation is kept in memory only"));
}

Result<std::unique_ptr<Store>> Store::open(const fs::path& path, Random& random) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  auto opened = [&]() -> Result<> {
    if (auto done = impl->connect(); !done) return done;
    if (auto done = impl->check_kind(); !done) return done;
    // A rollback journal and not a WAL: whatever is committed is in this one file, so that a copy of it is a
    // backup; there are too few writes for a WAL's speed to matter, and no checkpoint that could fail. FULL:
    // an invite whose token was printed must survive a power cut.
    auto modes =
        execute(impl->database.get(),
                "PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON");
    if (!modes) return impl->failed("write", modes.error());
    auto version = query_integer(impl->database.get(), "PRAGMA user_version");
    if (!version) return impl->failed("read", version.error());
    if (*version == 0) {
      if (auto done = impl->create_schema(random); !done) return done;
    }
    if (auto done = impl->load_hash_key(); !done) return done;
    // Touches the other tables, so that a damaged schema is told now and not to the first agent.
    Statement probe(impl->database.get(), std::string(kSelectInvite) + " LIMIT 1");
    auto row = probe.step();
    if (!row) return impl->failed("read", row.error());
    if (auto done = impl->check_integrity(); !done) return done;
    return {};
  }();
  if (!opened) return std::unexpected(impl->explain(opened.error()));
  impl->check_writable();
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;

ByteView Store::hash_key() const { return impl_->hash_key; }

Result<Invite> Store::Impl::read(Statement& row) const {
  auto invite = read_invite(row);
  if (invite && unstored_revocations.contains(invite->id)) invite->revoked = true;
  return invite;
}

Result<> Store::Impl::check_overlap(const Invite& invite, UnixTime now) {
  Statement select(database.get(),
                   std::string(kSelectInvite) +
                       " WHERE revoked = 0 AND (expires_at IS NULL OR expires_at > ?) AND tenant != ?");
  select.bind(now.time_since_epoch().count()).bind(ByteView(invite.tenant.bytes()));
  while (true) {
    auto row = select.step();
    if (!row) return std::unexpected(row.error());
    if (!*row) return {};
    auto other = read_invite(select);
    if (!other) return std::unexpected(other.error());
    for (const auto& wanted : invite.hostnames) {
      for (const auto& held : other->hostnames) {
        if (!wanted.overlaps(held)) continue;
        return fail(ErrorCode::kConflict,
                    "hostname {} overlaps {} of the invite {}; revoke that one or choose another name",
                    wanted.text(), held.text(), culvert::quoted(other->name));
      }
    }
  }
}

Result<> Store::Impl::make_room(UnixTime now) {
  auto count = query_integer(database.get(), "SELECT count(*) FROM invites");
  if (!count) return std::unexpected(count.error());
  if (static_cast<size_t>(*count) < kMaxInvites) return {};
  Statement remove(database.get(), R"sql(
    DELETE FROM invites WHERE sequence =
      (SELECT sequence FROM invites WHERE revoked != 0 OR expires_at <= ? ORDER BY sequence LIMIT 1))sql");
  auto removed = remove.bind(now.time_since_epoch().count()).run();
  if (!removed) return removed;
  if (sqlite3_changes(database.get()) > 0) return {};
  return fail(ErrorCode::kLimit, "there are {} live invites, the most this hub keeps; revoke some",
              kMaxInvites);
}

Result<> Store::Impl::insert(const Invite& invite) {
  Statement row(database.get(), R"sql(
    INSERT INTO invites (id, name, tenant, secret_hash, created_at, expires_at, revoked) VALUES (?, ?, ?, ?, ?, ?, ?))sql");
  row.bind(ByteView(invite.id))
      .bind(std::string_view(invite.name))
      .bind(ByteView(invite.tenant.bytes()))
      .bind(ByteView(invite.secret_hash))
      .bind(invite.created_at.time_since_epoch().count());
  if (invite.expires_at) {
    row.bind(invite.expires_at->time_since_epoch().count());
  } else {
    row.bind_null();
  }
  auto inserted = row.bind(int64_t{invite.revoked}).run();
  if (!inserted) return inserted;
  int64_t sequence = sqlite3_last_insert_rowid(database.get());
  for (size_t i = 0; i < invite.hostnames.size(); ++i) {
    Statement hostname(database.get(),
                       "INSERT INTO invite_hostnames (invite, position, pattern) VALUES (?, ?, ?)");
    hostname.bind(sequence).bind(static_cast<int64_t>(i)).bind(std::string_view(invite.hostnames[i].text()));
    if (auto done = hostname.run(); !done) return done;
  }
  return {};
}

Result<> Store::add_invite(const Invite& invite, UnixTime now) {
  auto transaction = Transaction::begin(impl_->database.get());
  if (!transaction) return impl_->failed("write", transaction.error());
  auto added = impl_->set_unstored_revocations();
  if (added) added = impl_->make_room(now);
  if (added) added = impl_->check_overlap(invite, now);
  if (added) added = impl_->insert(invite);
  if (added) added = transaction->commit();
  if (!added && added.error().code == ErrorCode::kIo) return impl_->failed("write", added.error());
  if (added) impl_->unstored_revocations.clear();
  return added;
}

Result<std::optional<Invite>> Store::find_invite(const InviteId& id) {
  Statement select(impl_->database.get(), std::string(kSelectInvite) + " WHERE id = ?");
  auto row = select.bind(ByteView(id)).step();
  if (!row) return impl_->failed("read", row.error());
  if (!*row) return std::optional<Invite>();
  auto invite = impl_->read(select);
  if (!invite) return impl_->failed("read", invite.error());
  return std::optional<Invite>(std::move(*invite));
}

Result<std::vector<Invite>> Store::list_invites(const std::optional<InviteId>& after, size_t limit) {
  int64_t sequence = 0;
  if (after) {
    Statement select(impl_->database.get(), "SELECT sequence FROM invites WHERE id = ?");
    auto row = select.bind(ByteView(*after)).step();
    if (!row) return impl_->failed("read", row.error());
    if (!*row) return fail(ErrorCode::kNotFound, "unknown invite to list after");
    sequence = select.integer(0);
  }
  Statement select(impl_->database.get(),
                   std::string(kSelectInvite) + " WHERE sequence > ? ORDER BY sequence LIMIT ?");
  select.bind(sequence).bind(static_cast<int64_t>(limit));
  std::vector<Invite> invites;
  while (true) {
    auto row = select.step();
    if (!row) return impl_->failed("read", row.error());
    if (!*row) return invites;
    auto invite = impl_->read(select);
    if (!invite) return impl_->failed("read", invite.error());
    invites.push_back(std::move(*invite));
  }
}

// False: no such invite, or it is revoked already.
Result<bool> Store::Impl::set_revoked(const InviteId& id) {
  Statement update(database.get(), "UPDATE invites SET revoked = 1 WHERE id = ? AND revoked = 0");
  auto done = update.bind(ByteView(id)).run();
  if (!done) return std::unexpected(done.error());
  return sqlite3_changes(database.get()) > 0;
}

Result<> Store::Impl::set_unstored_revocations() {
  for (const InviteId& id : unstored_revocations) {
    auto done = set_revoked(id);
    if (!done) return std::unexpected(done.error());
  }
  return {};
}

Result<> Store::revoke_invite(const InviteId& id) {
  auto done = impl_->set_revoked(id);
  if (!done) {
    // An id that cannot be looked up either is kept: it may be an invite's.
    auto invite = find_invite(id);
    const bool known = invite && *invite;
    if (invite && !known) return fail(ErrorCode::kNotFound, "no such invite");
    if (impl_->unstored_revocations.size() < kMaxInvites) impl_->unstored_revocations.insert(id);
    return impl_->failed("write", done.error());
  }
  impl_->unstored_revocations.erase(id);
  if (!*done) return fail(ErrorCode::kNotFound, "no such invite, or it is revoked already");
  return {};
}

Result<> Store::store_revocations() {
  if (impl_->unstored_revocations.empty()) return {};
  auto transaction = Transaction::begin(impl_->database.get());
  auto done = transaction ? impl_->set_unstored_revocations() : std::unexpected(transaction.error());
  if (done) done = transaction->commit();
  if (!done) return impl_->failed("write", done.error());
  impl_->unstored_revocations.clear();
  return {};
}

const std::set<InviteId>& Store::unstored_revocations() const { return impl_->unstored_revocations; }

}  // namespace culvert::hub
