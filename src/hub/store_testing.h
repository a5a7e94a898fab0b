#pragma once
#include <sqlite3.h>

#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "hub/invite_record.h"
#include "hub/ledger.h"
#include "hub/postgres_database.h"
#include "hub/postgres_fixture.h"
#include "hub/record_store.h"
#include "hub/sqlite_database.h"
#include "hub/state.h"
#include "hub/threaded_store.h"
#include "net/testing.h"

// For tests: what a hub keeps, with operations that are awaited on the spot, and another program at its file.
namespace culvert::hub::testing {

// Runs SQL on the file as another program would; a transaction that is left open holds its lock until this is
// destroyed.
class ForeignDatabase {
 public:
  explicit ForeignDatabase(const std::filesystem::path& path) {
    EXPECT_EQ(sqlite3_open(path.c_str(), &database_), SQLITE_OK);
  }
  ForeignDatabase(const ForeignDatabase&) = delete;
  ForeignDatabase& operator=(const ForeignDatabase&) = delete;
  ~ForeignDatabase() { sqlite3_close(database_); }

  void run(const std::string& sql) {
    char* message = nullptr;
    EXPECT_EQ(sqlite3_exec(database_, sql.c_str(), nullptr, nullptr, &message), SQLITE_OK) << message;
    sqlite3_free(message);
  }

 private:
  sqlite3* database_ = nullptr;
};

// The state of a hub and its ledger.
class Kept {
 public:
  Kept(net::EventLoop& loop, std::unique_ptr<RecordStore> store, StoreOptions options)
      : loop_(loop), ledger_(loop, std::move(store), state_, options) {}

  net::Task<Result<>> adding(Invite invite, UnixTime now) {
    auto added = co_await ledger_.commit({.touches = {std::string(kInviteKind)},
                                          .judge = [&]() -> Result<Batch> {
                                            auto records = state_.invites.add(invite, now);
                                            if (!records) return std::unexpected(records.error());
                                            return Batch{.records = std::move(*records)};
                                          },
                                          .stored_too_late =
                                              [this, id = invite.id] {
                                                (void)revoke_now(id);
                                                ledger_.flush_later();
                                              }});
    co_return added;
  }
  Result<> revoke_now(const InviteId& id) { return state_.invites.revoke(id, {}); }

  Result<> add_invite(Invite invite, UnixTime now) {
    return net::testing::run_task(loop_, adding(std::move(invite), now));
  }
  Result<std::optional<Invite>> find_invite(const InviteId& id) {
    auto found = state_.invites.find(id);
    if (!found) return std::unexpected(found.error());
    return *found == nullptr ? std::nullopt : std::optional(**found);
  }
  Result<std::vector<Invite>> list_invites(const std::optional<InviteId>& after, size_t limit) {
    return state_.invites.list(after, limit);
  }
  Result<> revoke_invite(const InviteId& id) {
    auto revoked = revoke_now(id);
    if (!revoked) return revoked;
    return net::testing::run_task(loop_, ledger_.flush());
  }
  ByteView hash_key() const { return ledger_.hash_key(); }
  State& state() { return state_; }
  Ledger& ledger() { return ledger_; }

