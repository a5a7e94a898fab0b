#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>

#include "base/file.h"
#include "base/full_disk.h"
#include "base/small_order_keys.h"
#include "hub/store_testing.h"

namespace culvert::hub {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

class StoreTest : public testing::StoreFixture {
 protected:
  void expect_open_fails(ErrorCode code, std::string_view reason) {
    auto store = open();
    ASSERT_FALSE(store.has_value()) << reason;
    EXPECT_EQ(store.error().code, code) << store.error().message;
    EXPECT_NE(store.error().message.find(reason), std::string::npos) << store.error().message;
    EXPECT_NE(store.error().message.find(path_.native()), std::string::npos) << store.error().message;
  }
};

TEST_F(StoreTest, KeepsInvitesAndTheHashKeyOverARestart) {
  Invite one = make_invite({"a.example.com", "*.b.example.com"});
  Invite two = make_invite({"c.example.com"}, kNow + 1h);
  Bytes hash_key;
  {
    auto store = must_open();
    hash_key = to_bytes(store->hash_key());
    EXPECT_EQ(hash_key.size(), 32u);
    ASSERT_TRUE(store->add_invite(one, kNow).has_value());
    ASSERT_TRUE(store->add_invite(two, kNow).has_value());
  }
  auto store = must_open();
  EXPECT_TRUE(std::ranges::equal(store->hash_key(), hash_key));
  auto found = store->find_invite(one.id);
  ASSERT_TRUE(found && *found);
  EXPECT_EQ((*found)->name, one.name);
  EXPECT_EQ((*found)->tenant, one.tenant);
  EXPECT_EQ((*found)->secret_hash, one.secret_hash);
  EXPECT_EQ((*found)->hostnames, one.hostnames);
  EXPECT_EQ((*found)->created_at, kNow);
  EXPECT_EQ((*found)->expires_at, std::nullopt);
  EXPECT_FALSE((*found)->revoked);
  EXPECT_EQ((*store->find_invite(two.id))->expires_at, kNow + 1h);
  auto absent = store->find_invite(make_invite({"x.y"}).id);
  ASSERT_TRUE(absent.has_value());
  EXPECT_FALSE(absent->has_value());
}

TEST_F(StoreTest, ListsInPages) {
  auto store = must_open();
  std::vector<Invite> added;
  for (int i = 0; i < 5; ++i) {
    added.push_back(make_invite({fmt::format("h{}.example.com", i)}));
    ASSERT_TRUE(store->add_invite(added.back(), kNow).has_value());
  }
  auto first = store->list_invites(std::nullopt, 3);
  ASSERT_TRUE(first.has_value());
  ASSERT_EQ(first->size(), 3u);
  EXPECT_EQ((*first)[2].id, added[2].id);
  auto rest = store->list_invites((*first)[2].id, 3);
  ASSERT_TRUE(rest.has_value());
  ASSERT_EQ(rest->size(), 2u);
  EXPECT_EQ((*rest)[0].id, added[3].id);
  auto unknown = store->list_invites(InviteId{}, 3);
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error().code, ErrorCode::kNotFound);
}

TEST_F(StoreTest, RevokesOnce) {
  auto store = must_open();
  Invite invite = make_invite({"a.example.com"});
  ASSERT_TRUE(store->add_invite(invite, kNow).has_value());
  EXPECT_TRUE(store->revoke_invite(invite.id).has_value());
  EXPECT_TRUE((*store->find_invite(invite.id))->revoked);
  EXPECT_EQ(store->revoke_invite(invite.id).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store->revoke_invite(make_invite({"x.y"}).id).error().code, ErrorCode::kNotFound);
}

TEST_F(StoreTest, NoTwoLiveInvitesOverlap) {
  auto store = must_open();
  Invite holder = make_invite({"*.a.eu", "b.eu"});
  ASSERT_TRUE(store->add_invite(holder, kNow).has_value());
  for (const char* taken : {"app.a.eu", "x.y.a.eu", "*.a.eu", "*.sub.a.eu", "b.eu", "*.eu"}) {
    auto added = store->add_invite(make_invite({"free.org", taken}), kNow);
    ASSERT_FALSE(added.has_value()) << taken;
    EXPECT_EQ(added.error().code, ErrorCode::kConflict);
    EXPECT_NE(added.error().message.find(taken), std::string::npos) << added.error().message;
    EXPECT_NE(added.error().message.find(holder.name), std::string::npos) << added.error().message;
  }
  EXPECT_EQ(store->list_invites(std::nullopt, 10)->size(), 1u) << "a refused invite left something behind";
  for (const char* free : {"a.eu", "evila.eu", "x.b.eu", "*.evila.eu"}) {
    EXPECT_TRUE(store->add_invite(make_invite({free}), kNow).has_value()) << free;
  }
}

