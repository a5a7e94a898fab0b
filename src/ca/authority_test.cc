#include "ca/authority.h"

#include "ca/authority_fixture.h"

namespace culvert::ca {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using namespace std::chrono_literals;
namespace json = boost::json;

using testing::Answer;
using testing::AuthorityTest;
using testing::kBase;

TEST_F(AuthorityTest, TheDirectoryNamesAllThatThereIs) {
  const Answer answer = get("/directory");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("content-type"), "application/json");
  EXPECT_EQ(answer.header("link"), "");
  const auto directory = acme::parse_directory(answer.body);
  ASSERT_TRUE(directory) << directory.error().message;
  EXPECT_EQ(directory->new_nonce, kBase + std::string("/acme/new-nonce"));
  EXPECT_EQ(directory->renewal_info, kBase + std::string("/acme/renewal-info"));
  EXPECT_FALSE(directory->external_account_required);
  EXPECT_THAT(answer.body, HasSubstr("/acme/key-change"));
  EXPECT_EQ(get("/root.pem").body, root->certificate_pem());
}

TEST_F(AuthorityTest, NoncesComeWithEveryAnswerToAPost) {
  const Answer head = get("/acme/new-nonce", "HEAD"), got = get("/acme/new-nonce");
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(got.status, 204);
  EXPECT_NE(head.header("replay-nonce"), got.header("replay-nonce"));
  EXPECT_EQ(head.header("cache-control"), "no-store");
  EXPECT_EQ(head.header("link"), "<https://ca.test:14000/directory>;rel=\"index\"");
  const Client client = registered();
  EXPECT_THAT(post(client, client.account, "").header("replay-nonce"), Not(IsEmpty()));
  EXPECT_THAT(post_body("/acme/new-order", "nonsense").header("replay-nonce"), Not(IsEmpty()));
}

TEST_F(AuthorityTest, ACertificateIsIssued) {
  const Client client = registered(R"({"contact":["mailto:ops@example.com"],"termsOfServiceAgreed":true})");
  const std::vector<std::string> names = {"*.a.test", "a.test"};
  const std::string order = ordered(client, {"A.test", "*.a.test", "a.test"});
  Answer shown = post(client, order, "");
  EXPECT_EQ(shown.text("status"), "pending");
  EXPECT_EQ(shown.text("expires"), "2027-01-16T08:00:00Z");
  EXPECT_EQ(shown.json().at("identifiers").as_array().size(), 2u);
  const auto authorizations = authorizations_of(client, order);
  ASSERT_EQ(authorizations.size(), 2u);
  const auto wildcard = acme::parse_authorization(post(client, authorizations[0], "").body).value();
  EXPECT_TRUE(wildcard.is_wildcard);
  EXPECT_EQ(wildcard.name, "a.test");
  EXPECT_THAT(wildcard.type_names, ElementsAre("dns-01"));
  const auto plain = acme::parse_authorization(post(client, authorizations[1], "").body).value();
  EXPECT_EQ(plain.offers.size(), 3u);

  // A challenge is looked at once, with the account's key in what is looked for.
  const std::string challenge = challenge_of(client, authorizations[0], "dns-01");
  EXPECT_EQ(post(client, challenge, "").text("status"), "pending");
  const Answer begun = post(client, challenge, "{}");
  EXPECT_EQ(begun.text("status"), "processing");
  EXPECT_EQ(begun.header("retry-after"), "1");
  EXPECT_EQ(begun.headers.count("link"), 2u);
  EXPECT_EQ(post(client, challenge, "{}").text("status"), "processing");
  const auto validation = authority->take_validation();
  ASSERT_TRUE(validation);
  EXPECT_FALSE(authority->take_validation());
  EXPECT_EQ(validation->challenge.name, "a.test");
  EXPECT_EQ(validation->challenge.key_authorization,
            begun.text("token") + "." + acme::jwk_thumbprint(client.key));
  authority->finish(*validation, std::nullopt, now);
  const Answer proven = post(client, authorizations[0], "");
  EXPECT_EQ(proven.text("status"), "valid");
  EXPECT_EQ(proven.json().at("challenges").at(0).at("validated").as_string(), "2027-01-15T08:00:00Z");

  const tls::P256Key key = tls::P256Key::generate();
  EXPECT_EQ(post(client, order + "/finalize", csr_payload(key, names)).problem(), "orderNotReady");
  ASSERT_EQ(post(client, challenge_of(client, authorizations[1], "http-01"), "{}").status, 200);
  authority->finish(*authority->take_validation(), std::nullopt, now);
  EXPECT_EQ(post(client, order, "").text("status"), "ready");
  const Answer final = post(client, order + "/finalize", csr_payload(key, names));
  ASSERT_EQ(final.status, 200) << final.body;
  EXPECT_EQ(final.text("status"), "valid");
  EXPECT_EQ(final.header("location"), order);
  EXPECT_EQ(post(client, order + "/finalize", csr_payload(key, names)).problem(), "orderNotReady");

  const Answer pem = post(client, final.text("certificate"), "");
  EXPECT_EQ(pem.header("content-type"), "application/pem-certificate-chain");
  const auto chain = tls::CertificateChain::from_pem(pem.body).value();
  EXPECT_TRUE(chain.check(key, names, now)) << chain.check(key, names, now).error().message;
  EXPECT_EQ(chain.root_name(), "Test Root");
  EXPECT_EQ(chain.not_before(), now - 1h);
  EXPECT_EQ(chain.not_after(), now - 1h + std::chrono::days(30));
  EXPECT_EQ(chain.serial().size(), 16u);
  EXPECT_EQ(observer.issued_count, 1);
  EXPECT_THAT(post(client, client.account + "/orders", "").body, HasSubstr(order));
}

