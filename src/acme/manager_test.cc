#include "acme/manager.h"

#include <gmock/gmock.h>

#include "acme/challenge_table.h"
#include "acme/fake_ca_fixture.h"
#include "acme/memory_store_fixture.h"
#include "net/testing.h"

namespace culvert::acme {
namespace {

using acme::testing::FakeCa;
using acme::testing::MemoryStore;
using net::testing::run_until;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

class ManagerTest : public ::testing::Test {
 public:
  ManagerTest() {
    options_.issuer.cas = {fake_.ca()};
    start();
  }
  ~ManagerTest() override {
    stop();
    EXPECT_EQ(table_.size(), 0u);
  }

  void start() {
    manager_ = std::make_unique<Manager>(
        loop_, options_, store_, solver_,
        [this](const std::string& name, const StoredCertificate&, tls::IdentityPtr identity) {
          ++installs_;
          served_[name] = std::move(identity);
        });
    tasks_.spawn(manager_->run());
  }
  void stop() {
    manager_->stop();
    run_until(loop_, [this] { return tasks_.size() == 0; });
  }
  void restart() {
    stop();
    served_.clear();
    installs_ = 0;
    start();
  }
  void want(const std::string& name) { ASSERT_TRUE(manager_->want(name, "tenant")); }
  bool is_served(const std::string& name) const { return served_.contains(name); }
  Progress progress(const std::string& name) const { return manager_->status(name)->schedule.progress; }
  // As if it were stored by a process that ran earlier.
  void change_stored(const std::string& name, const std::function<void(Record&)>& change) {
    Record record = parse_record(store_.records.at(name)).value();
    change(record);
    store_.records.at(name) = encode(record);
  }

