#include "node/hub_certificates.h"

#include <gmock/gmock.h>

#include "acme/fake_ca_fixture.h"
#include "hub/hub.h"
#include "node/node_fixture.h"

namespace culvert::node {
namespace {

using namespace testing;
using acme::testing::FakeCa;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// What the CA says of a challenge that it does not find.
constexpr const char* kNotProven =
    R"({"type":"urn:ietf:params:acme:error:unauthorized","detail":"not there"})";

void run_to_end(net::EventLoop& loop, net::Task<> task) {
  net::TaskGroup tasks(loop);
  tasks.spawn(std::move(task));
  run_until(loop, [&] { return tasks.size() == 0; });
}

// The certificates of a node over a hub with a database in a file, and a CA, on one loop.
class HubCertificatesTest : public NodeTest {
 protected:
  HubCertificatesTest() {
    fs::create_directories(directory_);
    ca_.validate = [this](const std::string& name, acme::ChallengeType, const std::string&) {
      const bool is_answered = challenges_->certificate(name) != nullptr;
      return is_answered ? validate_more_(name) : std::string(kNotProven);
    };
    start();
  }
  ~HubCertificatesTest() override { stop(); }

  void start(bool is_edge = true, bool has_ca = true) {
    hub_ = hub::Hub::open(loop_, {.database = directory_ / "hub.db",
                                  .operator_key = SecretString("operator"),
                                  .public_urls = {"https://hub.test"},
                                  .key = hub_key_,
                                  .edges = {},
                                  .internal_ca_pem = ""})
               .value();
    shared_ = hub_->certificates();
    challenges_ = std::make_shared<acme::ChallengeTable>();
    served_ = std::make_shared<tls::Certificates>(
        tls::InternalCa::load(tls::InternalCa::create("internal", loop_.unix_now())).value(),
        [this] { return loop_.unix_now(); });
    acme::ManagerOptions manager{.issuer = {.cas = {ca_.ca()}}};
    certificates_ = std::make_unique<HubCertificates>(
        loop_,
        HubCertificates::Parts{.shared = shared_,
                               .manager = has_ca ? std::optional(manager) : std::nullopt,
                               .former_directory = directory_ / "certificates",
                               .own_challenges = {acme::ChallengeType::kTlsAlpn01},
                               .is_edge = is_edge,
                               .challenges = challenges_,
                               .certificates = served_},
        own_);
    certificates_->replace(*route::Snapshot::of(routes_, 1));
    certificates_->start();
  }
  void stop() {
    if (!certificates_) return;
    certificates_->close();
    hub_.reset();
    run_to_end(loop_, certificates_->closed());
    certificates_.reset();
    shared_.reset();
  }
  void restart(bool is_edge = true, bool has_ca = true) {
    stop();
    start(is_edge, has_ca);
  }

  route::Route route_of(const std::string& name) {
    return {.match = route::Match::parse(name).value(),
            .tenant = tenant_,
            .tls_mode = route::TlsMode::kTerminate,
            .targets = {{agent_}}};
  }
  void serve(const std::string& name) {
    routes_.push_back(route_of(name));
    certificates_->follow({0, 1, {routes_.back()}, {}});
  }
  void remove(const std::string& name) {
    std::erase_if(routes_, [&](const route::Route& each) { return each.match.text() == name; });
    certificates_->follow({0, 1, {}, {route::RouteId(route::Match::parse(name).value())}});
  }
  // What an edge of its own is told that has nothing.
  hubapi::CertificateUpdate told() {
    return run_task(loop_, shared_->feed().next(edge_, {.challenges = {"tls-alpn-01"}})).value();
  }
  bool is_told(const std::string& name) {
    const auto all = told().certificates;
    return std::ranges::find(all, name, &hubapi::EdgeCertificate::name) != all.end();
  }
  std::optional<hub::CertificateStatus> status(const std::string& name) {
    for (auto& each : certificates_->list("", 100)) {
      if (each.name == name) return each;
    }
    return std::nullopt;
  }
  bool is_stored(const std::string& name) {
    const auto record = shared_->store().load(name).value();
    return record && record->certificate;
  }
  // An edge that asks all the time, and answers what it is told.
  net::Task<> follow_as_edge() {
    hubapi::CertificateRequest has{.challenges = {"tls-alpn-01"}};
    while (true) {
      auto update = co_await shared_->feed().next(edge_, has);
      if (!update) co_return;
      has.epoch = update->epoch;
      has.version = update->version;
      for (const auto& challenge : update->challenges) answered_by_edge_.insert(challenge.name);
      for (const auto& challenge : update->removed_challenges) answered_by_edge_.erase(challenge.name);
    }
  }