TEST_F(AuthorityTest, AFailedChallengeEndsItsOrder) {
  const Client client = registered();
  const std::string order = ordered(client, {"a.test"});
  prove(client, order,
        acme::Problem{.type = acme::ProblemType::kUnauthorized, .detail = "a \x1b value", .parts = {}});
  const auto authorization =
      acme::parse_authorization(post(client, authorizations_of(client, order)[0], "").body).value();
  EXPECT_EQ(authorization.status, acme::AuthorizationStatus::kInvalid);
  ASSERT_EQ(authorization.offers.size(), 1u) << "the others were not tried";
  EXPECT_EQ(authorization.offers[0].error->type, acme::ProblemType::kUnauthorized);
  EXPECT_EQ(authorization.offers[0].error->detail, "a \\x1b value");
  EXPECT_EQ(post(client, order, "").text("status"), "invalid");
  EXPECT_EQ(observer.invalid_count, 1);
}

TEST_F(AuthorityTest, WhatOrdersMayNotAskFor) {
  make({.domains = {"lab.test", "other.test"}});
  const Client client = registered();
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({})", "malformed"},
      {R"({"identifiers":[]})", "malformed"},
      {R"({"identifiers":["a.lab.test"]})", "malformed"},
      {R"({"identifiers":[{"type":"ip","value":"192.0.2.1"}]})", "unsupportedIdentifier"},
      {order_payload({"192.0.2.1"}), "rejectedIdentifier"},
      {order_payload({"*.*.lab.test"}), "rejectedIdentifier"},
      {order_payload({"a b.lab.test"}), "rejectedIdentifier"},
      {order_payload({""}), "rejectedIdentifier"},
      {order_payload({"lab.test.example"}), "rejectedIdentifier"},
      {order_payload({"xlab.test"}), "rejectedIdentifier"},
      {order_payload({"a.lab.test"}, {{"notAfter", "2030-01-01T00:00:00Z"}}), "malformed"},
      {order_payload({"a.lab.test"}, {{"profile", "shortlived"}}), "invalidProfile"},
      {order_payload({"a.lab.test"}, {{"replaces", "x.y"}}), "malformed"},
      {order_payload({"a.lab.test"}, {{"replaces", 1}}), "malformed"},
  };
  for (const auto& [payload, problem] : cases) {
    EXPECT_EQ(post(client, "/acme/new-order", payload).problem(), problem) << payload;
  }
  ordered(client, {"lab.test", "*.lab.test", "a.b.other.test"});
  const Answer several =
      post(client, "/acme/new-order", order_payload({"a.example", "lab.test", "b.example"}));
  const acme::Problem problem = acme::parse_problem(several.status, several.body);
  ASSERT_EQ(problem.parts.size(), 2u);
  EXPECT_EQ(problem.parts[1].identifier, "b.example");
  std::vector<std::string> many;
  for (int i = 0; i <= 100; ++i) many.push_back(fmt::format("n{}.lab.test", i));
  EXPECT_EQ(post(client, "/acme/new-order", order_payload(many)).problem(), "malformed");
}

TEST_F(AuthorityTest, TheRequestForACertificateHasToBeThatOfTheOrder) {
  const Client client = registered();
  const std::string order = ordered(client, {"a.test", "b.test"});
  prove(client, order);
  const tls::P256Key key = tls::P256Key::generate();
  Bytes broken = tls::certificate_request(key, {"a.test", "b.test"}).value();
  broken.back() ^= 1;
  for (const std::string& payload :
       {csr_payload(key, {"a.test"}), csr_payload(key, {"a.test", "b.test", "c.test"}),
        csr_payload(client.key, {"a.test", "b.test"}), std::string(R"({"csr":"*"})"),
        std::string(R"({"csr":""})"), fmt::format(R"({{"csr":"{}"}})", to_base64url(broken))}) {
    EXPECT_EQ(post(client, order + "/finalize", payload).problem(), "badCSR") << payload;
  }
  EXPECT_EQ(post(client, order + "/finalize", "{}").problem(), "malformed");
  EXPECT_EQ(post(client, order, "").text("status"), "ready") << "it may be corrected";
  EXPECT_EQ(post(client, order + "/finalize", csr_payload(key, {"b.test", "a.test"})).status, 200);
}

