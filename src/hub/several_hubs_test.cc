// Several hubs that share one PostgreSQL database.
#include <gtest/gtest.h>

#include <array>
#include <numeric>

#include "hub/store_testing.h"

namespace culvert::hub {
namespace {

using namespace std::chrono_literals;
using net::testing::run_until;
using testing::Kept;
using testing::PostgresServer;

class SeveralHubsTest : public testing::StoreFixture {
 protected:
  void SetUp() override {
    StoreFixture::SetUp();
    server_ = PostgresServer::shared();
    if (server_ == nullptr)
      GTEST_SKIP() << "Debian's package postgresql is not installed; scripts/deps installs it";
    url_ = server_->make_database();
    options_.check_interval = 60s;  // a notification is what they wait for
  }
  void TearDown() override {
    if (server_ != nullptr && !server_->is_running()) server_->start();
    StoreFixture::TearDown();
  }
  Result<std::unique_ptr<RecordDatabase>> open_database() override {
    return must_be_database(PostgresDatabase::open(
        url_, random_, {.connect = 2s, .lock = options_.busy_time, .statement = options_.answer_time}));
  }
  static bool knows(Kept& hub, const Invite& invite) {
    return hub.find_invite(invite.id).value().has_value();
  }
  // What both do from the start: they listen.
  void settle(Kept& one, Kept& other) {
    for (Kept* hub : {&one, &other}) {
      Invite made = make_invite({fmt::format("settle{}.eu", count_)});
      ASSERT_TRUE(hub->add_invite(made, kNow));
      run_until(loop_, [&] { return knows(one, made) && knows(other, made); });
    }
  }
  net::Task<> change(Kept& hub, std::string host, std::vector<Result<>>& out) {
    auto added = co_await hub.adding(make_invite({std::move(host)}), kNow);
    out.push_back(std::move(added));
  }