TEST_F(StoreTest, RevokedAndExpiredInvitesFreeTheirNames) {
  auto store = must_open();
  Invite revoked = make_invite({"*.a.eu"});
  Invite expired = make_invite({"b.eu"}, kNow + 10s);
  ASSERT_TRUE(store->add_invite(revoked, kNow).has_value());
  ASSERT_TRUE(store->add_invite(expired, kNow).has_value());
  EXPECT_FALSE(store->add_invite(make_invite({"x.a.eu"}), kNow).has_value());
  EXPECT_FALSE(store->add_invite(make_invite({"b.eu"}), kNow + 9s).has_value());
  ASSERT_TRUE(store->revoke_invite(revoked.id).has_value());
  EXPECT_TRUE(store->add_invite(make_invite({"x.a.eu"}), kNow).has_value());
  EXPECT_TRUE(store->add_invite(make_invite({"b.eu"}), kNow + 10s).has_value());
}

TEST_F(StoreTest, BoundsTheNumberOfInvites) {
  auto store = must_open();
  // Filled by SQL, with rows that are never read: ten thousand synced inserts would take long.
  foreign_sql(fmt::format(R"sql(
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})
    INSERT INTO invites (id, name, tenant, secret_hash, created_at, expires_at, revoked)
      SELECT randomblob(16), 'n', randomblob(32), randomblob(32), 0, 1600000000, 0 FROM n)sql",
                          Store::kMaxInvites));
  Invite invite = make_invite({"a.example.com"});
  ASSERT_TRUE(store->add_invite(invite, kNow).has_value()) << "an expired one makes room";
  foreign_sql("UPDATE invites SET expires_at = NULL WHERE name = 'n'");
  auto more = store->add_invite(make_invite({"b.example.com"}), kNow);
  ASSERT_FALSE(more.has_value());
  EXPECT_EQ(more.error().code, ErrorCode::kLimit) << more.error().message;
}

TEST_F(StoreTest, IsPrivate) {
  auto store = must_open();
  ASSERT_TRUE(store->add_invite(make_invite({"a.example.com"}), kNow).has_value());
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(directory_)) {
    EXPECT_EQ(entry.status().permissions(), fs::perms::owner_read | fs::perms::owner_write) << entry.path();
    ++files;
  }
  EXPECT_GE(files, 2u) << "the write-ahead log was expected beside the database";
}

