#pragma once
#include <sqlite3.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "hub/store_database.h"
#include "hub/store_sqlite.h"
#include "net/testing.h"

// For tests: a store whose operations are awaited on the spot, and another program at its file.
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

class SyncStore {
 public:
  SyncStore(net::EventLoop& loop, std::unique_ptr<Store> store) : loop_(loop), store_(std::move(store)) {}

  Result<> add_invite(Invite invite, UnixTime now) {
    return net::testing::run_task(loop_, store_->add_invite(std::move(invite), now));
  }
  Result<std::optional<Invite>> find_invite(const InviteId& id) {
    return net::testing::run_task(loop_, store_->find_invite(id));
  }
  Result<std::vector<Invite>> list_invites(const std::optional<InviteId>& after, size_t limit) {
    return net::testing::run_task(loop_, store_->list_invites(after, limit));
  }
  Result<> revoke_invite(const InviteId& id) {
    auto revoked = store_->revoke_now(id);
    if (!revoked) return revoked;
    return net::testing::run_task(loop_, store_->store_revocation(id));
  }
  ByteView hash_key() const { return store_->hash_key(); }
  Store& store() { return *store_; }

 private:
  net::EventLoop& loop_;
  std::unique_ptr<Store> store_;
};

// A directory for a database, and invites to put in it.
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

  Result<std::unique_ptr<SyncStore>> open_at(const std::filesystem::path& path) {
    auto store = open_sqlite_store(loop_, path, random_, options_);
    if (!store) return std::unexpected(store.error());
    return std::make_unique<SyncStore>(loop_, std::move(*store));
  }
  Result<std::unique_ptr<SyncStore>> open() { return open_at(path_); }
  std::unique_ptr<SyncStore> must_open() {
    auto store = open();
    EXPECT_TRUE(store.has_value()) << store.error().message;
    return std::move(*store);
  }
  Invite make_invite(std::vector<std::string> hostnames, std::optional<UnixTime> expires_at = std::nullopt) {
    Invite invite{.id = {},
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
  void foreign_sql(const std::string& sql) { ForeignDatabase(path_).run(sql); }
  // What the file holds, whatever a store that has it open says.
  std::optional<Invite> in_file(const InviteId& id) {
    auto database = StoreDatabase::open(path_, random_, std::chrono::seconds(2));
    EXPECT_TRUE(database) << database.error().message;
    auto rows = (*database)->load();
    EXPECT_TRUE(rows);
    for (const StoreDatabase::Row& row : *rows) {
      if (row.id == id && row.invite) return *row.invite;
    }
    return std::nullopt;
  }

  net::EventLoop loop_;
  SeededRandom random_{42};
  StoreOptions options_;
  std::filesystem::path directory_;
  std::filesystem::path path_;
  int count_ = 0;
};

}  // namespace culvert::hub::testing
