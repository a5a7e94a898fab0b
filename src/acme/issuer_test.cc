#include "acme/issuer.h"

#include <gmock/gmock.h>

#include <array>

#include "acme/challenge_table.h"
#include "acme/fake_ca_fixture.h"
#include "acme/memory_store_fixture.h"
#include "net/testing.h"

namespace culvert::acme {
namespace {

using acme::testing::FakeCa;
using acme::testing::MemoryStore;
using net::testing::run_task;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

constexpr const char* kConnection = R"({"type":"urn:ietf:params:acme:error:connection","detail":"refused"})";

class IssuerTest : public ::testing::Test {
 public:
  IssuerTest() {
    const auto pending = [this](const std::string&, ChallengeType type, const std::string&) {
      tried_.push_back(type);
      EXPECT_GE(table_.size(), 1u) << "published while the CA looks";
      return failing_.contains(type) ? std::string(kConnection) : std::string();
    };
    first_.validate = pending;
    second_.validate = pending;
  }
  ~IssuerTest() override { EXPECT_EQ(table_.size(), 0u) << "everything is withdrawn"; }

  Issuer issuer(std::vector<ChallengeType> types = {ChallengeType::kTlsAlpn01, ChallengeType::kHttp01,
                                                    ChallengeType::kDns01}) {
    return {
        loop_, {.cas = {first_.ca(), second_.ca()}, .challenge_types = std::move(types)}, store_, solver_};
  }
  Outcome<IssuedCertificate> issue(Issuer& issuer, std::vector<std::string> names,
                                   std::optional<ReplacedCertificate> replaced = {}) {
    return run_task(loop_, issuer.issue(std::move(names), std::move(replaced)));
  }