  net::EventLoop loop_;
  FakeCa fake_{loop_};
  MemoryStore store_;
  ChallengeTable table_;
  TableSolver solver_{loop_, table_, {ChallengeType::kHttp01, ChallengeType::kDns01}};
  ManagerOptions options_;
  std::map<std::string, tls::IdentityPtr> served_;
  size_t installs_ = 0;
  std::unique_ptr<Manager> manager_;
  net::TaskGroup tasks_{loop_};
};

TEST_F(ManagerTest, GetsCertificatesAtDeclaration) {
  want("a.test");
  want("*.b.test");
  run_until(loop_, [this] { return served_.size() == 2; });
  EXPECT_EQ(fake_.accounts.size(), 1u) << "registered once";
  EXPECT_EQ(store_.records.size(), 2u);
  const auto status = manager_->status("a.test");
  EXPECT_EQ(status->directory, fake_.ca().directory.to_string());
  EXPECT_FALSE(status->schedule.is_running);
  EXPECT_GT(status->schedule.progress.renew_at, loop_.unix_now() + std::chrono::days(50));
  Metrics metrics;
  report(manager_->totals(), metrics);
  EXPECT_THAT(metrics.to_text(), HasSubstr("culvert_acme_names{state=\"valid\"} 2"));
}

TEST_F(ManagerTest, ARestartOrdersNothing) {
  want("a.test");
  run_until(loop_, [this] { return is_served("a.test"); });
  restart();
  want("a.test");
  EXPECT_TRUE(is_served("a.test")) << "at once";
  net::testing::drain(loop_);
  EXPECT_EQ(fake_.issued, 1u);
}

TEST_F(ManagerTest, RenewsInPlace) {
  want("a.test");
  run_until(loop_, [this] { return is_served("a.test"); });
  stop();
  change_stored("a.test", [](Record& record) { record.progress.renew_at = UnixTime(1s); });
  served_.clear();
  fake_.orders.clear();
  start();
  want("a.test");
  const tls::IdentityPtr old = served_.at("a.test");
  run_until(loop_, [&] { return served_.at("a.test") != old; });
  EXPECT_EQ(manager_->counters().renewals, 1u);
  EXPECT_TRUE(fake_.orders.at(0).contains("replaces"));
}

TEST_F(ManagerTest, TheOldOneServesWhileTheCaIsDown) {
  want("a.test");
  run_until(loop_, [this] { return is_served("a.test"); });
  stop();
  change_stored("a.test", [](Record& record) { record.progress.renew_at = UnixTime(1s); });
  installs_ = 0;
  fake_.stop();
  start();
  want("a.test");
  run_until(loop_, [this] { return progress("a.test").failures == 1; });
  EXPECT_EQ(installs_, 1u) << "the old one";
  EXPECT_THAT(progress("a.test").last_error, HasSubstr("cannot reach"));
  const UnixTime retry_at = progress("a.test").retry_at;
  EXPECT_GE(retry_at, loop_.unix_now() + 55s);
  restart();
  want("a.test");
  net::testing::drain(loop_);
  EXPECT_EQ(progress("a.test").retry_at, retry_at) << "a restart is no fresh start";
  EXPECT_EQ(manager_->counters().failed_orders, 0u);
}

TEST_F(ManagerTest, FollowsTheWindowOfTheCa) {
  const UnixTime now = loop_.unix_now();
  fake_.window = {.start = now + std::chrono::days(10), .end = now + std::chrono::days(11)};
  want("a.test");
  run_until(loop_, [this] { return is_served("a.test"); });
  stop();
  change_stored("a.test", [](Record& record) { record.progress.ask_at = UnixTime(1s); });
  start();
  want("a.test");
  run_until(loop_, [this] { return progress("a.test").window.has_value(); });
  EXPECT_EQ(progress("a.test").window, fake_.window);
  EXPECT_GE(progress("a.test").renew_at, fake_.window.start);
  EXPECT_LE(progress("a.test").renew_at, fake_.window.end);
  run_until(loop_, [this] { return !manager_->status("a.test")->schedule.is_running; });
  EXPECT_EQ(parse_record(store_.records.at("a.test"))->progress.window, fake_.window);
}

TEST_F(ManagerTest, WhatNobodyWantsIsNotOrdered) {
  want("a.test");
  manager_->unwant("a.test");
  manager_->unwant("never.test");
  net::testing::drain(loop_);
  EXPECT_EQ(fake_.requests.size(), 0u);
  // An order that runs goes on, and what it gets is kept for later.
  want("b.test");
  run_until(loop_, [this] { return fake_.orders.size() == 1; });
  manager_->unwant("b.test");
  run_until(loop_, [this] { return fake_.issued == 1 && tasks_.size() == 1 && table_.size() == 0; });
  run_until(loop_, [this] { return parse_record(store_.records.at("b.test"))->certificate.has_value(); });
  EXPECT_FALSE(is_served("b.test"));
  EXPECT_FALSE(manager_->status("b.test"));
  want("b.test");
  EXPECT_TRUE(is_served("b.test"));
}

// What is wanted again while its job runs has been dropped by who serves it.
TEST_F(ManagerTest, WhatIsWantedAgainIsInstalledAgain) {
  want("a.test");
  run_until(loop_, [this] { return is_served("a.test"); });
  stop();
  change_stored("a.test", [](Record& record) { record.progress.renew_at = UnixTime(1s); });
  fake_.pending_polls = 1'000'000;
  start();
  want("a.test");
  run_until(loop_, [this] { return table_.size() == 1; });
  for (int i = 0; i < 2; ++i) {
    manager_->unwant("a.test");
    served_.clear();
    want("a.test");
    EXPECT_TRUE(is_served("a.test"));
    EXPECT_TRUE(manager_->status("a.test")->schedule.validity);
  }
}

TEST_F(ManagerTest, OneOrderForAName) {
  fake_.pending_polls = 2;
  want("a.test");
  run_until(loop_, [this] { return fake_.orders.size() == 1; });
  for (int i = 0; i < 3; ++i) {
    manager_->unwant("a.test");
    want("a.test");
    net::testing::drain(loop_);
  }
  run_until(loop_, [this] { return is_served("a.test"); });
  EXPECT_EQ(fake_.orders.size(), 1u);
}

TEST_F(ManagerTest, NothingIsOrderedThatCannotBeStored) {
  store_.broken = true;
  want("a.test");
  run_until(loop_, [this] { return manager_->counters().failed_orders == 1; });
  EXPECT_EQ(fake_.requests.size(), 0u);
  EXPECT_THAT(progress("a.test").last_error, HasSubstr("could not be stored"));
}

TEST_F(ManagerTest, WhatCannotBeStoredIsServedAndStoredLater) {
  fake_.validate = [this](const std::string&, ChallengeType, const std::string&) {
    store_.broken = true;
    return std::string();
  };
  want("a.test");
  run_until(loop_, [this] { return is_served("a.test"); });
  EXPECT_FALSE(parse_record(store_.records.at("a.test"))->certificate);
  store_.broken = false;
  want("b.test");  // wakes the manager
  run_until(loop_, [this] { return parse_record(store_.records.at("a.test"))->certificate.has_value(); });
}

TEST_F(ManagerTest, ACertificateThatCannotBeUsedIsOrderedAgain) {
  want("a.test");
  run_until(loop_, [this] { return is_served("a.test"); });
  stop();
  change_stored("a.test", [](Record& record) { record.certificate->key = "damaged"; });
  served_.clear();
  start();
  want("a.test");
  EXPECT_FALSE(is_served("a.test"));
  run_until(loop_, [this] { return is_served("a.test"); });
  EXPECT_EQ(fake_.issued, 2u);
}

TEST_F(ManagerTest, ExpiredOnesAreNotServedButRenewed) {
  const UnixTime now = loop_.unix_now();
  tls::testing::RequestSigner signer;
  const tls::P256Key key = tls::P256Key::generate();
  const std::string chain = signer.issue(tls::certificate_request(key, {"a.test"}).value(),
                                         now - std::chrono::days(2), now - std::chrono::days(1));
  ASSERT_TRUE(
      store_.save({.name = "a.test",
                   .progress = {},
                   .certificate = StoredCertificate{
                       .chain = chain, .key = key.to_pem(), .directory = fake_.ca().directory.to_string()}}));
  want("a.test");
  EXPECT_FALSE(is_served("a.test"));
  run_until(loop_, [this] { return is_served("a.test"); });
  EXPECT_EQ(manager_->counters().renewals, 1u);
}

TEST_F(ManagerTest, OldRecordsThatNobodyWantsAreRemoved) {
  stop();
  const UnixTime now = loop_.unix_now();
  ASSERT_TRUE(store_.save({.name = "old.test", .progress = {.failed_at = now - std::chrono::days(31)}}));
  ASSERT_TRUE(store_.save({.name = "young.test", .progress = {.failed_at = now - std::chrono::days(29)}}));
  start();
  run_until(loop_, [this] { return !store_.records.contains("old.test"); });
  EXPECT_TRUE(store_.records.contains("young.test"));
}

TEST_F(ManagerTest, NamesAreBoundedAndChecked) {
  stop();
  options_.max_names = 1;
  start();
  EXPECT_EQ(manager_->want("../x", "t").error().code, ErrorCode::kInvalid);
  want("a.test");
  want("a.test");
  EXPECT_EQ(manager_->want("b.test", "t").error().code, ErrorCode::kLimit);
  manager_->unwant("a.test");
  want("b.test");
}

TEST_F(ManagerTest, StopsInTheMiddleOfAnOrder) {
  fake_.pending_polls = 1'000'000;
  want("a.test");
  run_until(loop_, [this] { return table_.size() == 1; });
  stop();
  EXPECT_EQ(table_.size(), 0u);
  start();
}

}  // namespace
}  // namespace culvert::acme
