// The store while its database is slow, gone or in the hands of others.
#include "hub/store_sqlite.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "hub/store_testing.h"

namespace culvert::hub {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using net::testing::drain;
using net::testing::run_until;
using testing::ForeignDatabase;
using testing::SyncStore;

class SqliteStoreTest : public testing::StoreFixture {
 public:
  SqliteStoreTest() {
    // Nothing ends by itself unless a test asks for it.
    options_ = {.busy_time = 60s, .answer_time = 60s, .retry = 60s, .check_interval = 60s, .close_time = 20s};
  }

  struct Answer {
    std::optional<Result<>> result;
    bool ok() const { return result && *result; }
    ErrorCode code() const { return result->error().code; }
  };
  Answer& add(SyncStore& store, const Invite& invite) {
    answers_.push_back(std::make_unique<Answer>());
    tasks_.spawn(net::testing::keep_result(store.store().add_invite(invite, kNow), answers_.back()->result));
    drain(loop_);
    return *answers_.back();
  }
  Answer& revoke(SyncStore& store, const InviteId& id) {
    answers_.push_back(std::make_unique<Answer>());
    EXPECT_TRUE(store.store().revoke_now(id));
    tasks_.spawn(net::testing::keep_result(store.store().store_revocation(id), answers_.back()->result));
    drain(loop_);
    return *answers_.back();
  }
  // Another program's, that holds the file as long as it lives.
  std::unique_ptr<ForeignDatabase> lock() {
    auto other = std::make_unique<ForeignDatabase>(path_);
    other->run("BEGIN EXCLUSIVE");
    return other;
  }

