#include "hub/store_database.h"

#include <sqlite3.h>

#include <algorithm>

#include "base/file.h"
#include "base/log.h"
#include "base/secret.h"
#include "hub/store_statement.h"

namespace culvert::hub {
namespace {

namespace fs = std::filesystem;

constexpr int kApplicationId = 0x43565431;  // "CVT1": tells our files from another program's
constexpr uintmax_t kMinFileSize = 4096;    // one page

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
            (SELECT pattern FROM invite_hostnames WHERE invite = invites.sequence ORDER BY position)),
         sequence
  FROM invites
)sql";
constexpr int kSequenceColumn = 8;

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;

bool is_damage(int code) { return (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB; }

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

struct StoreDatabase::Impl {
  fs::path path;
  Database database;
  SecretBytes<StoreDatabase::kHashKeySize> hash_key;
  Duration busy_time;
  FileIdentity identity;  // of the open file
  // Of what write_again() made and could not open yet.
  std::optional<FileIdentity> rewritten;
  std::optional<Error> file_lost;  // what the last look at the path found wrong

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
  Result<> connect();
  Result<> check_kind();
  Result<> create_schema(Random& random);
  Result<> load_hash_key();
  Result<> check_integrity();
  void check_writable();
  Result<> set_revoked(const std::set<InviteId>& ids);
  Error explain(const Error& error);

  Result<> check_overlap(const Invite& invite, UnixTime now);
  Result<std::optional<InviteId>> make_room(UnixTime now, size_t max_invites);
  Result<int64_t> insert(const Invite& invite);

  Result<> open_file();
  Result<> set_modes();
  Result<> look_at_path();
  Result<> write_again();
  Result<> use_written();
};

// Why an open failed, for the person who must repair it.
Error StoreDatabase::Impl::explain(const Error& error) {
  if (!database || !is_damage(sqlite3_errcode(database.get()))) return error;
  std::string detail = sqlite3_errmsg(database.get());
  Statement check(database.get(), "PRAGMA quick_check(1)");
  if (auto row = check.step(); row && *row && check.text(0) != "ok") detail = check.text(0);
  return corrupt(detail);
}

Result<> StoreDatabase::Impl::connect() {
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
  return open_file();
}

// Keeps the open database when that of the path cannot be opened: its file may be all that is left.
Result<> StoreDatabase::Impl::open_file() {
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
Result<> StoreDatabase::Impl::set_modes() {
  // A rollback journal and not a WAL: whatever is committed is in this one file, so that a copy of it is a
  // backup; there are too few writes for a WAL's speed to matter, and no checkpoint that could fail. FULL:
  // an invite whose token was printed must survive a power cut.
  auto modes = execute(database.get(),
                       "PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON");
  if (!modes) return failed("write", modes.error());
  return {};
}

Result<> StoreDatabase::Impl::check_kind() {
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

Result<> StoreDatabase::Impl::create_schema(Random& random) {
  auto transaction = Transaction::begin(database.get());
  if (!transaction) return failed("write", transaction.error());
  // Another process may have been first.
  auto version = query_integer(database.get(), "PRAGMA user_version");
  if (!version) return failed("read", version.error());
  if (*version != 0) return {};
  auto created = execute(database.get(), kSchema);
  if (!created) return failed("write", created.error());
  auto key = SecretBytes<kHashKeySize>::random(random);
  Statement insert(database.get(), "INSERT INTO meta (key, value) VALUES ('hash_key', ?)");
  auto inserted = insert.bind(ByteView(key.expose())).run();
  if (!inserted) return failed("write", inserted.error());
  auto marks =
      fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", kApplicationId, kSchemaVersion);
  auto marked = execute(database.get(), marks.c_str());
  if (!marked) return failed("write", marked.error());
  auto committed = transaction->commit();
  if (!committed) return failed("write", committed.error());
  return {};
}

Result<> StoreDatabase::Impl::load_hash_key() {
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
Result<> StoreDatabase::Impl::check_integrity() {
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
void StoreDatabase::Impl::check_writable() {
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

Result<std::unique_ptr<StoreDatabase>> StoreDatabase::open(const fs::path& path, Random& random,
                                                           Duration busy_time) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  impl->busy_time = busy_time;
  auto opened = [&]() -> Result<> {
    if (auto done = impl->connect(); !done) return done;
    if (auto done = impl->check_kind(); !done) return done;
    if (auto done = impl->set_modes(); !done) return done;
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
  return std::unique_ptr<StoreDatabase>(new StoreDatabase(std::move(impl)));
}

StoreDatabase::StoreDatabase(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
StoreDatabase::~StoreDatabase() = default;

ByteView StoreDatabase::hash_key() const { return impl_->hash_key.expose(); }

Result<std::vector<StoreDatabase::Row>> StoreDatabase::load() {
  Statement select(impl_->database.get(), std::string(kSelectInvite) + " ORDER BY sequence");
  std::vector<Row> rows;
  while (true) {
    auto row = select.step();
    if (!row) return impl_->failed("read", row.error());
    if (!*row) return rows;
    Row out{.sequence = select.integer(kSequenceColumn), .id = {}, .invite = read_invite(select)};
    if (select.blob(0).size() == out.id.size()) {
      std::ranges::copy(select.blob(0), out.id.begin());
      rows.push_back(std::move(out));
    } else {
      log_error("hub_database_row_damaged", "path={} sequence={}", culvert::quoted(impl_->path.native()),
                out.sequence);
    }
  }
}

Result<> StoreDatabase::Impl::check_overlap(const Invite& invite, UnixTime now) {
  Statement select(database.get(), std::string(kSelectInvite) +
                                       " WHERE revoked = 0 AND (expires_at IS NULL OR expires_at > ?)");
  select.bind(now.time_since_epoch().count());
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

Result<std::optional<InviteId>> StoreDatabase::Impl::make_room(UnixTime now, size_t max_invites) {
  auto count = query_integer(database.get(), "SELECT count(*) FROM invites");
  if (!count) return std::unexpected(count.error());
  if (static_cast<size_t>(*count) < max_invites) return std::optional<InviteId>();
  Statement remove(database.get(), R"sql(
    DELETE FROM invites WHERE sequence =
      (SELECT sequence FROM invites WHERE revoked != 0 OR expires_at <= ? ORDER BY sequence LIMIT 1)
      RETURNING id)sql");
  auto removed = remove.bind(now.time_since_epoch().count()).step();
  if (!removed) return std::unexpected(removed.error());
  if (!*removed) {
    return fail(ErrorCode::kLimit, "there are {} live invites, the most this hub keeps; revoke some",
                max_invites);
  }
  InviteId id{};
  if (remove.blob(0).size() == id.size()) std::ranges::copy(remove.blob(0), id.begin());
  // The row is removed when the statement has ended.
  auto ended = remove.run();
  if (!ended) return std::unexpected(ended.error());
  return std::optional(id);
}

Result<int64_t> StoreDatabase::Impl::insert(const Invite& invite) {
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
  if (!inserted) return std::unexpected(inserted.error());
  int64_t sequence = sqlite3_last_insert_rowid(database.get());
  for (size_t i = 0; i < invite.hostnames.size(); ++i) {
    Statement hostname(database.get(),
                       "INSERT INTO invite_hostnames (invite, position, pattern) VALUES (?, ?, ?)");
    hostname.bind(sequence).bind(static_cast<int64_t>(i)).bind(std::string_view(invite.hostnames[i].text()));
    if (auto done = hostname.run(); !done) return std::unexpected(done.error());
  }
  return sequence;
}

Result<StoreDatabase::Added> StoreDatabase::add_invite(const Invite& invite, UnixTime now,
                                                       const std::set<InviteId>& revocations,
                                                       size_t max_invites) {
  if (auto same_file = check_file(); !same_file) return std::unexpected(same_file.error());
  auto added = [&]() -> Result<Added> {
    auto transaction = Transaction::begin(impl_->database.get());
    if (!transaction) return std::unexpected(transaction.error());
    // First, since it frees names.
    if (auto set = impl_->set_revoked(revocations); !set) return std::unexpected(set.error());
    auto removed = impl_->make_room(now, max_invites);
    if (!removed) return std::unexpected(removed.error());
    if (auto free = impl_->check_overlap(invite, now); !free) return std::unexpected(free.error());
    auto sequence = impl_->insert(invite);
    if (!sequence) return std::unexpected(sequence.error());
    if (auto done = transaction->commit(); !done) return std::unexpected(done.error());
    return Added{.sequence = *sequence, .removed = *removed};
  }();
  if (!added && added.error().code == ErrorCode::kIo) return impl_->failed("write", added.error());
  return added;
}

Result<> StoreDatabase::Impl::set_revoked(const std::set<InviteId>& ids) {
  for (const InviteId& id : ids) {
    Statement update(database.get(), "UPDATE invites SET revoked = 1 WHERE id = ? AND revoked = 0");
    auto done = update.bind(ByteView(id)).run();
    if (!done) return done;
  }
  return {};
}

Result<> StoreDatabase::store_revocations(const std::set<InviteId>& ids) {
  if (auto same_file = check_file(); !same_file) return same_file;
  auto transaction = Transaction::begin(impl_->database.get());
  auto done = transaction ? impl_->set_revoked(ids) : std::unexpected(transaction.error());
  if (done) done = transaction->commit();
  if (!done) return impl_->failed("write", done.error());
  return {};
}

// SQLite goes on with a file that has lost its name, and everything that it writes is gone with the process.
Result<> StoreDatabase::Impl::look_at_path() {
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

// Everything that is committed, from the file that has no name any more.
Result<> StoreDatabase::Impl::write_again() {
  sqlite3_int64 size = 0;
  std::unique_ptr<unsigned char, decltype(&sqlite3_free)> content(
      sqlite3_serialize(database.get(), "main", &size, 0), sqlite3_free);
  if (!content) return fail(ErrorCode::kIo, "its content cannot be read: {}", sqlite3_errmsg(database.get()));
  // Never over a file that was put there meanwhile.
  auto created = create_private_file(path, ByteView(content.get(), static_cast<size_t>(size)));
  if (!created) return created;
  auto fresh = file_identity(path);
  if (!fresh) return std::unexpected(fresh.error());
  rewritten = *fresh;
  return use_written();
}

Result<> StoreDatabase::Impl::use_written() {
  auto opened = open_file();
  if (!opened) return opened;
  rewritten.reset();
  auto modes = set_modes();
  if (!modes) return modes;
  log_error("hub_database_restored", "path={} meaning={}", culvert::quoted(path.native()),
            culvert::quoted("the file was removed while the node runs; it was written again with all invites "
                            "and revocations"));
  return {};
}

Result<> StoreDatabase::check_file() {
  auto looked = impl_->look_at_path();
  if (looked) {
    if (impl_->file_lost) {
      log_info("hub_database_found", "path={}", culvert::quoted(impl_->path.native()));
    }
    impl_->file_lost.reset();
    return {};
  }
  const bool is_new = !impl_->file_lost || impl_->file_lost->message != looked.error().message;
  if (is_new) log_error("hub_database_lost", "reason={}", culvert::quoted(looked.error().message));
  impl_->file_lost = looked.error();
  return looked;
}

}  // namespace culvert::hub