  PostgresServer* server_ = nullptr;
  std::string url_;
};

TEST_F(SeveralHubsTest, EachFollowsTheOtherWithoutCommittingItself) {
  auto one = must_open(), other = must_open();
  EXPECT_TRUE(std::ranges::equal(one->hash_key(), other->hash_key()));
  settle(*one, *other);
  int followed = 0;
  other->ledger().set_on_followed([&] { ++followed; });
  std::vector<Duration> times;
  for (int i = 0; i < 50; ++i) {
    Invite made = make_invite({fmt::format("a{}.eu", i)});
    ASSERT_TRUE(one->add_invite(made, kNow));
    const TimePoint stored = monotonic_now();
    run_until(loop_, [&] { return knows(*other, made); });
    times.push_back(monotonic_now() - stored);
  }
  EXPECT_GE(followed, 50);
  std::ranges::sort(times);
  RecordProperty("median_us", static_cast<int>(times[25] / 1us));
  RecordProperty("p99_us", static_cast<int>(times[49] / 1us));
  fmt::print("propagation: median {} us, slowest {} us\n", times[25] / 1us, times[49] / 1us);
  EXPECT_LT(times[49], 1s);
  Invite revoked = *(other->list_invites(std::nullopt, 1)->begin());
  ASSERT_TRUE(other->revoke_invite(revoked.id));
  run_until(loop_, [&] { return one->find_invite(revoked.id).value()->revoked; });
}

TEST_F(SeveralHubsTest, RulesHoldAcrossHubs) {
  auto one = must_open(), other = must_open();
  net::TaskGroup tasks(loop_);
  std::vector<Result<>> results;
  for (int i = 0; i < 40; ++i) {
    tasks.spawn(change(*one, fmt::format("x{}.eu", i), results));
    tasks.spawn(change(*other, fmt::format("x{}.eu", i), results));
  }
  run_until(loop_, [&] { return results.size() == 80; });
  EXPECT_EQ(std::ranges::count_if(results, [](const auto& each) { return each.has_value(); }), 40)
      << "each hostname is one hub's";
  for (const auto& each : results) EXPECT_TRUE(each || each.error().code == ErrorCode::kConflict);
  run_until(loop_, [&] {
    return one->list_invites(std::nullopt, 100)->size() == 40 &&
           other->list_invites(std::nullopt, 100)->size() == 40;
  });
}

TEST_F(SeveralHubsTest, APollFindsWhatNoNotificationToldOf) {
  options_.check_interval = 50ms;
  auto one = must_open(), other = must_open();
  settle(*one, *other);
  // As a hub whose notification was lost.
  Invite made = make_invite({"a.eu"});
  made.sequence = 100;
  const Record record = invite_record(made);
  server_->run_at(url_, fmt::format("INSERT INTO culvert.records VALUES ('{}', '{}', '{}', 3)", record.kind,
                                    record.key, *record.body));
  server_->run_at(url_, "UPDATE culvert.hub SET revision = 3");
  run_until(loop_, [&] { return knows(*one, made) && knows(*other, made); });
}

TEST_F(SeveralHubsTest, WhatIsChangedWhileTheServerIsAwayIsRefusedAndServiceGoesOn) {
  options_ = {.busy_time = 1s, .answer_time = 2s, .retry = 100ms, .check_interval = 100ms, .repeat = 50ms};
  auto one = must_open(), other = must_open();
  settle(*one, *other);
  Invite known = make_invite({"known.eu"});
  ASSERT_TRUE(one->add_invite(known, kNow));
  run_until(loop_, [&] { return knows(*other, known); });
  server_->stop();
  for (int i = 0; i < 3; ++i) {
    auto added = one->add_invite(make_invite({"b.eu"}), kNow);
    ASSERT_FALSE(added);
    EXPECT_TRUE(added.error().code == ErrorCode::kIo || added.error().code == ErrorCode::kUnavailable);
  }
  run_until(loop_, [&] { return one->ledger().fault() && other->ledger().fault(); });
  EXPECT_TRUE(knows(*one, known));
  EXPECT_TRUE(one->revoke_now(known.id)) << "a revocation is in force at once";
  one->ledger().flush_later();
  server_->start();
  run_until(loop_, [&] { return other->find_invite(known.id).value()->revoked; });
  run_until(loop_, [&] { return !one->ledger().fault() && !other->ledger().fault(); });
  Invite made = make_invite({"c.eu"});
  ASSERT_TRUE(other->add_invite(made, kNow));
  run_until(loop_, [&] { return knows(*one, made); });
}

// Under load, at random moments: what is told as stored is there, what is told as refused is not, and what is
// neither is told of by stored_too_late.
TEST_F(SeveralHubsTest, ARestartingServerLosesNothingAndHidesNothing) {
  options_ = {.busy_time = 1s, .answer_time = 300ms, .retry = 50ms, .check_interval = 50ms, .repeat = 20ms};
  auto one = must_open(), other = must_open();
  std::set<std::string> stored, refused, open_ended, too_late;
  bool is_ending = false;
  int running = 0;
  const auto write = [&](Kept& hub, std::string prefix) -> net::Task<> {
    int count = 0;
    while (!is_ending) {
      const std::string key = fmt::format("{}{}", prefix, ++count);
      auto result = co_await hub.ledger().commit(
          {.touches = {key},
           .judge = [key]() -> Result<Batch> {
             return Batch{.records = {{.kind = "thing", .key = key, .body = "{}"}}};
           },
           .stored_too_late = [&too_late, key] { too_late.insert(key); }});
      if (result) {
        stored.insert(key);
      } else if (result.error().code == ErrorCode::kIo) {
        refused.insert(key);
        co_await net::sleep_for(loop_, 5ms);
      } else {
        open_ended.insert(key);
      }
    }
    --running;
  };
  net::TaskGroup tasks(loop_);
  for (int i = 0; i < 4; ++i) {
    ++running;
    tasks.spawn(write(i % 2 == 0 ? *one : *other, fmt::format("{}-", i)));
  }
  const TimePoint start = monotonic_now();
  size_t at_once = 0;
  for (int round = 0; round < 8; ++round) {
    const TimePoint until = monotonic_now() + std::chrono::milliseconds(100 + random_.below(200));
    run_until(loop_, [&] { return monotonic_now() > until; });
    at_once = stored.size();
    server_->stop();
    const TimePoint back = monotonic_now() + std::chrono::milliseconds(random_.below(600));
    run_until(loop_, [&] { return monotonic_now() > back; });
    server_->start();
    run_until(loop_, [&] { return stored.size() > at_once + 20; });
  }
  is_ending = true;
  run_until(loop_, [&] { return running == 0; });
  // What began before the last answer came may land until the ledgers are done.
  one->ledger().close();
  other->ledger().close();
  fmt::print("stored {}, refused {}, without an answer {}, of these stored too late {}; {} ms\n",
             stored.size(), refused.size(), open_ended.size(), too_late.size(),
             (monotonic_now() - start) / 1ms);
  std::set<std::string> there;
  for (const Record& record : open_database().value()->load()->records) there.insert(record.key);
  for (const std::string& key : stored) EXPECT_TRUE(there.contains(key)) << key << " is lost";
  for (const std::string& key : refused) EXPECT_FALSE(there.contains(key)) << key << " was told as refused";
  for (const std::string& key : open_ended) EXPECT_EQ(there.contains(key), too_late.contains(key)) << key;
}

}  // namespace
}  // namespace culvert::hub