 private:
  net::EventLoop& loop_;
  State state_;
  Ledger ledger_;
};

// A directory for a database in a file, and invites to put in it.
class StoreFixture : public ::testing::Test {
 public:
  static constexpr UnixTime kNow{std::chrono::seconds(1'700'000'000)};

  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "culvert-store-XXXXXX").native();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
    path_ = directory_ / "hub.db";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  Result<std::unique_ptr<Kept>> open_at(const std::filesystem::path& path) {
    auto store = open_sqlite_store(loop_, path, random_, options_);
    if (!store) return std::unexpected(store.error());
    return std::make_unique<Kept>(loop_, std::move(*store), options_);
  }
  Result<std::unique_ptr<RecordDatabase>> must_be_database(auto opened) {
    if (!opened) return std::unexpected(opened.error());
    return std::unique_ptr<RecordDatabase>(std::move(*opened));
  }
  virtual Result<std::unique_ptr<RecordDatabase>> open_database() {
    return must_be_database(SqliteDatabase::open(path_, random_, options_.busy_time));
  }
  Result<std::unique_ptr<RecordStore>> open_store() {
    auto database = open_database();
    if (!database) return std::unexpected(database.error());
    return ThreadedStore::open(loop_, std::move(*database), options_);
  }
  Result<std::unique_ptr<Kept>> open() {
    auto store = open_store();
    if (!store) return std::unexpected(store.error());
    return std::make_unique<Kept>(loop_, std::move(*store), options_);
  }
  std::unique_ptr<Kept> must_open() {
    auto store = open();
    // Ends the test with this message: nothing in it makes sense without a hub.
    if (!store) throw std::runtime_error("cannot open the hub's database: " + store.error().message);
    return std::move(*store);
  }
  Invite make_invite(std::vector<std::string> hostnames, std::optional<UnixTime> expires_at = std::nullopt) {
    Invite invite{.id = {},
                  .sequence = 0,
                  .name = fmt::format("invite {}", ++count_),
                  .tenant = SecretKey::generate(random_).public_key(),
                  .secret_hash = {},
                  .hostnames = {},
                  .created_at = kNow,
                  .expires_at = expires_at};
    random_.fill(invite.id);
    random_.fill(invite.secret_hash);
    for (const auto& text : hostnames) invite.hostnames.push_back(*route::HostPattern::parse(text));
    return invite;
  }
  // As another program.
  virtual void foreign_sql(const std::string& sql) { ForeignDatabase(path_).run(sql); }
  // Another program's: nothing can be written as long as it lives.
  virtual std::shared_ptr<void> lock() {
    auto other = std::make_shared<ForeignDatabase>(path_);
    other->run("BEGIN EXCLUSIVE");
    return other;
  }
  // What the database holds, whatever a store that has it open says.
  std::optional<Invite> in_file(const InviteId& id) {
    auto database = open_database();
    EXPECT_TRUE(database) << database.error().message;
    auto content = (*database)->load();
    EXPECT_TRUE(content);
    Invites invites;
    for (const Record& record : content->records) {
      if (record.kind == kInviteKind) invites.apply(record);
    }
    auto found = invites.find(id);
    if (!found || *found == nullptr) return std::nullopt;
    return **found;
  }

  net::EventLoop loop_;
  SeededRandom random_{42};
  StoreOptions options_;
  std::filesystem::path directory_;
  std::filesystem::path path_;
  int count_ = 0;
};

enum class DatabaseKind : uint8_t { kSqlite, kPostgres };
inline std::string to_string(DatabaseKind kind) {
  return kind == DatabaseKind::kSqlite ? "Sqlite" : "Postgres";
}

// The same for each kind of database. A test is TEST_P, and its suite instantiated with
// CULVERT_ON_EACH_DATABASE(Suite).
class AnyStoreFixture : public StoreFixture, public ::testing::WithParamInterface<DatabaseKind> {
 public:
  void SetUp() override {
    StoreFixture::SetUp();
    if (GetParam() != DatabaseKind::kPostgres) return;
    server_ = PostgresServer::shared();
    if (server_ == nullptr)
      GTEST_SKIP() << "Debian's package postgresql is not installed; scripts/deps installs it";
    url_ = server_->make_database();
  }
  Result<std::unique_ptr<RecordDatabase>> open_database() override {
    if (GetParam() == DatabaseKind::kSqlite) return StoreFixture::open_database();
    return must_be_database(PostgresDatabase::open(
        url_, random_,
        {.connect = options_.busy_time, .lock = options_.busy_time, .statement = std::chrono::seconds(60)}));
  }
  void foreign_sql(const std::string& sql) override {
    if (GetParam() == DatabaseKind::kSqlite) return StoreFixture::foreign_sql(sql);
    server_->run_at(url_, sql);
  }
  std::shared_ptr<void> lock() override {
    if (GetParam() == DatabaseKind::kSqlite) return StoreFixture::lock();
    std::shared_ptr<PostgresConnection> other = server_->connect(url_);
    EXPECT_TRUE(other->run("BEGIN"));
    EXPECT_TRUE(other->run("SELECT * FROM culvert.hub FOR UPDATE"));
    return other;
  }
  // A table's name in foreign_sql().
  std::string table(const char* name) const {
    return GetParam() == DatabaseKind::kSqlite ? name : fmt::format("culvert.{}", name);
  }

  PostgresServer* server_ = nullptr;
  std::string url_;
};

#define CULVERT_ON_EACH_DATABASE(Suite)                                                       \
  INSTANTIATE_TEST_SUITE_P(, Suite,                                                           \
                           ::testing::Values(culvert::hub::testing::DatabaseKind::kSqlite,    \
                                             culvert::hub::testing::DatabaseKind::kPostgres), \
                           [](const auto& each) { return culvert::hub::testing::to_string(each.param); })

}  // namespace culvert::hub::testing