  net::TaskGroup tasks_{loop_};
  std::vector<std::unique_ptr<Answer>> answers_;
};

TEST_F(SqliteStoreTest, ReadsAndRevocationsDoNotWaitForABusyDatabase) {
  auto store = must_open();
  Invite known = make_invite({"a.eu"}), made = make_invite({"b.eu"});
  ASSERT_TRUE(store->add_invite(known, kNow));
  auto other = lock();
  Answer& adding = add(*store, made);
  EXPECT_TRUE(store->find_invite(known.id).value().has_value());
  EXPECT_FALSE(store->find_invite(made.id).value().has_value()) << "not before it is stored";
  EXPECT_EQ(store->list_invites(std::nullopt, 10)->size(), 1u);
  Answer& revoking = revoke(*store, known.id);
  EXPECT_TRUE(store->find_invite(known.id).value()->revoked);
  EXPECT_FALSE(adding.result);
  EXPECT_FALSE(revoking.result);
  other.reset();
  run_until(loop_, [&] { return adding.result && revoking.result; });
  EXPECT_TRUE(adding.ok());
  EXPECT_TRUE(revoking.ok());
  EXPECT_TRUE(in_file(known.id)->revoked);
  EXPECT_FALSE(in_file(made.id)->revoked);
}

TEST_F(SqliteStoreTest, OperationsKeepTheirOrder) {
  auto store = must_open();
  Invite first = make_invite({"a.eu"}), second = make_invite({"a.eu"}), third = make_invite({"a.eu"});
  ASSERT_TRUE(store->add_invite(first, kNow));
  auto other = lock();
  Answer& too_early = add(*store, second);
  Answer& revoking = revoke(*store, first.id);
  Answer& in_time = add(*store, third);
  other.reset();
  run_until(loop_, [&] { return in_time.result.has_value(); });
  EXPECT_EQ(too_early.code(), ErrorCode::kConflict) << "the name was not free yet";
  EXPECT_TRUE(revoking.ok());
  EXPECT_TRUE(in_time.ok());
}

TEST_F(SqliteStoreTest, WhatWaitsIsBoundedAndCounted) {
  options_.max_waiting = 2;
  auto store = must_open();
  Invite known = make_invite({"a.eu"});
  ASSERT_TRUE(store->add_invite(known, kNow));
  auto other = lock();
  std::vector<Answer*> answers;
  // One is at work, two wait.
  for (int i = 0; i < 3; ++i) answers.push_back(&add(*store, make_invite({fmt::format("x{}.eu", i)})));
  Answer& refused = add(*store, make_invite({"y.eu"}));
  ASSERT_TRUE(refused.result);
  EXPECT_EQ(refused.code(), ErrorCode::kUnavailable);
  EXPECT_EQ(store->store().counters().refused_full, 1u);
  Answer& revoking = revoke(*store, known.id);
  ASSERT_TRUE(revoking.result);
  EXPECT_EQ(revoking.code(), ErrorCode::kUnavailable);
  EXPECT_TRUE(store->find_invite(known.id).value()->revoked) << "in memory it is";
  other.reset();
  run_until(loop_, [&] { return answers.back()->result.has_value(); });
  for (Answer* answer : answers) EXPECT_TRUE(answer->ok());
  EXPECT_TRUE(in_file(known.id)) << "and with the next write it is stored";
  EXPECT_TRUE(store->add_invite(make_invite({"z.eu"}), kNow));
  EXPECT_TRUE(in_file(known.id)->revoked);
}

TEST_F(SqliteStoreTest, AnInviteThatIsStoredTooLateIsRevoked) {
  options_.answer_time = 50ms;
  options_.retry = 20ms;
  auto store = must_open();
  Invite begun = make_invite({"a.eu"}), waiting = make_invite({"b.eu"});
  auto other = lock();
  Answer& first = add(*store, begun);
  Answer& second = add(*store, waiting);
  run_until(loop_, [&] { return first.result && second.result; });
  EXPECT_EQ(first.code(), ErrorCode::kUnavailable);
  EXPECT_EQ(second.code(), ErrorCode::kUnavailable);
  EXPECT_EQ(store->store().counters().timed_out, 2u);
  other.reset();
  run_until(loop_, [&] { return store->find_invite(begun.id).value().has_value(); });
  EXPECT_TRUE(store->find_invite(begun.id).value()->revoked) << "nobody has its token";
  run_until(loop_, [&] { return in_file(begun.id)->revoked; });
  EXPECT_FALSE(in_file(waiting.id)) << "what had not begun never does";
  EXPECT_TRUE(store->add_invite(make_invite({"a.eu"}), kNow)) << "its names are free";
}

TEST_F(SqliteStoreTest, ClosingCompletesWhatIsUnderWay) {
  auto store = must_open();
  Invite known = make_invite({"a.eu"}), made = make_invite({"b.eu"});
  ASSERT_TRUE(store->add_invite(known, kNow));
  auto other = lock();
  Answer& adding = add(*store, made);
  Answer& revoking = revoke(*store, known.id);
  std::thread releases([&] {
    std::this_thread::sleep_for(100ms);
    other.reset();
  });
  store->store().close();
  releases.join();
  run_until(loop_, [&] { return adding.result && revoking.result; });
  EXPECT_TRUE(adding.ok());
  EXPECT_TRUE(revoking.ok());
  EXPECT_TRUE(in_file(known.id)->revoked);
  EXPECT_TRUE(in_file(made.id));
  EXPECT_EQ(store->add_invite(make_invite({"c.eu"}), kNow).error().code, ErrorCode::kUnavailable);
}

TEST_F(SqliteStoreTest, ClosingIsBoundedAndFailsWhatIsNotDone) {
  options_.close_time = 50ms;
  auto store = must_open();
  Invite known = make_invite({"a.eu"});
  ASSERT_TRUE(store->add_invite(known, kNow));
  auto other = lock();
  Answer& adding = add(*store, make_invite({"b.eu"}));
  Answer& revoking = revoke(*store, known.id);
  ::testing::internal::CaptureStderr();
  store->store().close();
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("event=hub_database_stuck"), std::string::npos) << log;
  EXPECT_NE(log.find("event=invite_revocation_lost"), std::string::npos) << log;
  run_until(loop_, [&] { return adding.result && revoking.result; });
  EXPECT_EQ(adding.code(), ErrorCode::kUnavailable);
  EXPECT_EQ(revoking.code(), ErrorCode::kUnavailable);
  other.reset();
  // The thread that was left behind ends by itself, with its database.
  run_until(loop_, [&] {
    sqlite3* probe = nullptr;
    sqlite3_open(path_.c_str(), &probe);
    bool is_free = sqlite3_exec(probe, "BEGIN EXCLUSIVE", nullptr, nullptr, nullptr) == SQLITE_OK;
    sqlite3_close(probe);
    return is_free;
  });
}

