#include "hub/postgres_database.h"

#include <gtest/gtest.h>

#include <thread>

#include "hub/store_testing.h"

namespace culvert::hub {
namespace {

using namespace std::chrono_literals;
using testing::PostgresServer;

class PostgresDatabaseTest : public ::testing::Test {
 protected:
  void SetUp() override {
    server_ = PostgresServer::shared();
    if (server_ == nullptr)
      GTEST_SKIP() << "Debian's package postgresql is not installed; scripts/deps installs it";
    url_ = server_->make_database();
  }
  Result<std::unique_ptr<PostgresDatabase>> open(const std::string& url) {
    return PostgresDatabase::open(url, random_, times_);
  }
  std::unique_ptr<PostgresDatabase> must_open() {
    auto database = open(url_);
    EXPECT_TRUE(database) << database.error().message;
    return std::move(*database);
  }
  void expect_open_fails(const std::string& url, ErrorCode code, std::vector<std::string_view> words) {
    auto opened = open(url);
    ASSERT_FALSE(opened) << url;
    EXPECT_EQ(opened.error().code, code) << opened.error().message;
    for (std::string_view word : words)
      EXPECT_NE(opened.error().message.find(word), std::string::npos)
          << word << ": " << opened.error().message;
    EXPECT_EQ(opened.error().message.find("secret"), std::string::npos) << opened.error().message;
  }
  static Batch batch(std::string key) {
    return {.records = {{.kind = "thing", .key = std::move(key), .body = "{}"}}};
  }

