#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>

#include "base/encoding.h"
#include "base/file.h"
#include "base/full_disk.h"
#include "base/small_order_keys.h"
#include "hub/store_testing.h"

namespace culvert::hub {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

class SqliteDatabaseTest : public testing::StoreFixture {
 protected:
  void expect_open_fails(ErrorCode code, std::string_view reason) {
    auto store = open();
    ASSERT_FALSE(store.has_value()) << reason;
    EXPECT_EQ(store.error().code, code) << store.error().message;
    EXPECT_NE(store.error().message.find(reason), std::string::npos) << store.error().message;
    EXPECT_NE(store.error().message.find(path_.native()), std::string::npos) << store.error().message;
  }
};

TEST_F(SqliteDatabaseTest, IsPrivate) {
  auto store = must_open();
  ASSERT_TRUE(store->add_invite(make_invite({"a.example.com"}), kNow).has_value());
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(directory_)) {
    EXPECT_EQ(entry.status().permissions(), fs::perms::owner_read | fs::perms::owner_write) << entry.path();
    ++files;
  }
  EXPECT_GE(files, 2u) << "the write-ahead log was expected beside the database";
}

TEST_F(SqliteDatabaseTest, TakesTheRightsOfOthersAway) {
  {
    auto store = must_open();
  }
  fs::permissions(
      path_, fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_read | fs::perms::others_read);
  auto store = must_open();
  EXPECT_EQ(fs::status(path_).permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(SqliteDatabaseTest, RefusesADirectory) {
  fs::create_directory(path_);
  expect_open_fails(ErrorCode::kInvalid, "is a directory");
}

TEST_F(SqliteDatabaseTest, RefusesAPathWithoutADirectory) {
  path_ = directory_ / "absent" / "hub.db";
  auto store = open();
  ASSERT_FALSE(store.has_value());
  EXPECT_NE(store.error().message.find("absent"), std::string::npos) << store.error().message;
}

TEST_F(SqliteDatabaseTest, RefusesWhatIsNoDatabase) {
  std::ofstream(path_) << std::string(5000, 'x');
  expect_open_fails(ErrorCode::kInvalid, "restore it from a backup, or move it away");
}

TEST_F(SqliteDatabaseTest, RefusesAStump) {
  must_open();
  std::string whole(as_text(read_file(path_, 1 << 20).value()));
  for (size_t size : {0u, 1u, 16u, 100u, 511u, 4095u}) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << whole.substr(0, size);
    expect_open_fails(ErrorCode::kInvalid, "corrupt");
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << std::string(size, '\0');
    expect_open_fails(ErrorCode::kInvalid, "corrupt");
  }
}

TEST_F(SqliteDatabaseTest, TheFileAloneIsABackupAtAnyTime) {
  auto store = must_open();
  Invite kept = make_invite({"a.example"}), revoked = make_invite({"b.example"});
  ASSERT_TRUE(store->add_invite(kept, kNow));
  ASSERT_TRUE(store->add_invite(revoked, kNow));
  ASSERT_TRUE(store->revoke_invite(revoked.id));
  // The store stays open, as if it were killed here.
  fs::copy_file(path_, directory_ / "backup.db");
  auto restored = open_at(directory_ / "backup.db");
  ASSERT_TRUE(restored) << restored.error().message;
  auto found = (*restored)->find_invite(kept.id).value();
  ASSERT_TRUE(found);
  EXPECT_FALSE(found->revoked);
  found = (*restored)->find_invite(revoked.id).value();
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->revoked);
}

TEST_F(SqliteDatabaseTest, RefusesATruncatedDatabase) {
  {
    auto store = must_open();
  }
  fs::resize_file(path_, 4096);
  expect_open_fails(ErrorCode::kInvalid, "corrupt");
}