  SeededRandom random_{3};
  const SecretKey hub_key_ = SecretKey::generate(random_);
  const PublicKey tenant_ = SecretKey::generate(random_).public_key();
  const EndpointId agent_ = SecretKey::generate(random_).public_key();
  const EndpointId edge_ = SecretKey::generate(random_).public_key();
  net::EventLoop loop_;
  FakeCa ca_{loop_};
  std::function<std::string(const std::string&)> validate_more_ = [](const std::string&) {
    return std::string();
  };
  std::vector<std::string> own_;
  std::vector<route::Route> routes_;
  std::unique_ptr<hub::Hub> hub_;
  std::shared_ptr<hub::SharedCertificates> shared_;
  std::shared_ptr<acme::ChallengeTable> challenges_;
  std::shared_ptr<tls::Certificates> served_;
  std::unique_ptr<HubCertificates> certificates_;
  std::set<std::string> answered_by_edge_;
  net::TaskGroup tasks_{loop_};
};

TEST_F(HubCertificatesTest, WhatIsServedGetsACertificateForAllEdges) {
  const auto internal = served_->leaf("a.test").value();
  serve("a.test");
  EXPECT_EQ(status("a.test")->state, hub::CertificateStatus::State::kIssuing);
  run_until(loop_, [this] { return is_stored("a.test"); });
  EXPECT_NE(served_->leaf("a.test").value(), internal);
  const auto all = told();
  ASSERT_THAT(all.certificates, SizeIs(1));
  EXPECT_THAT(all.certificates[0].key.expose(), HasSubstr("PRIVATE KEY"));
  EXPECT_EQ(challenges_->size(), 0u);
  EXPECT_THAT(all.challenges, IsEmpty());
  const auto shown = status("a.test");
  EXPECT_EQ(shown->state, hub::CertificateStatus::State::kValid);
  EXPECT_EQ(shown->directory, ca_.ca().directory.to_string());
  EXPECT_GT(shown->expires_at, loop_.unix_now());
  EXPECT_GT(shown->next_try_at, loop_.unix_now());
  EXPECT_EQ(certificates_->shown_totals().soonest.at(0).at, shown->expires_at);
  EXPECT_EQ(certificates_->totals().valid, 1u);
  EXPECT_EQ(certificates_->totals().missing, 0u);

  restart();
  EXPECT_NE(served_->leaf("a.test").value(), internal) << "at once, from the database";
  EXPECT_TRUE(is_told("a.test"));
  net::testing::drain(loop_);
  EXPECT_EQ(ca_.issued, 1u);

  remove("a.test");
  EXPECT_FALSE(is_told("a.test"));
  EXPECT_EQ(status("a.test")->state, hub::CertificateStatus::State::kUnused);
  serve("a.test");
  EXPECT_TRUE(is_told("a.test"));
}

TEST_F(HubCertificatesTest, ASuspendedRouteLosesItsCertificateAtOnce) {
  serve("a.test");
  run_until(loop_, [this] { return is_stored("a.test"); });
  routes_[0].is_suspended = true;
  certificates_->follow({0, 1, {routes_[0]}, {}});
  EXPECT_FALSE(is_told("a.test"));
}

TEST_F(HubCertificatesTest, AHubAloneWaitsForAnEdge) {
  restart(false);
  serve("a.test");
  run_until(loop_, [this] { return !certificates_->faults().empty(); });
  EXPECT_THAT(certificates_->faults().front(), HasSubstr("wait for an edge"));
  EXPECT_THAT(status("a.test")->reason, HasSubstr("waits for an edge"));
  EXPECT_EQ(ca_.orders.size(), 0u);
  // The CA is told when the edge answers.
  validate_more_ = [this](const std::string& name) {
    return answered_by_edge_.contains(name) ? std::string() : std::string(kNotProven);
  };
  tasks_.spawn(follow_as_edge());
  run_until(loop_, [this] { return is_stored("a.test"); });
  EXPECT_EQ(certificates_->totals().counters.failed_orders, 0u);
  run_until(loop_, [this] { return answered_by_edge_.empty(); });
  shared_->feed().close();
  run_until(loop_, [this] { return tasks_.size() == 0; });
}

TEST_F(HubCertificatesTest, FilesOfAnEarlierVersionAreTakenOver) {
  stop();
  const fs::path former = directory_ / "certificates";
  {
    // As it was: a store of files, filled by a manager.
    auto files = acme::FileStore::open(former).value();
    acme::TableSolver solver(loop_, *challenges_, {acme::ChallengeType::kTlsAlpn01});
    bool is_issued = false;
    acme::Manager manager(loop_, {.issuer = {.cas = {ca_.ca()}}}, files, solver,
                          [&](const auto&, const auto&, const auto&) { is_issued = true; });
    ASSERT_TRUE(manager.want("a.test", "tenant"));
    net::TaskGroup running(loop_);
    running.spawn(manager.run());
    run_until(loop_, [&] { return is_issued; });
    manager.stop();
    run_until(loop_, [&] { return running.size() == 0; });
    ASSERT_TRUE(
        files.save({.name = "failed.test", .progress = {.failures = 3, .failed_at = loop_.unix_now()}}));
  }
  routes_.push_back(route_of("a.test"));
  start();
  EXPECT_TRUE(is_told("a.test")) << "served before it is taken over";
  run_until(loop_, [&] { return !fs::exists(former); });
  EXPECT_TRUE(fs::exists(directory_ / "certificates.taken-over" / "names" / "a.test.json"));
  EXPECT_TRUE(is_stored("a.test"));
  EXPECT_EQ(shared_->store().load("failed.test").value()->progress.failures, 3u);
  EXPECT_TRUE(shared_->store().load_account(ca_.ca().directory.to_string()).value());
  EXPECT_THAT(shared_->store().load_budgets().value(), HasSubstr("a.test"));
  restart();
  EXPECT_TRUE(is_told("a.test"));
  net::testing::drain(loop_);
  EXPECT_EQ(ca_.issued, 1u);
  EXPECT_EQ(ca_.accounts.size(), 1u);
}

TEST_F(HubCertificatesTest, AHubWithoutACaServesWhatIsThere) {
  serve("a.test");
  serve("b.test");
  remove("b.test");
  run_until(loop_, [this] { return is_stored("a.test"); });
  routes_.push_back(route_of("b.test"));
  restart(true, false);
  EXPECT_TRUE(is_told("a.test"));
  EXPECT_EQ(certificates_->totals().missing, 0u) << "nothing is to be ordered here";
  EXPECT_EQ(certificates_->shown_totals().names, 1u);
  EXPECT_FALSE(status("b.test"));
}

TEST_F(HubCertificatesTest, WhatFailsIsShownWithTheNextTry) {
  validate_more_ = [](const std::string&) { return std::string(kNotProven); };
  serve("a.test");
  run_until(loop_, [this] { return certificates_->totals().counters.failed_orders == 1; });
  const auto shown = status("a.test");
  EXPECT_EQ(shown->state, hub::CertificateStatus::State::kFailing);
  EXPECT_FALSE(shown->reason.empty());
  EXPECT_GT(shown->next_try_at, loop_.unix_now());
  EXPECT_THAT(certificates_->faults(), ElementsAre(HasSubstr("a.test is not issued")));
  EXPECT_EQ(certificates_->shown_totals().failing, 1u);
  EXPECT_EQ(certificates_->totals().missing, 1u);
}

TEST_F(HubCertificatesTest, NamesOfTheHubNeedNoEdge) {
  own_ = {"hub.test", "192.0.2.1", "localhost"};
  restart(false);
  run_until(loop_, [this] { return is_stored("hub.test"); });
  EXPECT_FALSE(is_told("hub.test")) << "it is served here alone";
  EXPECT_THAT(certificates_->list("", 10), SizeIs(1));
}

TEST_F(HubCertificatesTest, ChallengesOfAKilledHubAreWithdrawn) {
  run_until(loop_, [this] { return shared_->can_be_answered(true); });
  const acme::Challenge former{.type = acme::ChallengeType::kHttp01,
                               .name = "a.test",
                               .token = "former",
                               .key_authorization = "former.key"};
  EXPECT_TRUE(run_task(loop_, shared_->add(former)));
  EXPECT_EQ(challenges_->size(), 1u);
  restart();
  EXPECT_EQ(challenges_->size(), 1u);
  run_until(loop_, [this] { return challenges_->size() == 0; });
}

}  // namespace
}  // namespace culvert::node