  net::EventLoop loop_;
  FakeCa first_{loop_}, second_{loop_};
  MemoryStore store_;
  ChallengeTable table_;
  std::set<ChallengeType> answerable_{ChallengeType::kTlsAlpn01, ChallengeType::kHttp01,
                                      ChallengeType::kDns01};
  TableSolver solver_{loop_, table_, answerable_};
  std::set<ChallengeType> failing_;
  std::vector<ChallengeType> tried_;
};

TEST_F(IssuerTest, GetsACertificate) {
  Issuer one = issuer();
  const auto issued = issue(one, {"a.test"});
  ASSERT_TRUE(issued) << issued.error().error.message;
  EXPECT_THAT(issued->chain.names(), ElementsAre("a.test"));
  EXPECT_EQ(issued->directory, first_.ca().directory.to_string());
  EXPECT_THAT(tried_, ElementsAre(ChallengeType::kTlsAlpn01));
  EXPECT_EQ(store_.accounts.at(issued->directory).url.empty(), false);
  EXPECT_EQ(second_.requests.size(), 0u);
  // After a restart the account is the same.
  Issuer again = issuer();
  ASSERT_TRUE(issue(again, {"b.test"}));
  EXPECT_EQ(first_.accounts.size(), 1u);
}

TEST_F(IssuerTest, OneForANameAndItsWildcard) {
  Issuer one = issuer();
  const auto issued = issue(one, {"a.test", "*.a.test"});
  ASSERT_TRUE(issued) << issued.error().error.message;
  EXPECT_THAT(issued->chain.names(), ElementsAre("a.test", "*.a.test"));
  EXPECT_THAT(tried_, ElementsAre(ChallengeType::kTlsAlpn01, ChallengeType::kDns01));
}

TEST_F(IssuerTest, TriesTheTypesInTurn) {
  failing_ = {ChallengeType::kTlsAlpn01, ChallengeType::kHttp01};
  Issuer one = issuer();
  ASSERT_TRUE(issue(one, {"a.test"}));
  EXPECT_THAT(tried_, ElementsAre(ChallengeType::kTlsAlpn01, ChallengeType::kHttp01, ChallengeType::kDns01));
  EXPECT_EQ(first_.orders.size(), 3u);
  EXPECT_EQ(one.counters().failed_challenges, 2u);
  EXPECT_EQ(second_.requests.size(), 0u);
}

TEST_F(IssuerTest, AnotherCaWouldSeeTheSame) {
  failing_ = {ChallengeType::kTlsAlpn01, ChallengeType::kHttp01, ChallengeType::kDns01};
  Issuer one = issuer();
  const auto refused = issue(one, {"a.test"});
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().is_of_name);
  EXPECT_THAT(refused.error().error.message, HasSubstr("the proof of a.test by dns-01 (connection)"));
  EXPECT_EQ(second_.requests.size(), 0u);
}

TEST_F(IssuerTest, AskAnotherCaForWhatTheFirstRefuses) {
  http::Response busy = FakeCa::problem(429, "rateLimited");
  busy.headers.add("Retry-After", "3600");
  first_.instead["/order"].push_back(std::move(busy));
  Issuer one = issuer();
  const auto issued = issue(one, {"a.test"});
  ASSERT_TRUE(issued) << issued.error().error.message;
  EXPECT_EQ(issued->directory, second_.ca().directory.to_string());
  EXPECT_EQ(one.counters().failed_cas, 1u);
  first_.stop();
  EXPECT_TRUE(issue(one, {"b.test"})) << "the first is down";
}

TEST_F(IssuerTest, AllThatFailedIsSaid) {
  first_.instead["/order"].push_back(FakeCa::problem(400, "rejectedIdentifier"));
  second_.stop();
  Issuer one = issuer();
  const auto refused = issue(one, {"a.test"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().type, ProblemType::kRejectedIdentifier);
  EXPECT_THAT(refused.error().error.message, HasSubstr("rejectedIdentifier"));
  EXPECT_THAT(refused.error().error.message, HasSubstr("cannot reach"));
  EXPECT_EQ(refused.error().retry_after, std::nullopt);
}

TEST_F(IssuerTest, WhatIsProvenAlreadyIsNotProvenAgain) {
  first_.reuses_authorizations = true;
  Issuer one = issuer();
  EXPECT_TRUE(issue(one, {"a.test"}));
  EXPECT_TRUE(tried_.empty());
}

TEST_F(IssuerTest, ACaMayRefuseToReplace) {
  Issuer one = issuer();
  const ReplacedCertificate replaced{.directory = first_.ca().directory.to_string(),
                                     .renewal_id = "aki.serial"};
  ASSERT_TRUE(issue(one, {"a.test"}, replaced));
  EXPECT_EQ(first_.orders.at(0).at("replaces").as_string(), "aki.serial");
  for (const char* type : {"alreadyReplaced", "malformed"}) {
    first_.orders.clear();
    first_.instead["/order"].push_back(FakeCa::problem(409, type));
    ASSERT_TRUE(issue(one, {"a.test"}, replaced)) << type;
    EXPECT_FALSE(first_.orders.at(0).contains("replaces"));
  }
  // One of another CA is not its business.
  first_.orders.clear();
  ASSERT_TRUE(
      issue(one, {"a.test"}, ReplacedCertificate{.directory = "https://other.test/", .renewal_id = "x.y"}));
  EXPECT_FALSE(first_.orders.at(0).contains("replaces"));
}

TEST_F(IssuerTest, WildcardsNeedDns) {
  Issuer one = issuer({ChallengeType::kHttp01});
  const auto refused = issue(one, {"*.a.test"});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().error.message, HasSubstr("dns-01"));
  EXPECT_EQ(first_.requests.size(), 0u) << "no CA is asked for what cannot be";
}

TEST_F(IssuerTest, WhatNobodyCanAnswerIsSaid) {
  first_.offers = {"new-01"};
  second_.offers = {"new-02", "http-01"};
  Issuer one = issuer({ChallengeType::kTlsAlpn01});
  const auto refused = issue(one, {"a.test"});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().error.message, HasSubstr("new-01"));
  EXPECT_THAT(refused.error().error.message, HasSubstr("new-02, http-01"));
}

TEST_F(IssuerTest, NothingIsPublishedForNamesThatWereNotOrdered) {
  first_.authorization_name = "victim.test";
  second_.stop();
  Issuer one = issuer();
  const auto refused = issue(one, {"a.test"});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().error.message, HasSubstr("victim.test"));
  EXPECT_TRUE(tried_.empty());
}