TEST_F(SqliteDatabaseTest, RefusesADamagedDatabase) {
  {
    auto store = must_open();
  }
  {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(100);
    file << std::string(3996, '\xff');
  }
  expect_open_fails(ErrorCode::kInvalid, "corrupt");
}

TEST_F(SqliteDatabaseTest, RefusesADatabaseThatIsAByteShort) {
  must_open();
  const auto size = fs::file_size(path_);
  fs::resize_file(path_, size - 1);
  expect_open_fails(ErrorCode::kInvalid, fmt::format("{} bytes long instead of {}", size - 1, size));
  expect_open_fails(ErrorCode::kInvalid, "restore it from a backup, or move it away");
  EXPECT_EQ(fs::file_size(path_), size - 1) << "a damaged file is left as it is";
}

TEST_F(SqliteDatabaseTest, RefusesDamageOfAnyPage) {
  {
    auto store = must_open();
    for (int i = 0; i < 100; ++i) {
      ASSERT_TRUE(store->add_invite(make_invite({fmt::format("h{}.example.com", i)}), kNow).has_value());
    }
  }
  const std::string whole(as_text(read_file(path_, 1 << 20).value()));
  for (size_t page = 1; page < whole.size() / 4096; ++page) {
    std::string damaged = whole;
    damaged.replace(page * 4096, 64, std::string(64, '\x5a'));
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << damaged;
    expect_open_fails(ErrorCode::kInvalid, "corrupt");
  }
}

// A first write that stopped halfway leaves any part of the file and a journal, from which SQLite restores
// it.
TEST_F(SqliteDatabaseTest, CreationStartsAgainAfterAnInterruptedWrite) {
  const fs::path journal = path_.native() + "-journal";
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(path_.c_str(), &database), SQLITE_OK);
  // A cache of one page makes it write to the file before the commit.
  ASSERT_EQ(sqlite3_exec(database,
                         "PRAGMA cache_size = 1; BEGIN IMMEDIATE; CREATE TABLE t (x);"
                         "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) "
                         "INSERT INTO t SELECT zeroblob(500) FROM n",
                         nullptr, nullptr, nullptr),
            SQLITE_OK);
  const std::string written(as_text(read_file(path_, 1 << 20).value()));
  const std::string its_journal(as_text(read_file(journal, 1 << 20).value()));
  sqlite3_close(database);
  ASSERT_FALSE(its_journal.empty());
  ASSERT_GT(written.size(), 5000u);
  for (size_t size : {size_t{1}, size_t{100}, size_t{4095}, size_t{5000}, written.size()}) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << written.substr(0, size);
    std::ofstream(journal, std::ios::binary | std::ios::trunc) << its_journal;
    auto store = open();
    ASSERT_TRUE(store.has_value()) << size << ": " << store.error().message;
    EXPECT_TRUE((*store)->list_invites(std::nullopt, 10).has_value());
  }
}

TEST_F(SqliteDatabaseTest, RefusesANewerSchemaAndNamesBothVersions) {
  {
    auto store = must_open();
  }
  foreign_sql("PRAGMA user_version = 7");
  expect_open_fails(ErrorCode::kInvalid, "schema version 7, this culvert knows up to 2");
}

TEST_F(SqliteDatabaseTest, RefusesAnImpossibleSchema) {
  {
    auto store = must_open();
  }
  foreign_sql("PRAGMA user_version = 0");
  expect_open_fails(ErrorCode::kInvalid, "impossible schema version 0");
}

TEST_F(SqliteDatabaseTest, RefusesAnotherProgramsDatabase) {
  foreign_sql("CREATE TABLE notes (text TEXT)");
  expect_open_fails(ErrorCode::kInvalid, "belongs to another program");
}

TEST_F(SqliteDatabaseTest, RefusesALostHashKey) {
  {
    auto store = must_open();
  }
  foreign_sql("DELETE FROM meta");
  expect_open_fails(ErrorCode::kInvalid, "hash key");
}

