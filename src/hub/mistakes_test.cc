// Mistakes that hubs of this kind have made, each with what came of it: this one must not make them again.
//
// Elsewhere: bytes that were counted only when their connection had ended, so that no graph showed a download
// (EdgeTest and AgentMetrics, BytesAreCountedWhileADownloadRuns), and connections of which no log told after
// their end (AccessLogOfAnEdge).
#include "base/full_disk.h"
#include "hub/api_fixture.h"
#include "hubapi/hub_client.h"

namespace culvert::hub {
namespace {

using MistakesTest = ApiTest;

// A suffix that was compared without the dot before it granted *.a.eu to evila.eu: names of another
// registered domain.
TEST_F(MistakesTest, ASuffixThatEndsAlikeIsNotGranted) {
  auto token = invite(R"({"hostnames":["*.a.eu"]})");
  for (const char* host : {"evila.eu", "x.evila.eu", "a.eu", "a.eu.evil.org"}) {
    auto answer = hubapi::decode_lease_answer(declare(token, host).body);
    ASSERT_TRUE(answer) << host;
    EXPECT_FALSE(answer->services[0].accepted) << host;
    EXPECT_EQ(leases_.snapshot()->match(host), nullptr) << host;
  }
  EXPECT_EQ(leases_.size(), 0u);
}

// Conflicts that were found by equal strings let one tenant take a name out of another's wildcard, in either
// order of the invites, and by a later change.
TEST_F(MistakesTest, AWildcardAndANameUnderItDoNotGoToTwoTenants) {
  EXPECT_EQ(call("POST", "/v1/invites", R"({"hostnames":["*.a.eu"]})").status, 200);
  EXPECT_EQ(error_code(call("POST", "/v1/invites", R"({"hostnames":["app.a.eu"]})")), "hostname_conflict");
  EXPECT_EQ(error_code(call("POST", "/v1/invites", R"({"hostnames":["*.x.a.eu"]})")), "hostname_conflict");
  EXPECT_EQ(call("POST", "/v1/invites", R"({"hostnames":["app.b.eu"]})").status, 200);
  EXPECT_EQ(error_code(call("POST", "/v1/invites", R"({"hostnames":["*.b.eu"]})")), "hostname_conflict");
  auto third = invite(R"({"hostnames":["c.eu"]})");
  const std::string path = "/v1/invites/" + to_base64url(third.invite_id);
  EXPECT_EQ(error_code(call("PATCH", path, R"({"add_hostnames":["APP.a.eu"]})")), "hostname_conflict");
}

// A revocation that left the routes to the next event kept a tenant served.
TEST_F(MistakesTest, ARevocationTakesTheRoutesWithItsAnswer) {
  auto token = invite();
  ASSERT_EQ(declare(token).status, 200);
  ASSERT_NE(leases_.snapshot()->match("x.a.eu"), nullptr);
  (void)leases_.take_delta();
  bool had_been_told = false;
  api_.reset();
  api_.emplace(config_, state_, *ledger_, *edge_sessions_, certificate_feed_, random_, [&] {
    if (auto delta = leases_.take_delta()) had_been_told = had_been_told || !delta->removals.empty();
  });
  ASSERT_EQ(call("DELETE", "/v1/invites/" + to_base64url(token.invite_id)).status, 200);
  EXPECT_TRUE(had_been_told) << "the edges have it before the operator reads that it is done";
  EXPECT_EQ(leases_.snapshot()->match("x.a.eu"), nullptr);
}

// An agent that was silent for so long that it was not routed and then came back was "refreshed" and stayed
// invisible; one that was gone stayed in the table until a sweep.
TEST_F(MistakesTest, AnAgentIsRoutedFromItsDeclarationToItsLeaseEnd) {
  auto token = invite();
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(declare(token).status, 200);
    EXPECT_NE(leases_.snapshot()->match("x.a.eu"), nullptr) << round;
    now_ += Leases::kLifetime - 1ms;
    leases_.expire(now_, g_wall);
    EXPECT_NE(leases_.snapshot()->match("x.a.eu"), nullptr) << round;
    now_ += 1ms;
    leases_.expire(now_, g_wall);
    EXPECT_EQ(leases_.snapshot()->match("x.a.eu"), nullptr) << round;
    now_ += round * Leases::kLifetime;
  }
}

// A heartbeat that any key could send for a known tenant filled a table and had all routes rebuilt.
TEST_F(MistakesTest, WhoKnowsATenantAndNoTokenChangesNothing) {
  auto token = invite();
  (void)leases_.take_delta();
  hubapi::Declaration declared = declaration(token);
  declared.invite_secret = SecretBytes<32>::random(random_);
  for (int i = 0; i < 50; ++i) {
    const SecretKey key = SecretKey::generate(random_);
    declared.agent_id = key.public_key();
    auto request = signed_request(hubapi::encode(declared), key, g_wall);
    http::sign_request(request, key, hubapi::kAgentTag, g_wall, random_, "sig2");
    EXPECT_EQ(error_code(handle(std::move(request))), "unauthorized");
  }
  EXPECT_EQ(leases_.size(), 0u);
  EXPECT_FALSE(leases_.take_delta()) << "nothing to push";
  EXPECT_EQ(ledger_->commits(), 2u) << "those of opening it and of the invite";
}

// A check that took an error of the database for "no conflict" granted a name twice.
TEST_F(MistakesTest, AnErrorOfTheDatabaseGrantsNothing) {
  auto token = invite();
  {
    FullDisk full;
    EXPECT_EQ(call("POST", "/v1/invites", R"({"hostnames":["b.eu"]})").status, 503);
    EXPECT_EQ(error_code(call("POST", "/v1/invites", R"({"hostnames":["x.a.eu"]})")), "hostname_conflict");
    EXPECT_EQ(
        call("PATCH", "/v1/invites/" + to_base64url(token.invite_id), R"({"add_hostnames":["c.eu"]})").status,
        503);
    EXPECT_EQ(call("POST", "/v1/operator-keys", R"({"name":"ops"})").status, 503);
  }
  EXPECT_EQ(parse(call("GET", "/v1/invites")).at("invites").as_array().size(), 1u);
  auto refused = hubapi::decode_lease_answer(declare(token, "c.eu").body);
  ASSERT_TRUE(refused);
  EXPECT_FALSE(refused->services[0].accepted);
  EXPECT_EQ(call("POST", "/v1/invites", R"({"hostnames":["b.eu","c.eu"]})").status, 200) << "nobody has them";
}

// An expiry that was only looked at when an agent first came let an expired tenant go on for ever.
TEST_F(MistakesTest, AnExpiryEndsWhatIsThere) {
  auto token = invite(R"({"hostnames":["*.a.eu"],"expires_in_secs":60})");
  ASSERT_EQ(declare(token).status, 200);
  g_wall += 60s;
  leases_.expire(now_, g_wall);
  EXPECT_EQ(leases_.snapshot()->match("x.a.eu"), nullptr) << "it is not routed";
  EXPECT_EQ(error_code(declare(token)), "invite_expired") << "nor renewed";
  leases_.heard({.agent = agent_, .when = now_});
  EXPECT_EQ(leases_.size(), 0u) << "nor kept by its tunnel";
  EXPECT_EQ(call("POST", "/v1/invites", R"({"hostnames":["x.a.eu"]})").status, 200) << "its names are free";
}

// Data of a tenant that anyone could read who knew its id.
TEST_F(MistakesTest, NothingOfATenantIsReadWithoutAKey) {
  auto token = invite();
  const std::string tenant = token.tenant_key.public_key().to_string();
  ASSERT_EQ(declare(token).status, 200);
  for (const auto& [method, pattern] : api_->entries()) {
    if (pattern == "/v1/health" || pattern == "/v1/openapi.json") continue;
    std::string path = pattern;
    if (path.ends_with('*')) path.replace(path.size() - 1, 1, tenant);
    auto response = call(method, path, "", std::nullopt);
    EXPECT_GE(response.status, 400) << method << ' ' << path;
    EXPECT_LT(response.status, 500) << method << ' ' << path;
    EXPECT_EQ(response.body.find(tenant), std::string::npos) << method << ' ' << path;
    EXPECT_EQ(response.body.find("a.eu"), std::string::npos) << method << ' ' << path;
  }
  EXPECT_EQ(call("GET", "/v1/health", "", std::nullopt).body.find(tenant), std::string::npos);
}

// A hub that told agents https://0.0.0.0 made tokens that cannot work.
TEST_F(MistakesTest, AnUnusablePublicUrlIsRefused) {
  for (const char* url : {"https://0.0.0.0", "https://0.0.0.0:8443", "https://[::]:443", "http://hub.example",
                          "https://hub.example/path"}) {
    EXPECT_FALSE(hubapi::parse_hub_url(url)) << url;
  }
}

// A member that is mistyped, of any request, must not pass as if it were not there.
TEST_F(MistakesTest, UnknownMembersAreRefusedInEveryBody) {
  auto token = invite();
  const std::string path = "/v1/invites/" + to_base64url(token.invite_id);
  std::string declared = hubapi::encode(declaration(token));
  declared.insert(declared.size() - 1, R"(,"servcies":[])");
  for (const auto& response :
       {call("POST", "/v1/invites", R"({"hostnames":["b.eu"],"expires":60})"),
        call("PATCH", path, R"({"add_hostname":["b.eu"]})"), call("PATCH", path, R"({"suspend":true})"),
        call("POST", "/v1/operator-keys", R"({"name":"ops","rolle":"read-only"})"),
        handle(signed_request(declared, token.tenant_key, g_wall))}) {
    EXPECT_EQ(response.status, 400) << response.body;
    EXPECT_EQ(error_code(response), "invalid_request");
  }
  EXPECT_EQ(leases_.size(), 0u);
}

// Whatever the clocks say: an agent whose clock is wrong is told so, and comes in with the hub's time.
TEST_F(MistakesTest, AWrongClockIsToldAndHarmsNobody) {
  auto token = invite();
  const std::string body = hubapi::encode(declaration(token));
  for (const auto off : {-std::chrono::seconds(24h * 365), -61s, 61s, std::chrono::seconds(24h * 365)}) {
    auto refused = handle(signed_request(body, token.tenant_key, g_wall + off));
    EXPECT_EQ(error_code(refused), "invalid_signature");
    EXPECT_NE(refused.body.find("clock"), std::string::npos) << refused.body;
  }
  for (const auto off : {-60s, 60s}) {
    EXPECT_EQ(handle(signed_request(body, token.tenant_key, g_wall + off)).status, 200);
  }
  // The hub's own clock is set back: who is served stays served, and signs with the time that it is told.
  g_wall -= 24h * 365;
  EXPECT_NE(leases_.snapshot()->match("x.a.eu"), nullptr);
  EXPECT_EQ(declare(token).status, 200);
}

TEST_F(MistakesTest, ABodyOverTheCapReachesNoHandler) {
  auto token = invite();
  std::string body = hubapi::encode(declaration(token));
  body.insert(body.size() - 1, std::string(Api::kMaxBody, ' '));
  http::testing::MemoryExchange exchange(signed_request(body, token.tenant_key, g_wall));
  (void)run_task(loop_, http::testing::answer_of(*api_, exchange));
  EXPECT_FALSE(exchange.has_answered()) << "the server does, with 413";
  EXPECT_EQ(leases_.size(), 0u);
  EXPECT_EQ(api_->counters().invalid, 0u);
}

}  // namespace
}  // namespace culvert::hub