TEST_F(AuthorityTest, NobodyGetsAtWhatIsAnothers) {
  const Client owner = registered(), other = registered();
  const std::string order = ordered(owner, {"a.test"});
  const std::string authorization = authorizations_of(owner, order)[0];
  const std::string challenge = challenge_of(owner, authorization, "http-01");
  const std::string certificate = issued(owner, {"b.test"});
  for (const std::string& url :
       {order, authorization, challenge, certificate, owner.account, owner.account + "/orders"}) {
    const Answer answer = post(other, url, "");
    EXPECT_EQ(answer.status, 403) << url;
    EXPECT_EQ(answer.problem(), "unauthorized") << url;
  }
  EXPECT_EQ(post(other, challenge, "{}").problem(), "unauthorized");
  EXPECT_EQ(post(other, order + "/finalize", csr_payload(other.key, {"a.test"})).problem(), "unauthorized");
  EXPECT_EQ(post(other, owner.account, R"({"status":"deactivated"})").problem(), "unauthorized");
  EXPECT_FALSE(authority->take_validation());
}

TEST_F(AuthorityTest, OrdersExpire) {
  const Client client = registered();
  const std::string order = ordered(client, {"a.test"}), certificate = issued(client, {"b.test"});
  ASSERT_EQ(post(client, challenge_of(client, authorizations_of(client, order)[0], "http-01"), "{}").status,
            200);
  const auto validation = authority->take_validation();
  now += 24h;
  EXPECT_EQ(post(client, order, "").status, 404);
  authority->finish(*validation, std::nullopt, now);
  EXPECT_EQ(post(client, certificate, "").status, 200) << "a certificate outlives its order";
}

TEST_F(AuthorityTest, AuthorizationsAreDeactivated) {
  const Client client = registered();
  const std::string order = ordered(client, {"a.test"});
  const std::string authorization = authorizations_of(client, order)[0];
  EXPECT_EQ(post(client, authorization, R"({"status":"valid"})").problem(), "malformed");
  EXPECT_EQ(post(client, authorization, R"({"status":"deactivated"})").text("status"), "deactivated");
  EXPECT_EQ(post(client, authorization, R"({"status":"deactivated"})").problem(), "malformed");
  EXPECT_EQ(post(client, order, "").text("status"), "invalid");
  EXPECT_EQ(post(client, authorization + "1", "").status, 404);
}

TEST_F(AuthorityTest, CertificatesAreRevoked) {
  const Client owner = registered(), other = registered();
  const tls::P256Key key = tls::P256Key::generate();
  const auto payload = [](const tls::CertificateChain& chain, const std::string& more = "") {
    return fmt::format(R"({{"certificate":"{}"{}}})", to_base64url(chain.leaf_der()), more);
  };
  const auto first = downloaded(owner, issued(owner, {"a.test", "b.test"}, key));
  EXPECT_EQ(post(owner, "/acme/revoke-cert", payload(first, R"(,"reason":2)")).problem(),
            "badRevocationReason");
  EXPECT_EQ(post(other, "/acme/revoke-cert", payload(first)).problem(), "unauthorized");
  EXPECT_EQ(post(owner, "/acme/revoke-cert", R"({"certificate":"AAAA"})").status, 404);
  EXPECT_EQ(post(owner, "/acme/revoke-cert", payload(first, R"(,"reason":1)")).status, 200);
  EXPECT_EQ(post(owner, "/acme/revoke-cert", payload(first)).problem(), "alreadyRevoked");

  // By its own key, and by an account that has proven its names.
  const auto second = downloaded(owner, issued(owner, {"a.test"}, key));
  EXPECT_EQ(post(Client{}, "/acme/revoke-cert", payload(second)).problem(), "unauthorized");
  EXPECT_EQ(post(Client{.key = key}, "/acme/revoke-cert", payload(second)).status, 200);
  const auto third = downloaded(owner, issued(owner, {"a.test", "c.test"}));
  prove(other, ordered(other, {"c.test"}));
  EXPECT_EQ(post(other, "/acme/revoke-cert", payload(third)).problem(), "unauthorized");
  prove(other, ordered(other, {"a.test"}));
  EXPECT_EQ(post(other, "/acme/revoke-cert", payload(third)).status, 200);
  EXPECT_EQ(observer.revoked_count, 3);
}

