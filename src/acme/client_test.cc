#include "acme/client.h"

#include <gmock/gmock.h>

#include "acme/fake_ca_fixture.h"
#include "net/testing.h"

namespace culvert::acme {
namespace {

using acme::testing::FakeCa;
using net::testing::run_task;
using net::testing::soon;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

class ClientTest : public ::testing::Test {
 public:
  Client client(Ca ca) { return {loop_, std::move(ca), account_, soon()}; }
  Client client() { return client(fake_.ca()); }

  net::EventLoop loop_;
  FakeCa fake_{loop_};
  std::shared_ptr<Account> account_ = std::make_shared<Account>(tls::P256Key::generate());
};

net::Task<Outcome<std::string>> order(Client& client, std::string name, tls::P256Key key) {
  auto placed = co_await client.new_order({name}, "");
  if (!placed) co_return std::unexpected(placed.error());
  auto offered = co_await client.authorization(placed->order.authorizations.front());
  if (!offered) co_return std::unexpected(offered.error());
  if (offered->status == AuthorizationStatus::kPending) {
    auto begun = co_await client.begin_challenge(offered->offers.front().url);
    if (!begun) co_return std::unexpected(begun.error());
    auto validated = co_await client.wait_for_authorization(placed->order.authorizations.front());
    if (!validated) co_return std::unexpected(validated.error());
  }
  auto chain = co_await client.finalize(std::move(*placed), tls::certificate_request(key, {name}).value());
  co_return chain;
}

TEST_F(ClientTest, OrdersACertificate) {
  Client asking = client();
  const tls::P256Key key = tls::P256Key::generate();
  const auto pem = run_task(loop_, order(asking, "a.test", key));
  ASSERT_TRUE(pem) << pem.error().error.message;
  EXPECT_TRUE(tls::CertificateChain::from_pem(*pem)->check(key, {"a.test"}, unix_now()));
  EXPECT_EQ(fake_.accounts.size(), 1u);
  EXPECT_FALSE(account_->url.empty());
  EXPECT_EQ(fake_.connections, 1u) << "one connection for all";
  EXPECT_EQ(std::ranges::count(fake_.requests, "HEAD /nonce"), 0) << "each answer has the next nonce";
  EXPECT_EQ(std::ranges::count(fake_.requests, "GET /directory"), 1);

  // Another client goes on with the account.
  Client other = client();
  ASSERT_TRUE(run_task(loop_, order(other, "b.test", key)));
  EXPECT_EQ(fake_.accounts.size(), 1u);
}

TEST_F(ClientTest, RefusedNoncesAreReplaced) {
  fake_.bad_nonces = Client::kMaxNonceRetries;
  Client asking = client();
  EXPECT_TRUE(run_task(loop_, order(asking, "a.test", tls::P256Key::generate())));
  fake_.bad_nonces = Client::kMaxNonceRetries + 1;
  const auto refused = run_task(loop_, order(asking, "a.test", tls::P256Key::generate()));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().type, ProblemType::kBadNonce);
  EXPECT_EQ(refused.error().error.code, ErrorCode::kUnavailable);
}

TEST_F(ClientTest, AnAccountThatTheCaForgotIsRegisteredAgain) {
  Client asking = client();
  ASSERT_TRUE(run_task(loop_, order(asking, "a.test", tls::P256Key::generate())));
  const std::string first = account_->url;
  fake_.forget_accounts();
  ASSERT_TRUE(run_task(loop_, order(asking, "a.test", tls::P256Key::generate())));
  EXPECT_NE(account_->url, first);
  EXPECT_EQ(fake_.accounts.size(), 2u);
}

TEST_F(ClientTest, TermsAreAgreedToByTheOperatorAlone) {
  fake_.terms = "https://127.0.0.1/terms-1";
  Ca ca = fake_.ca();
  ca.contact = "ops@a.test";
  Client refusing = client(ca);
  const auto refused = run_task(loop_, refusing.ensure_account());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().error.message, HasSubstr("https://127.0.0.1/terms-1"));
  EXPECT_TRUE(fake_.accounts.empty());
  ca.terms_agreed = true;
  Client agreeing = client(ca);
  EXPECT_TRUE(run_task(loop_, agreeing.ensure_account()));
  EXPECT_EQ(boost::json::serialize(fake_.accounts.at(0)),
            R"({"termsOfServiceAgreed":true,"contact":["mailto:ops@a.test"]})");
}

TEST_F(ClientTest, AnExternalAccountIsBoundWhereTheCaWantsOne) {
  fake_.wants_external_account = true;
  Ca ca = fake_.ca();
  Client without = client(ca);
  const auto refused = run_task(loop_, without.ensure_account());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().type, ProblemType::kExternalAccountRequired);
  ca.external_account = parse_external_account("kid-1", "c2VjcmV0").value();
  Client with = client(ca);
  EXPECT_TRUE(run_task(loop_, with.ensure_account()));
  EXPECT_TRUE(fake_.accounts.at(0).contains("externalAccountBinding"));
}

