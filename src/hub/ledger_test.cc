// The ledger while its database is slow, gone or in the hands of others.
#include "hub/ledger.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/full_disk.h"
#include "hub/store_testing.h"

namespace culvert::hub {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using net::testing::drain;
using net::testing::run_until;
using testing::Kept;

template <class Fixture>
class LedgerBase : public Fixture {
 public:
  LedgerBase() {
    // Nothing ends by itself unless a test asks for it.
    this->options_ = {
        .busy_time = 60s, .answer_time = 60s, .retry = 60s, .check_interval = 60s, .close_time = 20s};
  }

  struct Answer {
    std::optional<Result<>> result;
    bool ok() const { return result && *result; }
    ErrorCode code() const { return result->error().code; }
  };
  Answer& add(Kept& store, const Invite& invite) {
    answers_.push_back(std::make_unique<Answer>());
    tasks_.spawn(net::testing::keep_result(store.adding(invite, Fixture::kNow), answers_.back()->result));
    drain(this->loop_);
    return *answers_.back();
  }
  Answer& revoke(Kept& store, const InviteId& id) {
    answers_.push_back(std::make_unique<Answer>());
    EXPECT_TRUE(store.revoke_now(id));
    tasks_.spawn(net::testing::keep_result(store.ledger().flush(), answers_.back()->result));
    drain(this->loop_);
    return *answers_.back();
  }
  net::TaskGroup tasks_{this->loop_};
  std::vector<std::unique_ptr<Answer>> answers_;
};
using LedgerTest = LedgerBase<testing::AnyStoreFixture>;
using LedgerFileTest = LedgerBase<testing::StoreFixture>;
CULVERT_ON_EACH_DATABASE(LedgerTest);

TEST_P(LedgerTest, ReadsAndRevocationsDoNotWaitForABusyDatabase) {
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

TEST_P(LedgerTest, OperationsKeepTheirOrder) {
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

TEST_P(LedgerTest, WhatWaitsIsBoundedAndCounted) {
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
  EXPECT_EQ(store->ledger().counters().refused_full, 1u);
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

TEST_P(LedgerTest, AnInviteThatIsStoredTooLateIsRevoked) {
  options_.answer_time = 300ms;
  options_.retry = 20ms;
  auto store = must_open();
  Invite begun = make_invite({"a.eu"}), waiting = make_invite({"b.eu"});
  auto other = lock();
  Answer& first = add(*store, begun);
  Answer& second = add(*store, waiting);
  run_until(loop_, [&] { return first.result && second.result; });
  EXPECT_EQ(first.code(), ErrorCode::kUnavailable);
  EXPECT_EQ(second.code(), ErrorCode::kUnavailable);
  EXPECT_EQ(store->ledger().counters().timed_out, 2u);
  other.reset();
  run_until(loop_, [&] { return store->find_invite(begun.id).value().has_value(); });
  EXPECT_TRUE(store->find_invite(begun.id).value()->revoked) << "nobody has its token";
  run_until(loop_, [&] { return in_file(begun.id)->revoked; });
  EXPECT_FALSE(in_file(waiting.id)) << "what had not begun never does";
  EXPECT_TRUE(store->add_invite(make_invite({"a.eu"}), kNow)) << "its names are free";
}

TEST_P(LedgerTest, ClosingCompletesWhatIsUnderWay) {
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
  store->ledger().close();
  releases.join();
  run_until(loop_, [&] { return adding.result && revoking.result; });
  EXPECT_TRUE(adding.ok());
  EXPECT_TRUE(revoking.ok());
  EXPECT_TRUE(in_file(known.id)->revoked);
  EXPECT_TRUE(in_file(made.id));
  EXPECT_EQ(store->add_invite(make_invite({"c.eu"}), kNow).error().code, ErrorCode::kUnavailable);
}

TEST_P(LedgerTest, ClosingIsBoundedAndFailsWhatIsNotDone) {
  options_.close_time = 50ms;
  auto store = must_open();
  Invite known = make_invite({"a.eu"});
  ASSERT_TRUE(store->add_invite(known, kNow));
  auto other = lock();
  Answer& adding = add(*store, make_invite({"b.eu"}));
  Answer& revoking = revoke(*store, known.id);
  ::testing::internal::CaptureStderr();
  store->ledger().close();
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("event=hub_database_stuck"), std::string::npos) << log;
  EXPECT_NE(log.find("event=hub_change_lost"), std::string::npos) << log;
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

TEST_P(LedgerTest, AFaultIsKnownUntilTheDatabaseWorksAgain) {
  options_.busy_time = 50ms;
  options_.check_interval = 20ms;
  auto store = must_open();
  EXPECT_FALSE(store->ledger().fault());
  auto other = lock();
  auto added = store->add_invite(make_invite({"a.eu"}), kNow);
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, ErrorCode::kIo);
  ASSERT_TRUE(store->ledger().fault());
  const TimePoint later = loop_.now() + 300ms;
  run_until(loop_, [&] { return loop_.now() > later; });
  EXPECT_TRUE(store->ledger().fault()) << "looks that only read do not end it";
  other.reset();
  run_until(loop_, [&] { return !store->ledger().fault(); });
  EXPECT_TRUE(store->add_invite(make_invite({"a.eu"}), kNow));
}

TEST_F(LedgerFileTest, AFullDiskIsAFaultUntilThereIsRoom) {
  options_.check_interval = 20ms;
  auto store = must_open();
  Invite known = make_invite({"a.eu"});
  ASSERT_TRUE(store->add_invite(known, kNow));
  {
    const FullDisk full;
    for (int i = 0; i < 3; ++i) {
      auto added = store->add_invite(make_invite({"b.eu"}), kNow);
      ASSERT_FALSE(added);
      EXPECT_EQ(added.error().code, ErrorCode::kIo);
      EXPECT_NE(added.error().message.find(path_.native()), std::string::npos) << added.error().message;
    }
    EXPECT_TRUE(store->revoke_now(known.id)) << "in force at once";
    const TimePoint later = loop_.now() + 100ms;
    run_until(loop_, [&] { return loop_.now() > later; });
    EXPECT_TRUE(store->ledger().fault());
  }
  run_until(loop_, [&] { return !store->ledger().fault(); });
  EXPECT_TRUE(store->add_invite(make_invite({"b.eu"}), kNow)) << "without a restart";
  EXPECT_TRUE(in_file(known.id)->revoked) << "nothing is lost";
}

TEST_F(LedgerFileTest, ARemovedFileIsWrittenAgain) {
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

TEST_F(LedgerFileTest, ARemovedFileIsNoticedWithoutAWrite) {
  options_.check_interval = 20ms;
  auto store = must_open();
  Invite invite = make_invite({"a.eu"});
  ASSERT_TRUE(store->add_invite(invite, kNow));
  fs::remove(path_);
  run_until(loop_, [&] { return fs::exists(path_); });
  EXPECT_TRUE(in_file(invite.id));
}

TEST_F(LedgerFileTest, ARemovedFileThatCannotBeWrittenAgainIsTold) {
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

TEST_F(LedgerFileTest, AReplacedFileIsLeftAlone) {
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

// A database in memory that answers when a test says so, and that others may have changed.
class SlowStore final : public RecordStore {
 public:
  ByteView hash_key() const override { return {}; }
  uint64_t revision() const override { return 0; }
  std::vector<Record> take_records() override { return {}; }
  void commit(uint64_t at, Batch batch, std::function<void(Result<CommitOutcome>)> then) override {
    commits.push_back({at, std::move(batch), std::move(then)});
  }
  void read_audit(std::optional<uint64_t> /*before*/, size_t /*limit*/,
                  std::function<void(Result<std::vector<AuditEntry>>)> then) override {
    then(std::vector<AuditEntry>());
  }
  void set_on_commit(std::function<void(std::optional<uint64_t>)> on_commit) override { tell = on_commit; }
  void read_newer(uint64_t after, std::function<void(Result<CommitOutcome>)> then) override {
    reads.push_back({after, {}, std::move(then)});
  }
  void close(Batch /*last*/, std::function<void(Result<CommitOutcome>)> /*then*/) override {}

  struct Commit {
    uint64_t at;
    Batch batch;
    std::function<void(Result<CommitOutcome>)> then;
  };
  std::vector<Commit> commits, reads;
  std::function<void(std::optional<uint64_t>)> tell;
};

class CommitTest : public ::testing::Test {
 protected:
  CommitTest() {
    auto store = std::make_unique<SlowStore>();
    store_ = store.get();
    ledger_.emplace(loop_, std::move(store), state_, StoreOptions{.answer_time = 60s});
  }
  std::optional<Result<>>& commit(std::vector<std::string> touches, const std::string& key) {
    results_.push_back(std::make_unique<std::optional<Result<>>>());
    Ledger::Command command{.touches = std::move(touches), .judge = [this, key]() -> Result<Batch> {
                              judged_.push_back(key);
                              if (key == "refused") return fail(ErrorCode::kConflict, "no");
                              return Batch{.records = {{.kind = "thing", .key = key, .body = "{}"}}};
                            }};
    tasks_.spawn(net::testing::keep_result(ledger_->commit(std::move(command)), *results_.back()));
    drain(loop_);
    return *results_.back();
  }
  static std::vector<std::string> keys(const Batch& batch) {
    std::vector<std::string> keys;
    for (const Record& record : batch.records) keys.push_back(record.key);
    return keys;
  }
  void answer(size_t commit, CommitOutcome outcome) {
    store_->commits[commit].then(std::move(outcome));
    drain(loop_);
  }

  net::EventLoop loop_;
  State state_;
  SlowStore* store_ = nullptr;
  std::vector<std::string> judged_;
  std::vector<std::unique_ptr<std::optional<Result<>>>> results_;
  std::optional<Ledger> ledger_;
  net::TaskGroup tasks_{loop_};
};

using Keys = std::vector<std::string>;

TEST_F(CommitTest, CommandsThatTouchDifferentThingsShareACommit) {
  auto& first = commit({"x"}, "1");
  commit({"a"}, "2");
  auto& same = commit({"a", "b"}, "3");
  commit({"b"}, "4");
  auto& other = commit({"c"}, "5");
  auto& refused = commit({"d"}, "refused");
  ASSERT_EQ(store_->commits.size(), 1u);
  EXPECT_EQ(judged_, Keys{"1"}) << "what waits is judged when its turn comes";
  answer(0, {.revision = 1});
  EXPECT_TRUE(first && *first);
  ASSERT_EQ(store_->commits.size(), 2u);
  EXPECT_EQ(store_->commits[1].at, 1u);
  EXPECT_EQ(keys(store_->commits[1].batch), (Keys{"2", "5"})) << "4 is behind 3, which is behind 2";
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->error().code, ErrorCode::kConflict);
  answer(1, {.revision = 2});
  EXPECT_TRUE(other && *other);
  EXPECT_FALSE(same);
  EXPECT_EQ(keys(store_->commits[2].batch), Keys{"3"});
  answer(2, {.revision = 3});
  EXPECT_TRUE(same && *same);
  EXPECT_EQ(keys(store_->commits[3].batch), Keys{"4"});
}

TEST_F(CommitTest, WhatAnotherHubWroteIsReadAndTheCommandJudgedAgain) {
  auto& result = commit({"a"}, "1");
  SeededRandom random(3);
  const Invite theirs{.id = {1},
                      .sequence = 1,
                      .name = "theirs",
                      .tenant = SecretKey::generate(random).public_key(),
                      .secret_hash = {},
                      .hostnames = {},
                      .created_at = {},
                      .expires_at = std::nullopt};
  answer(0, {.has_moved = true, .revision = 7, .newer = {invite_record(theirs)}});
  EXPECT_EQ((*state_.invites.find(theirs.id))->name, "theirs");
  EXPECT_FALSE(result);
  EXPECT_EQ(judged_, (Keys{"1", "1"}));
  ASSERT_EQ(store_->commits.size(), 2u);
  EXPECT_EQ(store_->commits[1].at, 7u);
  answer(1, {.revision = 8});
  EXPECT_TRUE(result && *result);
}

TEST_F(CommitTest, WhatIsToldOfWhileTheLedgerReadsIsReadToo) {
  store_->tell(1);
  store_->tell(1);
  ASSERT_EQ(store_->reads.size(), 1u) << "one read at a time";
  store_->tell(2);
  store_->reads[0].then(CommitOutcome{.has_moved = true, .revision = 1});
  ASSERT_EQ(store_->reads.size(), 2u) << "revision 2 came too late for the first";
  EXPECT_EQ(store_->reads[1].at, 1u);
  store_->reads[1].then(CommitOutcome{.has_moved = true, .revision = 2});
  EXPECT_EQ(store_->reads.size(), 2u);
  store_->tell(2);
  EXPECT_EQ(store_->reads.size(), 2u) << "it is known";
  store_->tell(std::nullopt);
  ASSERT_EQ(store_->reads.size(), 3u) << "something may have been missed";
  store_->reads[2].then(CommitOutcome{.revision = 2});
  store_->tell(9);
  store_->reads[3].then(fail(ErrorCode::kIo, "away"));
  EXPECT_EQ(store_->reads.size(), 4u) << "not again at once";
}

TEST_F(CommitTest, ItsOwnCommitsAreNotRead) {
  auto& first = commit({"x"}, "1");
  store_->tell(1);  // before the answer
  EXPECT_TRUE(store_->reads.empty());
  answer(0, {.revision = 1});
  EXPECT_TRUE(first && *first);
  EXPECT_TRUE(store_->reads.empty());
}

TEST_F(CommitTest, AFailedCommitFailsAllThatShareItAndNothingElse) {
  commit({"x"}, "1");
  auto& a = commit({"a"}, "2");
  auto& b = commit({"b"}, "3");
  auto& behind = commit({"b"}, "4");
  answer(0, {.revision = 1});
  store_->commits[1].then(fail(ErrorCode::kIo, "disk full"));
  drain(loop_);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->error().code, ErrorCode::kIo);
  EXPECT_EQ(b->error().code, ErrorCode::kIo);
  EXPECT_EQ(ledger_->counters().refused, 2u);
  ASSERT_EQ(store_->commits.size(), 3u);
  EXPECT_EQ(store_->commits[2].at, 1u);
  answer(2, {.revision = 2});
  EXPECT_TRUE(behind && *behind);
}

// What a hub says of its health must not wait for the next change.
TEST_F(CommitTest, AFailureIsKnownUntilTheDatabaseWritesAgain) {
  auto store = std::make_unique<SlowStore>();
  store_ = store.get();
  ledger_.emplace(loop_, std::move(store), state_, StoreOptions{.answer_time = 60s, .retry = 1ms});
  EXPECT_FALSE(ledger_->failure());
  commit({"a"}, "1");
  for (size_t i = 0; i < 2; ++i) {
    store_->commits[i].then(fail(ErrorCode::kIo, "disk full"));
    ASSERT_TRUE(ledger_->failure());
    EXPECT_EQ(ledger_->failure()->error.message, "disk full");
    const UnixTime since = ledger_->failure()->since;
    EXPECT_LE(since, loop_.unix_now());
    net::testing::run_until(loop_, [&] { return store_->commits.size() == i + 2; });
    EXPECT_TRUE(store_->commits.back().batch.empty()) << "it is tried whether it writes";
  }
  answer(2, {.revision = 1});
  EXPECT_FALSE(ledger_->failure());
  EXPECT_EQ(ledger_->revision(), 1u);
  EXPECT_EQ(store_->commits.size(), 3u);
}

// The task of a request may be ended while its command waits, and what judge() refers to is gone with it.
TEST_F(CommitTest, ACommandWhoseCallerIsGoneIsNotJudged) {
  commit({"x"}, "1");
  {
    net::TaskGroup group(loop_);
    std::optional<Result<>> result;
    group.spawn(net::testing::keep_result(ledger_->commit({.touches = {},
                                                           .judge = []() -> Result<Batch> {
                                                             ADD_FAILURE() << "judged";
                                                             return Batch();
                                                           }}),
                                          result));
    drain(loop_);
    group.cancel();
    drain(loop_);
  }
  answer(0, {.revision = 1});
  EXPECT_EQ(store_->commits.size(), 1u);
}

}  // namespace
}  // namespace culvert::hub
