#include <gmock/gmock.h>

#include "acme/challenge_table.h"
#include "acme/fake_ca_fixture.h"
#include "acme/manager.h"
#include "acme/memory_store_fixture.h"
#include "sim/machine.h"

// The manager in simulated time: weeks of orders, of questions and of a CA that is away, over simulated TCP.
namespace culvert::acme {
namespace {

using acme::testing::FakeCa;
using acme::testing::MemoryStore;
using std::chrono::days;
using namespace std::chrono_literals;

class ManagerSim : public ::testing::Test {
 public:
  ManagerSim() {
    options_.issuer.cas = {ca_.ca()};
    ca_.validate = [this](const std::string&, ChallengeType, const std::string&) {
      EXPECT_GE(table_.size(), 1u) << "published while the CA looks";
      return std::string();
    };
  }
  ~ManagerSim() override {
    stop();
    ca_.stop();
    simulation_.run_for(10min);
  }

  void start() {
    manager_ =
        std::make_unique<Manager>(loop_, options_, store_, solver_,
                                  [this](const std::string& name, const StoredCertificate&,
                                         tls::IdentityPtr identity) { served_[name] = std::move(identity); });
    tasks_.spawn(manager_->run());
    for (const std::string& name : names_) EXPECT_TRUE(manager_->want(name, "tenant"));
  }
  void stop() {
    if (!manager_) return;
    manager_->stop();
    EXPECT_TRUE(simulation_.run_until([this] { return tasks_.size() == 0; }, 1h));
    EXPECT_EQ(table_.size(), 0u);
    manager_.reset();
    served_.clear();
  }
  // Every hour each name has a certificate that is valid.
  void run_and_check(std::chrono::hours time) {
    for (std::chrono::hours passed{}; passed < time; passed += 1h) {
      simulation_.run_for(1h);
      for (const std::string& name : names_) {
        ASSERT_TRUE(served_.contains(name)) << name;
        ASSERT_GT(tls::not_after(*served_.at(name)), loop_.unix_now()) << name;
      }
    }
  }
  void cut(bool is_cut) { simulation_.set_wire(here_, there_, {.is_cut = is_cut}); }

  sim::Simulation simulation_{7};
  sim::Machine here_{simulation_, SocketAddr::v4({10, 0, 0, 1}, 0)};
  sim::Machine there_{simulation_, SocketAddr::v4({10, 0, 0, 2}, 0)};
  net::EventLoop loop_{here_};
  net::EventLoop far_loop_{there_};
  FakeCa ca_{far_loop_, SocketAddr::v4({10, 0, 0, 2}, 443)};
  MemoryStore store_;
  ChallengeTable table_;
  TableSolver solver_{loop_, table_, {ChallengeType::kHttp01, ChallengeType::kDns01}};
  ManagerOptions options_;
  std::vector<std::string> names_ = {"a.test", "b.test", "*.c.test"};
  std::map<std::string, tls::IdentityPtr> served_;
  std::unique_ptr<Manager> manager_;
  net::TaskGroup tasks_{loop_};
};

TEST_F(ManagerSim, ServesThroughADayWithoutTheCaAndThroughRestarts) {
  ca_.lifetime = 160h;
  ca_.has_renewal_info = false;
  start();
  run_and_check(60h);
  // Half of the life is gone some 20 hours from here, while the CA is away.
  cut(true);
  const size_t before = ca_.orders.size();
  run_and_check(14h);
  stop();
  start();
  run_and_check(10h);
  EXPECT_EQ(ca_.orders.size(), before);
  EXPECT_GT(manager_->counters().failed_orders, 0u);
  cut(false);
  run_and_check(25h);
  for (const std::string& name : names_) {
    EXPECT_EQ(manager_->status(name)->schedule.progress.failures, 0u);
    EXPECT_GT(tls::not_after(*served_.at(name)), loop_.unix_now() + 100h) << "it has recovered";
  }
  for (int restarts = 0; restarts < 12; ++restarts) {
    stop();
    start();
    run_and_check(36h);
  }
  // 24 days, and a renewal every 80 hours: the restarts have ordered nothing.
  EXPECT_LE(ca_.issued, names_.size() * 9);
  EXPECT_EQ(ca_.accounts.size(), 1u);
}

TEST_F(ManagerSim, FollowsTheCasWindowForTwoMonths) {
  ca_.window = {.start = loop_.unix_now() + days(20), .end = loop_.unix_now() + days(21)};
  start();
  run_and_check(days(20));
  EXPECT_EQ(ca_.issued, names_.size());
  // As before a revocation: of these certificates, and of those that take their place.
  ca_.window = {.start = loop_.unix_now(), .end = loop_.unix_now() + days(1)};
  run_and_check(24h);
  EXPECT_GE(ca_.issued, 2 * names_.size());
  EXPECT_LE(ca_.issued, 5 * names_.size());
  ca_.window = {.start = loop_.unix_now() + days(50), .end = loop_.unix_now() + days(51)};
  run_and_check(24h);
  const size_t issued = ca_.issued;
  run_and_check(days(35));
  EXPECT_EQ(ca_.issued, issued);
  EXPECT_TRUE(ca_.orders.back().contains("replaces"));
}

}  // namespace
}  // namespace culvert::acme