TEST_F(SqliteStoreTest, ARemovedFileIsWrittenAgain) {
  auto store = must_open();
  Invite kept = make_invite({"a.eu"}), revoked = make_invite({"b.eu"}), more = make_invite({"c.eu"});
  const Bytes hash_key = to_bytes(store->hash_key());
  ASSERT_TRUE(store->add_invite(kept, kNow));
  ASSERT_TRUE(store->add_invite(revoked, kNow));
  for (const auto& entry : fs::directory_iterator(directory_)) fs::remove(entry);
  ::testing::internal::CaptureStderr();
  EXPECT_TRUE(store->revoke_invite(revoked.id));
  EXPECT_TRUE(store->add_invite(more, kNow));
  const std::string log = ::testing::internal::GetCapturedStderr();
  const size_t at = log.find("event=hub_database_restored");
  EXPECT_NE(at, std::string::npos) << log;
  EXPECT_EQ(log.find("event=hub_database_restored", at + 1), std::string::npos) << "more than once: " << log;
  EXPECT_EQ(fs::status(path_).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  store.reset();
  store = must_open();
  EXPECT_TRUE(std::ranges::equal(store->hash_key(), hash_key)) << "or no token would work";
  EXPECT_FALSE(store->find_invite(kept.id).value()->revoked);
  EXPECT_TRUE(store->find_invite(revoked.id).value()->revoked);
  EXPECT_TRUE(store->find_invite(more.id).value().has_value());
}

TEST_F(SqliteStoreTest, ARemovedFileIsNoticedWithoutAWrite) {
  options_.check_interval = 20ms;
  auto store = must_open();
  Invite invite = make_invite({"a.eu"});
  ASSERT_TRUE(store->add_invite(invite, kNow));
  fs::remove(path_);
  run_until(loop_, [&] { return fs::exists(path_); });
  EXPECT_TRUE(in_file(invite.id));
}

TEST_F(SqliteStoreTest, ARemovedFileThatCannotBeWrittenAgainIsTold) {
  auto store = must_open();
  Invite invite = make_invite({"a.eu"}), more = make_invite({"b.eu"});
  ASSERT_TRUE(store->add_invite(invite, kNow));
  const fs::path away = directory_.native() + "-away";
  fs::rename(directory_, away);
  ::testing::internal::CaptureStderr();
  auto added = store->add_invite(more, kNow);
  auto again = store->add_invite(more, kNow);
  auto revoked = store->revoke_invite(invite.id);
  std::string log = ::testing::internal::GetCapturedStderr();
  const size_t at = log.find("event=hub_database_lost");
  EXPECT_NE(at, std::string::npos) << log;
  EXPECT_EQ(log.find("event=hub_database_lost", at + 1), std::string::npos) << "more than once: " << log;
  for (const auto& refused : {added, again, revoked}) {
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kClosed);
    EXPECT_NE(refused.error().message.find("do not stop the node"), std::string::npos)
        << refused.error().message;
  }
  EXPECT_TRUE(store->find_invite(invite.id).value()->revoked) << "in memory it is";
  fs::rename(away, directory_);
  EXPECT_TRUE(store->add_invite(more, kNow)) << "the file is back";
  EXPECT_TRUE(in_file(invite.id)->revoked);
}

TEST_F(SqliteStoreTest, AReplacedFileIsLeftAlone) {
  auto store = must_open();
  Invite invite = make_invite({"a.eu"}), more = make_invite({"b.eu"});
  fs::copy_file(path_, directory_ / "backup.db");
  ASSERT_TRUE(store->add_invite(invite, kNow));
  fs::rename(path_, directory_ / "former.db");
  fs::copy_file(directory_ / "backup.db", path_);
  const Bytes before = read_file(path_, 1 << 20).value();
  auto added = store->add_invite(more, kNow);
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, ErrorCode::kClosed);
  EXPECT_NE(added.error().message.find("restart the node"), std::string::npos) << added.error().message;
  EXPECT_NE(added.error().message.find(path_.native()), std::string::npos) << added.error().message;
  EXPECT_EQ(store->revoke_invite(invite.id).error().code, ErrorCode::kClosed);
  EXPECT_EQ(read_file(path_, 1 << 20).value(), before);
  fs::rename(directory_ / "former.db", path_);
  EXPECT_TRUE(store->add_invite(more, kNow));
  EXPECT_TRUE(in_file(invite.id)->revoked);
}

}  // namespace
}  // namespace culvert::hub