TEST_F(SqliteDatabaseTest, RefusesAMissingTable) {
  {
    auto store = must_open();
  }
  foreign_sql("DROP TABLE records");
  expect_open_fails(ErrorCode::kIo, "records");
}

TEST_F(SqliteDatabaseTest, FailsClosedWhenItCannotWrite) {
  auto store = must_open();
  Invite invite = make_invite({"a.example.com"});
  ASSERT_TRUE(store->add_invite(invite, kNow).has_value());
  foreign_sql(
      "CREATE TRIGGER full_disk BEFORE INSERT ON records BEGIN SELECT RAISE(ABORT, 'disk full'); "
      "END");
  Invite refused = make_invite({"b.example.com"});
  auto added = store->add_invite(refused, kNow);
  ASSERT_FALSE(added.has_value());
  EXPECT_EQ(added.error().code, ErrorCode::kIo);
  EXPECT_NE(added.error().message.find(path_.native()), std::string::npos);
  EXPECT_FALSE(store->find_invite(refused.id)->has_value()) << "half an invite was kept";
  foreign_sql("DROP TRIGGER full_disk");
  EXPECT_TRUE(store->add_invite(refused, kNow).has_value());
}

// Over a pipe, which takes a few lines on a full disk, too.
std::string stderr_of(const std::function<void()>& work) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  const int before = ::dup(STDERR_FILENO);
  ::dup2(ends[1], STDERR_FILENO);
  work();
  ::dup2(before, STDERR_FILENO);
  ::close(before);
  ::close(ends[1]);
  std::string text(4096, '\0');
  const ssize_t got = ::read(ends[0], text.data(), text.size());
  text.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
  ::close(ends[0]);
  return text;
}

TEST_F(SqliteDatabaseTest, ServesReadsOnAFullDiskAndStoresRevocationsLater) {
  Invite invite = make_invite({"a.example.com"}), other = make_invite({"b.example.com"});
  {
    auto store = must_open();
    ASSERT_TRUE(store->add_invite(invite, kNow).has_value());
    ASSERT_TRUE(store->add_invite(other, kNow).has_value());
  }
  options_.retry = 20ms;
  auto is_revoked_in_file = [&] { return in_file(invite.id)->revoked; };
  std::unique_ptr<testing::Kept> store;
  {
    FullDisk full;
    const std::string log = stderr_of([&] { store = must_open(); });
    ASSERT_TRUE(store);
    EXPECT_NE(log.find("event=hub_database_not_writable"), std::string::npos) << log;
    EXPECT_FALSE(store->find_invite(invite.id).value()->revoked);
    auto revoked = store->revoke_invite(invite.id);
    ASSERT_FALSE(revoked.has_value());
    EXPECT_EQ(revoked.error().code, ErrorCode::kIo);
    EXPECT_TRUE(store->find_invite(invite.id).value()->revoked) << "in memory it is";
    EXPECT_TRUE(store->list_invites(std::nullopt, 10).value().front().revoked);
    EXPECT_FALSE(store->find_invite(other.id).value()->revoked);
    EXPECT_EQ(store->revoke_invite(make_invite({"x.y"}).id).error().code, ErrorCode::kNotFound);
    net::testing::drain(loop_);
    net::testing::drain(loop_);
    EXPECT_FALSE(is_revoked_in_file());
    EXPECT_EQ(store->revoke_invite(invite.id).error().code, ErrorCode::kIo) << "until it is stored";
  }
  net::testing::run_until(loop_, is_revoked_in_file);
  net::testing::run_until(loop_, [&] { return !store->revoke_now(invite.id).has_value(); });
}