TEST_F(IssuerTest, OnlyWhatWasOrderedIsTaken) {
  first_.issues_for_other_name = true;
  second_.lifetime = 10min;  // backdated by an hour
  Issuer one = issuer();
  const auto refused = issue(one, {"a.test"});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().error.message, HasSubstr("not for this private key"));
  EXPECT_THAT(refused.error().error.message, HasSubstr("clock"));
}

TEST_F(IssuerTest, NoAccountIsMadeThatCannotBeStored) {
  store_.broken = true;
  Issuer one = issuer();
  const auto refused = issue(one, {"a.test"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().error.code, ErrorCode::kIo);
  EXPECT_EQ(first_.requests.size() + second_.requests.size(), 0u);
}

TEST_F(IssuerTest, WithdrawsWhenItIsCancelled) {
  first_.pending_polls = 1'000'000;
  Issuer one = issuer();
  net::TaskGroup tasks(loop_);
  std::optional<Outcome<IssuedCertificate>> outcome;
  tasks.spawn(net::testing::keep_result(one.issue({"a.test"}, std::nullopt), outcome));
  net::testing::run_until(loop_, [this] { return table_.size() == 1; });
  tasks.cancel();
  net::testing::run_until(loop_, [&] { return tasks.size() == 0; });
  EXPECT_EQ(table_.size(), 0u);
}

TEST_F(IssuerTest, OrdersThatBeginTogetherRegisterOneAccount) {
  Issuer one = issuer();
  net::TaskGroup tasks(loop_);
  std::array<std::optional<Outcome<IssuedCertificate>>, 3> outcomes;
  tasks.spawn(net::testing::keep_result(one.issue({"a.test"}, std::nullopt), outcomes[0]));
  tasks.spawn(net::testing::keep_result(one.issue({"b.test"}, std::nullopt), outcomes[1]));
  tasks.spawn(net::testing::keep_result(one.issue({"c.test"}, std::nullopt), outcomes[2]));
  net::testing::run_until(loop_, [&] { return tasks.size() == 0; });
  for (const auto& outcome : outcomes) EXPECT_TRUE(*outcome) << outcome->error().error.message;
  EXPECT_EQ(first_.accounts.size(), 1u);
}

// The one that registers is cancelled: the other fails, and the next one registers.
TEST_F(IssuerTest, ARegistrationThatIsCancelledBlocksNobody) {
  second_.stop();
  Issuer one = issuer();
  net::TaskGroup first(loop_), second(loop_);
  std::optional<Outcome<IssuedCertificate>> cancelled, other;
  first.spawn(net::testing::keep_result(one.issue({"a.test"}, std::nullopt), cancelled));
  second.spawn(net::testing::keep_result(one.issue({"b.test"}, std::nullopt), other));
  first.cancel();
  net::testing::run_until(loop_, [&] { return first.size() + second.size() == 0; });
  EXPECT_FALSE(cancelled);
  ASSERT_FALSE(*other);
  // What a cancelled task waits for ends as if its deadline had come, and some waits end with that.
  EXPECT_THAT(other->error().error.message,
              ::testing::AnyOf(HasSubstr("cancelled"), HasSubstr("took too long")));
  EXPECT_TRUE(issue(one, {"c.test"}));
}

TEST_F(IssuerTest, RevokesAndAsksWithTheSameCa) {
  Issuer one = issuer();
  const std::string directory = second_.ca().directory.to_string();
  EXPECT_TRUE(run_task(loop_, one.revoke(directory, {1, 2, 3})));
  EXPECT_EQ(second_.revoked, "AQID");
  second_.window = {.start = UnixTime(1'800'000'000s), .end = UnixTime(1'800'086'400s)};
  EXPECT_EQ(run_task(loop_, one.renewal_info(directory, "x.y"))->window, second_.window);
  EXPECT_EQ(run_task(loop_, one.renewal_info("https://gone.test/", "x.y")).error().error.code,
            ErrorCode::kNotFound);
}

}  // namespace
}  // namespace culvert::acme