TEST_F(StoreTest, TakesTheRightsOfOthersAway) {
  {
    auto store = must_open();
  }
  fs::permissions(
      path_, fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_read | fs::perms::others_read);
  auto store = must_open();
  EXPECT_EQ(fs::status(path_).permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(StoreTest, RefusesADirectory) {
  fs::create_directory(path_);
  expect_open_fails(ErrorCode::kInvalid, "is a directory");
}

TEST_F(StoreTest, RefusesAPathWithoutADirectory) {
  path_ = directory_ / "absent" / "hub.db";
  auto store = open();
  ASSERT_FALSE(store.has_value());
  EXPECT_NE(store.error().message.find("absent"), std::string::npos) << store.error().message;
}

TEST_F(StoreTest, RefusesWhatIsNoDatabase) {
  std::ofstream(path_) << std::string(5000, 'x');
  expect_open_fails(ErrorCode::kInvalid, "restore it from a backup, or move it away");
}

TEST_F(StoreTest, RefusesAStump) {
  must_open();
  std::string whole(as_text(read_file(path_, 1 << 20).value()));
  for (size_t size : {1u, 16u, 100u, 511u, 4095u}) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << whole.substr(0, size);
    expect_open_fails(ErrorCode::kInvalid, "corrupt");
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << std::string(size, '\0');
    expect_open_fails(ErrorCode::kInvalid, "corrupt");
  }
}

TEST_F(StoreTest, TheFileAloneIsABackupAtAnyTime) {
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

TEST_F(StoreTest, RefusesATruncatedDatabase) {
  {
    auto store = must_open();
  }
  fs::resize_file(path_, 4096);
  expect_open_fails(ErrorCode::kInvalid, "corrupt");
}

TEST_F(StoreTest, RefusesADamagedDatabase) {
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

TEST_F(StoreTest, RefusesADatabaseThatIsAByteShort) {
  must_open();
  const auto size = fs::file_size(path_);
  fs::resize_file(path_, size - 1);
  expect_open_fails(ErrorCode::kInvalid, fmt::format("{} bytes long instead of {}", size - 1, size));
  expect_open_fails(ErrorCode::kInvalid, "restore it from a backup, or move it away");
  EXPECT_EQ(fs::file_size(path_), size - 1) << "a damaged file is left as it is";
}

TEST_F(StoreTest, RefusesDamageOfAnyPage) {
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
TEST_F(StoreTest, CreationStartsAgainAfterAnInterruptedWrite) {
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

TEST_F(StoreTest, RefusesANewerSchemaAndNamesBothVersions) {
  {
    auto store = must_open();
  }
  foreign_sql("PRAGMA user_version = 7");
  expect_open_fails(ErrorCode::kInvalid, "schema version 7, this culvert knows up to 1");
}

TEST_F(StoreTest, RefusesAnImpossibleSchema) {
  {
    auto store = must_open();
  }
  foreign_sql("PRAGMA user_version = 0");
  expect_open_fails(ErrorCode::kInvalid, "impossible schema version 0");
}

TEST_F(StoreTest, RefusesAnotherProgramsDatabase) {
  foreign_sql("CREATE TABLE notes (text TEXT)");
  expect_open_fails(ErrorCode::kInvalid, "belongs to another program");
}

TEST_F(StoreTest, RefusesALostHashKey) {
  {
    auto store = must_open();
  }
  foreign_sql("DELETE FROM meta");
  expect_open_fails(ErrorCode::kInvalid, "hash key");
}

TEST_F(StoreTest, RefusesAMissingTable) {
  {
    auto store = must_open();
  }
  foreign_sql("DROP TABLE invite_hostnames");
  expect_open_fails(ErrorCode::kIo, "invite_hostnames");
}

TEST_F(StoreTest, TakesAnEmptyFileForANewDatabase) {
  std::ofstream(path_).flush();
  must_open();
}

TEST_F(StoreTest, FailsClosedWhenItCannotWrite) {
  auto store = must_open();
  Invite invite = make_invite({"a.example.com"});
  ASSERT_TRUE(store->add_invite(invite, kNow).has_value());
  foreign_sql(
      "CREATE TRIGGER full_disk BEFORE INSERT ON invite_hostnames BEGIN SELECT RAISE(ABORT, 'disk full'); "
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

TEST_F(StoreTest, ServesReadsOnAFullDiskAndStoresRevocationsLater) {
  Invite invite = make_invite({"a.example.com"}), other = make_invite({"b.example.com"});
  {
    auto store = must_open();
    ASSERT_TRUE(store->add_invite(invite, kNow).has_value());
    ASSERT_TRUE(store->add_invite(other, kNow).has_value());
  }
  options_.retry = 20ms;
  auto is_revoked_in_file = [&] { return in_file(invite.id)->revoked; };
  std::unique_ptr<testing::SyncStore> store;
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
  net::testing::run_until(loop_, [&] { return !store->store().revoke_now(invite.id).has_value(); });
}

TEST_F(StoreTest, ARevocationThatIsNotStoredYetFreesItsNames) {
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

TEST_F(StoreTest, FailsClosedWhenAnotherHoldsTheLock) {
  options_.busy_time = 50ms;
  auto store = must_open();
  Invite invite = make_invite({"a.example.com"});
  ASSERT_TRUE(store->add_invite(invite, kNow).has_value());
  {
    testing::ForeignDatabase other(path_);
    other.run("BEGIN IMMEDIATE");
    auto revoked = store->revoke_invite(invite.id);
    ASSERT_FALSE(revoked.has_value());
    EXPECT_EQ(revoked.error().code, ErrorCode::kIo) << "a lock is not \"no such invite\"";
    EXPECT_EQ(store->add_invite(make_invite({"b.example.com"}), kNow).error().code, ErrorCode::kIo);
    EXPECT_TRUE(store->find_invite(invite.id)->has_value());
  }
  EXPECT_TRUE(store->revoke_invite(invite.id).has_value());
}

TEST_F(StoreTest, FailsClosedOnATenantKeyOfSmallOrder) {
  Invite invite = make_invite({"a.example.com"});
  ASSERT_TRUE(must_open()->add_invite(invite, kNow).has_value());
  for (const char* key : kSmallOrderKeys) {
    foreign_sql(fmt::format("UPDATE invites SET tenant = x'{}'", key));
    auto found = must_open()->find_invite(invite.id);
    ASSERT_FALSE(found.has_value()) << key;
    EXPECT_EQ(found.error().code, ErrorCode::kIo);
  }
}

TEST_F(StoreTest, FailsClosedOnADamagedRow) {
  Invite invite = make_invite({"a.example.com"}), intact = make_invite({"b.example.com"});
  {
    auto store = must_open();
    ASSERT_TRUE(store->add_invite(invite, kNow).has_value());
    ASSERT_TRUE(store->add_invite(intact, kNow).has_value());
  }
  foreign_sql("UPDATE invite_hostnames SET pattern = 'no pattern' WHERE invite = 1");
  std::unique_ptr<testing::SyncStore> store;
  const std::string log = stderr_of([&] { store = must_open(); });
  EXPECT_NE(log.find("event=hub_invite_damaged"), std::string::npos) << log;
  EXPECT_EQ(store->find_invite(invite.id).error().code, ErrorCode::kIo);
  EXPECT_TRUE(store->find_invite(intact.id).value().has_value());
  Invite more = make_invite({"c.example.com"});
  EXPECT_EQ(store->add_invite(more, kNow).error().code, ErrorCode::kIo) << "overlap cannot be ruled out";
  EXPECT_TRUE(store->revoke_invite(invite.id)) << "the way out";
  EXPECT_EQ(store->revoke_invite(invite.id).error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(store->add_invite(more, kNow));
}

}  // namespace
}  // namespace culvert::hub