TEST_F(ClientTest, ProfilesAreOfTheCa) {
  fake_.profiles = {"classic", "shortlived"};
  Ca ca = fake_.ca();
  ca.profile = "shortlived";
  Client asking = client(ca);
  ASSERT_TRUE(run_task(loop_, asking.new_order({"a.test"}, "id.serial")));
  EXPECT_EQ(fake_.orders.at(0).at("profile").as_string(), "shortlived");
  EXPECT_EQ(fake_.orders.at(0).at("replaces").as_string(), "id.serial");
  ca.profile = "other";
  Client wrong = client(ca);
  const auto refused = run_task(loop_, wrong.new_order({"a.test"}, ""));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().type, ProblemType::kInvalidProfile);
  EXPECT_THAT(refused.error().error.message, HasSubstr("classic, shortlived"));
  EXPECT_EQ(fake_.orders.size(), 1u);
}

TEST_F(ClientTest, NothingIsReplacedAtACaWithoutRenewalInfo) {
  fake_.has_renewal_info = false;
  Client asking = client();
  ASSERT_TRUE(run_task(loop_, asking.new_order({"a.test"}, "id.serial")));
  EXPECT_FALSE(fake_.orders.at(0).contains("replaces"));
  const auto none = run_task(loop_, asking.renewal_info("id.serial"));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().error.code, ErrorCode::kNotFound);
}

TEST_F(ClientTest, RenewalInfoSaysWhen) {
  fake_.window = {.start = UnixTime(1'800'000'000s), .end = UnixTime(1'800'086'400s)};
  Client asking = client();
  const auto info = run_task(loop_, asking.renewal_info("id.serial"));
  ASSERT_TRUE(info) << info.error().error.message;
  EXPECT_EQ(info->window, fake_.window);
  EXPECT_EQ(info->retry_after, 6h);
  EXPECT_EQ(fake_.requests.back(), "GET /renewal/id.serial");
}

TEST_F(ClientTest, RefusalsSayWhenToComeBack) {
  http::Response busy = FakeCa::problem(429, "rateLimited");
  busy.headers.add("Retry-After", "3600");
  fake_.instead["/order"].push_back(std::move(busy));
  Client asking = client();
  const auto refused = run_task(loop_, asking.new_order({"a.test"}, ""));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().type, ProblemType::kRateLimited);
  EXPECT_EQ(refused.error().retry_after, 1h);
  EXPECT_THAT(refused.error().error.message, HasSubstr("the order for a.test"));
}

TEST_F(ClientTest, WhatIsNotAcmeIsSaidSo) {
  Client asking = client();
  http::Response page{.status = 200, .headers = {}, .body = "<html>"};
  fake_.instead["/directory"].push_back(page);
  EXPECT_THAT(run_task(loop_, asking.directory()).error().error.message, HasSubstr("is not ACME"));
  fake_.instead["/account"].push_back(page);
  EXPECT_THAT(run_task(loop_, asking.ensure_account()).error().error.message, HasSubstr("Location"));
  fake_.instead["/order"].push_back(page);
  EXPECT_THAT(run_task(loop_, asking.new_order({"a.test"}, "")).error().error.message,
              HasSubstr("is not ACME"));
}

TEST_F(ClientTest, RedirectsAreNotFollowed) {
  http::Response away{.status = 302, .headers = {}, .body = {}};
  away.headers.add("Location", fake_.ca().directory.to_string());
  fake_.instead["/directory"].push_back(std::move(away));
  Client asking = client();
  const auto refused = run_task(loop_, asking.directory());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().error.message, HasSubstr("redirect"));
  EXPECT_EQ(fake_.requests.size(), 1u);
}

TEST_F(ClientTest, AnswersAreBounded) {
  fake_.instead["/directory"].push_back(
      {.status = 200, .headers = {}, .body = std::string(Client::kMaxDocument + 1, ' ')});
  Client asking = client();
  const auto refused = run_task(loop_, asking.directory());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().error.code, ErrorCode::kLimit);
}

TEST_F(ClientTest, OnlyTheCaIsBelieved) {
  Ca ca = fake_.ca();
  ca.root_pem = fake_.root_pem();
  Client deceived = client(ca);
  EXPECT_EQ(run_task(loop_, deceived.directory()).error().error.code, ErrorCode::kUnauthorized);
  ca.root_pem.clear();
  Client of_system = client(ca);
  EXPECT_EQ(run_task(loop_, of_system.directory()).error().error.code, ErrorCode::kUnauthorized);
  fake_.stop();
  Client late = client();
  const auto down = run_task(loop_, late.directory());
  ASSERT_FALSE(down);
  EXPECT_EQ(down.error().error.code, ErrorCode::kUnavailable);
}

TEST_F(ClientTest, WaitsAreBoundedByTheDeadline) {
  fake_.pending_polls = 1'000'000;
  Client asking(loop_, fake_.ca(), account_, loop_.now() + 2s);
  const auto late = run_task(loop_, order(asking, "a.test", tls::P256Key::generate()));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().error.code, ErrorCode::kTimeout);
  EXPECT_LT(fake_.requests.size(), 20u) << "a Retry-After of 0 is no invitation to spin";
}

TEST_F(ClientTest, Revokes) {
  Client asking = client();
  ASSERT_TRUE(run_task(loop_, asking.revoke({1, 2, 3})));
  EXPECT_EQ(fake_.revoked, "AQID");
}

}  // namespace
}  // namespace culvert::acme