// What culvert 0.1 wrote.
constexpr const char* kSchema1 = R"sql(
  CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
  CREATE TABLE invites (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, name TEXT NOT NULL,
    tenant BLOB NOT NULL UNIQUE, secret_hash BLOB NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER,
    revoked INTEGER NOT NULL DEFAULT 0);
  CREATE TABLE invite_hostnames (
    invite INTEGER NOT NULL REFERENCES invites (sequence) ON DELETE CASCADE, position INTEGER NOT NULL,
    pattern TEXT NOT NULL, PRIMARY KEY (invite, position)) WITHOUT ROWID;
  INSERT INTO meta VALUES ('hash_key', x'000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f');
  PRAGMA application_id = 1129731121;
  PRAGMA user_version = 1;
)sql";

TEST_F(SqliteDatabaseTest, ARevocationThatIsNotStoredYetFreesItsNames) {
  auto store = must_open();
  Invite invite = make_invite({"a.example.com"});
  ASSERT_TRUE(store->add_invite(invite, kNow).has_value());
  {
    FullDisk full;
    EXPECT_FALSE(store->revoke_invite(invite.id).has_value());
  }
  EXPECT_TRUE(store->add_invite(make_invite({"a.example.com"}), kNow).has_value());
  EXPECT_EQ(store->revoke_invite(invite.id).error().code, ErrorCode::kNotFound);
}

TEST_F(SqliteDatabaseTest, FailsClosedOnATenantKeyOfSmallOrder) {
  Invite invite = make_invite({"a.example.com"});
  ASSERT_TRUE(must_open()->add_invite(invite, kNow).has_value());
  for (const char* key : kSmallOrderKeys) {
    foreign_sql(fmt::format("UPDATE records SET body = json_set(body, '$.tenant', '{}')", key));
    auto found = must_open()->find_invite(invite.id);
    ASSERT_FALSE(found.has_value()) << key;
    EXPECT_EQ(found.error().code, ErrorCode::kIo);
  }
}