  PostgresServer* server_ = nullptr;
  std::string url_;
  SeededRandom random_{7};
  PostgresConnection::Times times_{.connect = 2s, .lock = 2s, .statement = 10s};
};

TEST_F(PostgresDatabaseTest, WrongUrlsAreRefusedByWhatIsWrongAndWithoutTheirPasswords) {
  for (const char* url : {"", "culvert", "mysql://a:secret@h/d", "/var/lib/hub.db"})
    expect_open_fails(url, ErrorCode::kInvalid, {"does not begin with postgres://"});
  for (const char* url : {"postgres://u:se@cret@127.0.0.1/d", "postgres://u:x/secret@127.0.0.1/d"})
    expect_open_fails(url, ErrorCode::kInvalid, {"@ as %40"});
  for (const char* url : {"postgres://u:secret@127.0.0.1:port/d", "postgres://127.0.0.1:0/d",
                          "postgres://u:secret@127.0.0.1:70000/d", "postgres://u:secret"})
    expect_open_fails(url, ErrorCode::kInvalid, {"port that is not a number"});
  for (const char* url : {"postgres://u:secret%zz@127.0.0.1/d", "postgres://u:secret@127.0.0.1/d?colour=red",
                          "postgres://u:secret@127.0.0.1/d?sslmode"})
    expect_open_fails(url, ErrorCode::kInvalid, {"options and %-escapes"});
}

TEST_F(PostgresDatabaseTest, WhatCannotBeReachedIsNamedWithoutThePassword) {
  expect_open_fails("postgres://u:secret@127.0.0.1:1/d", ErrorCode::kIo, {"\"d\" at 127.0.0.1:1", "refused"});
  expect_open_fails("postgres://u:secret@no-such-host.invalid/d", ErrorCode::kIo,
                    {"\"d\" at no-such-host.invalid:5432"});
  expect_open_fails("postgres://u:secret@/d?host=/nonexistent", ErrorCode::kIo, {"\"d\" at /nonexistent"});
  expect_open_fails(server_->url("no_such_database"), ErrorCode::kIo, {"no_such_database", "does not exist"});
}

TEST_F(PostgresDatabaseTest, AWrongPasswordIsToldAndNotShown) {
  const std::string host = server_->directory().native();
  const std::string guarded(PostgresServer::kUserWithPassword);
  expect_open_fails(fmt::format("postgres://{}:wrong-secret@/postgres?host={}", guarded, host),
                    ErrorCode::kIo, {"password authentication failed", guarded});
  expect_open_fails(fmt::format("postgres://{}@/postgres?host={}&password=wrong-secret", guarded, host),
                    ErrorCode::kIo, {"password authentication failed"});
  // It may not make a schema in a database of others.
  expect_open_fails(fmt::format("postgres://{}:right-secret@/{}?host={}", guarded,
                                url_.substr(url_.find("@/") + 2, url_.find('?') - url_.find("@/") - 2), host),
                    ErrorCode::kIo, {"permission denied"});
}

TEST_F(PostgresDatabaseTest, ANewerSchemaIsRefusedByItsVersion) {
  must_open();
  server_->run_at(url_, "INSERT INTO culvert.schema_version (version) VALUES (9)");
  expect_open_fails(url_, ErrorCode::kInvalid, {"schema version 9", "up to 1", "run the newer culvert"});
}

TEST_F(PostgresDatabaseTest, ADatabaseThatIsNotUtf8IsRefused) {
  const std::string latin = server_->make_database("ENCODING 'LATIN1' TEMPLATE template0");
  expect_open_fails(latin, ErrorCode::kIo, {"LATIN1", "must be UTF8"});
}

TEST_F(PostgresDatabaseTest, AHubWithoutItsKeyIsRefused) {
  must_open();
  server_->run_at(url_, "DELETE FROM culvert.hub");
  expect_open_fails(url_, ErrorCode::kInvalid, {"lost its hash key"});
}

TEST_F(PostgresDatabaseTest, HubsThatStartAtOnceAgreeOnTheHashKey) {
  for (int round = 0; round < 5; ++round) {
    url_ = server_->make_database();
    std::vector<Bytes> keys(6);
    std::vector<std::thread> hubs;
    for (size_t i = 0; i < keys.size(); ++i) {
      hubs.emplace_back([this, i, &keys] {
        SystemRandom random;
        auto database = PostgresDatabase::open(url_, random, times_);
        EXPECT_TRUE(database) << database.error().message;
        if (database) keys[i] = to_bytes((*database)->hash_key());
      });
    }
    for (std::thread& hub : hubs) hub.join();
    for (const Bytes& key : keys) {
      EXPECT_EQ(key.size(), 32u);
      EXPECT_EQ(key, keys[0]);
    }
  }
}

TEST_F(PostgresDatabaseTest, ASchemaThatAnAdministratorMadeIsUsed) {
  server_->run_at(url_, "CREATE SCHEMA culvert");
  EXPECT_TRUE(must_open()->commit(0, batch("a"), 1));
}

// The first call was done, but its answer was lost.
TEST_F(PostgresDatabaseTest, ARepeatedCommitIsWrittenOnce) {
  auto database = must_open(), other = must_open();
  ASSERT_EQ(database->commit(0, batch("a"), 77)->revision, 1u);
  auto repeated = database->commit(0, batch("a"), 77);
  ASSERT_TRUE(repeated) << repeated.error().message;
  EXPECT_FALSE(repeated->has_moved);
  EXPECT_EQ(repeated->revision, 1u);
  ASSERT_TRUE(other->commit(1, batch("b"), 78));
  repeated = database->commit(0, batch("a"), 77);
  EXPECT_FALSE(repeated->has_moved) << "it was written, whatever came after it";
  EXPECT_EQ(repeated->revision, 1u);
  EXPECT_TRUE(database->commit(0, batch("c"), 79)->has_moved) << "this one was not";
}

TEST_F(PostgresDatabaseTest, ASessionThatWasCutOffIsMadeAgain) {
  auto database = must_open();
  const std::string cut =
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
      "pg_backend_pid()";
  server_->run_at(url_, cut);
  ASSERT_EQ(database->commit(0, batch("a"), 1)->revision, 1u);
  server_->run_at(url_, cut);
  EXPECT_TRUE(database->check());
  server_->run_at(url_, cut);
  EXPECT_EQ(database->load()->records.size(), 1u);
}

TEST_F(PostgresDatabaseTest, AServerThatIsAwayIsToldOfAndFoundAgain) {
  auto database = must_open();
  ASSERT_TRUE(database->commit(0, batch("a"), 1));
  server_->stop();
  auto refused = database->commit(1, batch("b"), 2);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kReset) << "a session was there: " << refused.error().message;
  refused = database->commit(1, batch("b"), 2);
  EXPECT_EQ(refused.error().code, ErrorCode::kIo)
      << "this call cannot have been done: " << refused.error().message;
  EXPECT_FALSE(database->check());
  server_->start();
  EXPECT_TRUE(database->check());
  EXPECT_EQ(database->commit(1, batch("b"), 2)->revision, 2u);
}

// A server that takes the statement and does not answer.
TEST_F(PostgresDatabaseTest, AServerThatHangsIsWaitedForABoundedTime) {
  times_.statement = 300ms;
  times_.connect = 1s;
  auto database = must_open();
  auto other = server_->connect(url_);
  const auto pid = other->run(
      "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
  ASSERT_TRUE(pid);
  ASSERT_EQ(pid->size(), 1);
  const auto its_pid = static_cast<pid_t>(pid->integer(0, 0));
  ::kill(its_pid, SIGSTOP);
  const TimePoint start = monotonic_now();
  // The second try has a session of its own.
  auto committed = database->commit(0, batch("a"), 1);
  ASSERT_TRUE(committed) << committed.error().message;
  EXPECT_LT(monotonic_now() - start, 5s);
  ::kill(its_pid, SIGCONT);
  // What the first session still does changes nothing any more.
  std::this_thread::sleep_for(100ms);
  EXPECT_EQ(database->load()->revision, 1u);
}

TEST_F(PostgresDatabaseTest, AnEarlierStateIsNotFollowed) {
  auto database = must_open();
  ASSERT_TRUE(database->commit(0, batch("a"), 1));
  ASSERT_TRUE(database->commit(1, batch("b"), 2));
  server_->run_at(url_, "UPDATE culvert.hub SET revision = 1");
  auto late = database->commit(2, batch("c"), 3);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kClosed);
  EXPECT_NE(late.error().message.find("restart the hub"), std::string::npos) << late.error().message;
}

// As `culvert hub import --replace` of another hub does.
TEST_F(PostgresDatabaseTest, AnotherHubsStateIsNotFollowed) {
  auto database = must_open(), other = must_open();
  ASSERT_TRUE(database->commit(0, batch("a"), 1));
  RecordDatabase::Archive archive{.records = {{.kind = "thing", .key = "b", .body = "{}"}}};
  ASSERT_TRUE(other->write_archive(archive, false));
  for (const auto& error :
       {database->commit(1, batch("c"), 2).error(), database->newer(1).error(), database->check().error()}) {
    EXPECT_EQ(error.code, ErrorCode::kClosed) << error.message;
    EXPECT_NE(error.message.find("restart the hub"), std::string::npos) << error.message;
  }
  EXPECT_EQ(must_open()->load()->records, archive.records);
}

TEST_F(PostgresDatabaseTest, EachCommitIsToldOf) {
  auto database = must_open(), other = must_open();
  std::mutex mutex;
  std::vector<std::optional<uint64_t>> told;
  auto watch = database->watch([&](std::optional<uint64_t> revision) {
    const std::lock_guard lock(mutex);
    told.push_back(revision);
  });
  const auto has = [&](std::optional<uint64_t> revision) {
    for (int i = 0; i < 500; ++i) {
      {
        const std::lock_guard lock(mutex);
        if (std::ranges::find(told, revision) != told.end()) return true;
      }
      std::this_thread::sleep_for(10ms);
    }
    return false;
  };
  EXPECT_TRUE(has(std::nullopt)) << "something may have come before it listened";
  ASSERT_TRUE(other->commit(0, batch("a"), 1));
  EXPECT_TRUE(has(1));
  {
    const std::lock_guard lock(mutex);
    told.clear();
  }
  server_->stop();
  server_->start();
  EXPECT_TRUE(has(std::nullopt)) << "it listens again";
  ASSERT_TRUE(other->commit(1, batch("b"), 2));
  EXPECT_TRUE(has(2));
  const TimePoint start = monotonic_now();
  watch.reset();
  EXPECT_LT(monotonic_now() - start, 1s);
}

}  // namespace
}  // namespace culvert::hub