TEST_F(AuthorityTest, SaysWhenToRenewAndWhatIsReplaced) {
  const Client owner = registered(), other = registered();
  const auto first = downloaded(owner, issued(owner, {"a.test"}));
  const std::string id = acme::renewal_id(first).value();
  const Answer answer = get("/acme/renewal-info/" + id);
  EXPECT_EQ(answer.header("retry-after"), "21600");
  auto window = acme::parse_renewal_info(answer.body).value();
  EXPECT_EQ(window.start, first.not_before() + std::chrono::days(20));
  EXPECT_EQ(window.end, window.start + 36h);
  EXPECT_EQ(get("/acme/renewal-info/x.y").status, 404);

  const auto replacing = [&](const Client& by, const std::string& name) {
    return post(by, "/acme/new-order", order_payload({name}, {{"replaces", id}}));
  };
  EXPECT_EQ(replacing(other, "a.test").problem(), "unauthorized");
  EXPECT_EQ(replacing(owner, "b.test").problem(), "malformed");
  const std::string order = ordered(owner, {"a.test"}, {{"replaces", id}});
  EXPECT_EQ(post(owner, order, "").text("replaces"), id);
  EXPECT_EQ(replacing(owner, "a.test").problem(), "alreadyReplaced");
  EXPECT_EQ(replacing(owner, "a.test").status, 409);
  prove(owner, order, acme::Problem{.type = acme::ProblemType::kDns, .detail = {}, .parts = {}});
  issued(owner, {"a.test"}, tls::P256Key::generate(), {{"replaces", id}});
  make({});
  EXPECT_EQ(replacing(owner, "a.test").problem(), "alreadyReplaced") << "also after a restart";

  ASSERT_EQ(post(owner, "/acme/revoke-cert",
                 fmt::format(R"({{"certificate":"{}"}})", to_base64url(first.leaf_der())))
                .status,
            200);
  window = acme::parse_renewal_info(get("/acme/renewal-info/" + id).body).value();
  EXPECT_LE(window.end, now);
}

TEST_F(AuthorityTest, ARestartForgetsNothingThatWasIssued) {
  const Client client = registered(R"({"contact":["mailto:ops@example.com"]})");
  const std::string order = ordered(client, {"a.test"}), certificate = issued(client, {"b.test"});
  make({});
  EXPECT_THAT(post(client, client.account, "").body, HasSubstr("ops@example.com"));
  EXPECT_EQ(post(client, certificate, "").status, 200);
  EXPECT_EQ(post(client, order, "").status, 404);
  now += std::chrono::days(30);
  make({});
  EXPECT_EQ(post(client, certificate, "").status, 404);
  EXPECT_THAT(store.kept_certificates, IsEmpty());
}

TEST_F(AuthorityTest, WhatCannotBeStoredIsRefused) {
  const Client client = registered();
  const std::string order = ordered(client, {"a.test"});
  prove(client, order);
  store.broken = true;
  Client unknown;
  const Answer refused = post(unknown, "/acme/new-account", "{}");
  EXPECT_EQ(refused.status, 500);
  EXPECT_EQ(refused.problem(), "serverInternal");
  EXPECT_THAT(refused.body, Not(HasSubstr("disk"))) << "that is for the operator";
  const tls::P256Key key = tls::P256Key::generate();
  EXPECT_EQ(post(client, order + "/finalize", csr_payload(key, {"a.test"})).problem(), "serverInternal");
  EXPECT_EQ(observer.faults, 2);
  EXPECT_EQ(observer.issued_count, 0);
  store.broken = false;
  EXPECT_EQ(post(client, order + "/finalize", csr_payload(key, {"a.test"})).status, 200);
}

TEST_F(AuthorityTest, AnAccountHasRoomForSoManyOrders) {
  const Client client = registered(), other = registered();
  for (size_t i = 0; i < Orders::kMaxUnfinishedOfAccount; ++i) ordered(client, {"a.test"});
  const Answer full = post(client, "/acme/new-order", order_payload({"a.test"}));
  EXPECT_EQ(full.status, 429);
  EXPECT_EQ(full.problem(), "rateLimited");
  EXPECT_EQ(full.header("retry-after"), "60");
  ordered(other, {"a.test"});
}

TEST_F(AuthorityTest, ShortLivesAreBackdatedByLittle) {
  make({.lifetime = 10min});
  const Client client = registered();
  const auto chain = downloaded(client, issued(client, {"a.test"}));
  EXPECT_EQ(chain.not_before(), now - 1min);
  EXPECT_EQ(chain.not_after(), now + 9min);
  EXPECT_EQ(get("/acme/renewal-info/" + acme::renewal_id(chain).value()).header("retry-after"), "60");
}

}  // namespace
}  // namespace culvert::ca