TEST_F(SqliteDatabaseTest, FailsClosedOnADamagedRow) {
  Invite invite = make_invite({"a.example.com"}), intact = make_invite({"b.example.com"});
  {
    auto store = must_open();
    ASSERT_TRUE(store->add_invite(invite, kNow).has_value());
    ASSERT_TRUE(store->add_invite(intact, kNow).has_value());
  }
  foreign_sql(
      "UPDATE records SET body = json_set(body, '$.hostnames[0]', 'no pattern') WHERE body LIKE "
      "'%a.example.com%'");
  std::unique_ptr<testing::Kept> store;
  const std::string log = stderr_of([&] { store = must_open(); });
  EXPECT_NE(log.find("event=hub_invite_damaged"), std::string::npos) << log;
  EXPECT_EQ(store->find_invite(invite.id).error().code, ErrorCode::kIo);
  EXPECT_TRUE(store->find_invite(intact.id).value().has_value());
  Invite more = make_invite({"c.example.com"});
  EXPECT_EQ(store->add_invite(more, kNow).error().code, ErrorCode::kConflict)
      << "overlap cannot be ruled out";
  EXPECT_TRUE(store->revoke_invite(invite.id)) << "the way out";
  EXPECT_EQ(store->revoke_invite(invite.id).error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(store->add_invite(more, kNow));
}

class ConversionTest : public SqliteDatabaseTest {
 protected:
  void SetUp() override {
    SqliteDatabaseTest::SetUp();
    foreign_sql(kSchema1);
  }
  void insert(const Invite& invite) {
    foreign_sql(fmt::format(
        "INSERT INTO invites VALUES ({}, x'{}', '{}', x'{}', x'{}', {}, {}, {})", invite.sequence,
        to_hex(invite.id), invite.name, invite.tenant.to_string(), to_hex(invite.secret_hash),
        invite.created_at.time_since_epoch().count(),
        invite.expires_at ? fmt::format("{}", invite.expires_at->time_since_epoch().count()) : "NULL",
        int{invite.revoked}));
    for (size_t i = 0; i < invite.hostnames.size(); ++i) {
      foreign_sql(fmt::format("INSERT INTO invite_hostnames VALUES ({}, {}, '{}')", invite.sequence, i,
                              invite.hostnames[i].text()));
    }
  }
};

TEST_F(ConversionTest, KeepsEverythingOfSchema1) {
  Invite one = make_invite({"b.example.com", "*.a.example.com"}), two = make_invite({"c.eu"}, kNow + 1h);
  one.sequence = 4;
  two.sequence = 7;
  two.revoked = true;
  insert(one);
  insert(two);
  for (int opened = 0; opened < 2; ++opened) {
    auto store = must_open();
    EXPECT_EQ(to_hex(store->hash_key()), "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    const std::vector<Invite> kept = store->list_invites(std::nullopt, 10).value();
    ASSERT_EQ(kept.size(), 2u);
    for (size_t i = 0; i < 2; ++i) {
      const Invite& was = i == 0 ? one : two;
      EXPECT_EQ(kept[i].id, was.id);
      EXPECT_EQ(kept[i].name, was.name);
      EXPECT_EQ(kept[i].tenant, was.tenant);
      EXPECT_EQ(kept[i].secret_hash, was.secret_hash);
      EXPECT_EQ(kept[i].hostnames, was.hostnames);
      EXPECT_EQ(kept[i].created_at, was.created_at);
      EXPECT_EQ(kept[i].expires_at, was.expires_at);
      EXPECT_EQ(kept[i].revoked, was.revoked);
    }
  }
  auto store = must_open();
  Invite three = make_invite({"d.eu"});
  ASSERT_TRUE(store->add_invite(three, kNow));
  EXPECT_EQ(store->list_invites(two.id, 10)->front().id, three.id);
}

TEST_F(ConversionTest, ADamagedInviteStaysKnownAsDamaged) {
  Invite damaged = make_invite({"a.eu"});
  insert(damaged);
  foreign_sql("UPDATE invite_hostnames SET pattern = 'no pattern'");
  auto store = must_open();
  EXPECT_EQ(store->find_invite(damaged.id).error().code, ErrorCode::kIo);
  EXPECT_TRUE(store->revoke_invite(damaged.id));
}

TEST_F(ConversionTest, WithoutRoomTheFileStaysAsItWas) {
  insert(make_invite({"a.eu"}));
  const Bytes before = read_file(path_, 1 << 20).value();
  {
    FullDisk full;
    EXPECT_FALSE(open());
  }
  EXPECT_EQ(read_file(path_, 1 << 20).value(), before);
  EXPECT_EQ(must_open()->list_invites(std::nullopt, 10)->size(), 1u);
}

TEST_F(SqliteDatabaseTest, OnlyTheNewestEntriesOfTheAuditLogAreKept) {
  auto database = SqliteDatabase::open(path_, random_, 2s).value();
  EXPECT_EQ(database->prune_audit(10).value(), false) << "nothing is there yet";
  constexpr size_t kEntries = 12'010;
  Batch batch;
  batch.audit.resize(kEntries);
  ASSERT_TRUE(database->commit(0, batch, 1));
  EXPECT_EQ(database->prune_audit(kEntries).value(), false);
  EXPECT_EQ(database->audit(std::nullopt, 2 * kEntries)->size(), kEntries);
  int calls = 1;
  while (database->prune_audit(10).value()) ++calls;
  EXPECT_EQ(calls, 3) << "some thousand each time, so that commits do not wait long";
  auto left = database->audit(std::nullopt, 2 * kEntries).value();
  ASSERT_EQ(left.size(), 10u);
  EXPECT_EQ(left.front().sequence, kEntries);
  EXPECT_EQ(left.back().sequence, kEntries - 9);
  ASSERT_TRUE(database->commit(1, {.records = {}, .audit = {{}}}, 2));
  EXPECT_EQ(database->audit(std::nullopt, 1)->front().sequence, kEntries + 1) << "numbers are not used again";
}

}  // namespace
}  // namespace culvert::hub
