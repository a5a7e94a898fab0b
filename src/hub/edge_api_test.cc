#include <algorithm>

#include "hub/api_fixture.h"
#include "hubapi/edge_api.h"
#include "hubapi/edge_certificates.h"
#include "hubapi/route_stream.h"

namespace culvert::hub {
namespace {

class EdgeApiTest : public ApiTest {
 protected:
  hubapi::EdgeToken create(std::string_view body = R"({"name":"paris","region":"eu"})") {
    auto response = call("POST", "/v1/edges", std::string(body));
    EXPECT_EQ(response.status, 200) << response.body;
    auto token = hubapi::parse_edge_token(std::string_view(parse(response).at("token").as_string()));
    EXPECT_TRUE(token);
    return *token;
  }
  http::Response signed_call(std::string method, std::string target, std::string body, const SecretKey& key,
                             std::string_view tag = hubapi::kEdgeTag) {
    http::Request request{
        .method = std::move(method), .target = std::move(target), .headers = {}, .body = std::move(body)};
    request.headers.add(std::string(http::kInstanceField), api_->instance());
    http::sign_request(request, key, tag, g_wall, random_);
    return handle(std::move(request));
  }
  http::Response announce(const SecretKey& key,
                          hubapi::EdgeAnnouncement announcement = {.addresses = {"198.51.100.7:443"},
                                                                   .internal_ca_pem = "EDGE PEM",
                                                                   .version = "1.0"}) {
    return signed_call("PUT", "/v1/edges/self", hubapi::encode(announcement), key);
  }
  http::Response report(const SecretKey& key, const hubapi::TunnelReport& report) {
    return signed_call("POST", "/v1/edges/self/tunnels", hubapi::encode(report), key);
  }
  json::object show(std::string_view name = "paris") {
    return parse(call("GET", fmt::format("/v1/edges/{}", name)));
  }
};

TEST_F(EdgeApiTest, AnEdgeIsCreatedListedChangedAndRevoked) {
  const hubapi::EdgeToken token = create();
  EXPECT_EQ(token.hub_urls, config_.public_urls);
  EXPECT_EQ(token.hub_key, hub_key_);
  const std::string id = token.edge_key.public_key().to_string();
  EXPECT_EQ(show().at("edge_id").as_string(), id);
  EXPECT_EQ(show(id).at("state").as_string(), "never seen");
  EXPECT_EQ(call("PATCH", "/v1/edges/paris", R"({"name":"lyon","region":""})").status, 200);
  const uint64_t revision = ledger_->revision();
  EXPECT_EQ(error_code(call("PATCH", "/v1/edges/lyon", "{}")), "invalid_request");
  EXPECT_EQ(ledger_->revision(), revision) << "nor is it in the audit log";
  EXPECT_EQ(show("lyon").at("region").as_string(), "");
  EXPECT_EQ(call("GET", "/v1/edges/paris").status, 404);
  auto list = parse(call("GET", "/v1/edges"));
  ASSERT_EQ(list.at("edges").as_array().size(), 1U);
  EXPECT_EQ(call("DELETE", "/v1/edges/lyon").status, 200);
  EXPECT_EQ(call("DELETE", "/v1/edges/lyon").status, 404);
  EXPECT_TRUE(parse(call("GET", "/v1/edges")).at("edges").as_array().empty());
  std::vector<std::string> actions;
  for (const auto& entry : parse(call("GET", "/v1/audit")).at("entries").as_array())
    actions.emplace_back(entry.as_object().at("action").as_string());
  EXPECT_EQ(actions, (std::vector<std::string>{"edge.revoke", "edge.change", "edge.create"}));
}

TEST_F(EdgeApiTest, OnlyOperatorsMayAdministerEdges) {
  create();
  for (const auto& [method, target] :
       std::vector<std::pair<std::string, std::string>>{{"GET", "/v1/edges"},
                                                        {"POST", "/v1/edges"},
                                                        {"GET", "/v1/edges/paris"},
                                                        {"PATCH", "/v1/edges/paris"},
                                                        {"DELETE", "/v1/edges/paris"}}) {
    EXPECT_EQ(call(method, target, "{}", std::nullopt).status, 401) << method << target;
    EXPECT_EQ(call(method, target, "{}", "wrong").status, 401) << method << target;
  }
}

TEST_F(EdgeApiTest, BadRequestsChangeNothing) {
  create();
  for (const char* body :
       {"", "[]", R"({"name":""})", R"({"name":"a b"})", R"({"name":"self"})", R"({"name":"-a"})",
        R"({"region":"a b"})", R"({"color":"red"})", R"({"name":1})"}) {
    EXPECT_EQ(call("POST", "/v1/edges", body).status, 400) << body;
  }
  EXPECT_EQ(error_code(call("POST", "/v1/edges", R"({"name":"paris"})")), "name_conflict");
  create(R"({"name":"lyon"})");
  EXPECT_EQ(error_code(call("PATCH", "/v1/edges/lyon", R"({"name":"paris"})")), "name_conflict");
  EXPECT_EQ(parse(call("GET", "/v1/edges")).at("edges").as_array().size(), 2U);
}

TEST_F(EdgeApiTest, WithoutANameItGetsOne) {
  create("{}");
  EXPECT_FALSE(
      parse(call("GET", "/v1/edges")).at("edges").as_array()[0].as_object().at("name").as_string().empty());
}

TEST_F(EdgeApiTest, TwoProcessesWithOneTokenDoNotTakeTurns) {
  const hubapi::EdgeToken token = create();
  const auto announce_as = [&](std::string run, std::string address, bool is_leaving = false) {
    http::Request request{.method = "PUT",
                          .target = "/v1/edges/self",
                          .headers = {},
                          .body = hubapi::encode(hubapi::EdgeAnnouncement{.addresses = {std::move(address)},
                                                                          .internal_ca_pem = "EDGE PEM",
                                                                          .version = "1.0",
                                                                          .is_leaving = is_leaving})};
    request.headers.add(std::string(http::kInstanceField), api_->instance());
    request.headers.add(std::string(hubapi::kEdgeRunField), std::move(run));
    http::sign_request(request, token.edge_key, hubapi::kEdgeTag, g_wall, random_);
    return handle(std::move(request));
  };
  EXPECT_EQ(announce_as("a", "198.51.100.7:443").status, 200);
  EXPECT_EQ(announce_as("b", "198.51.100.8:443").status, 200);
  const http::Response refused = announce_as("a", "198.51.100.7:443");
  EXPECT_EQ(refused.status, 403);
  EXPECT_EQ(error_code(refused), "edge_in_use");
  EXPECT_EQ(announce_as("b", "198.51.100.8:443").status, 200);
  EXPECT_EQ(show().at("addresses").as_array().front().as_string(), "198.51.100.8:443");
  EXPECT_TRUE(show().contains("token_also_used_at"));
  EXPECT_EQ(announce_as("b", "198.51.100.8:443", true).status, 200);
  EXPECT_EQ(announce_as("a", "198.51.100.7:443").status, 200) << "the other has left";
}

TEST_F(EdgeApiTest, WhoGuessesBehindAnAddressKeepsNoEdgeThereFromTheHub) {
  const hubapi::EdgeToken token = create();
  const auto tenant = invite();
  for (uint32_t i = 0; i < 2 * RequestLimits::kSourceBurst; ++i) call("GET", "/v1/status", "", "wrong");
  EXPECT_EQ(call("GET", "/v1/status", "", "wrong").status, 429);
  EXPECT_EQ(call("GET", "/v1/status").status, 200);
  EXPECT_EQ(declare(tenant).status, 200) << "an agent without a lease";
  for (uint32_t i = 0; i < 2 * RequestLimits::kSourceBurst; ++i)
    call("POST", "/v1/leases", "{}", std::nullopt);
  EXPECT_EQ(call("POST", "/v1/leases", "{}", std::nullopt).status, 429);
  EXPECT_EQ(announce(token.edge_key).status, 200);
}

TEST_F(EdgeApiTest, ANameThatIsAKeyIsRefused) {
  const std::string other = create(R"({"name":"lyon"})").edge_key.public_key().to_string();
  EXPECT_EQ(call("POST", "/v1/edges", json::serialize(json::object{{"name", other}})).status, 400);
  EXPECT_EQ(call("PATCH", "/v1/edges/lyon", json::serialize(json::object{{"name", other}})).status, 400);
}

TEST_F(EdgeApiTest, AnAgentThatIsToldOfNoEdgeAsksAgainSoon) {
  const hubapi::EdgeToken token = create();
  config_.edges.clear();
  const auto tenant = invite();
  const auto answer = hubapi::decode_lease_answer(declare(tenant).body).value();
  EXPECT_TRUE(answer.edges.empty());
  EXPECT_EQ(answer.renew_after, 3s);
  announce(token.edge_key);
  EXPECT_EQ(hubapi::decode_lease_answer(declare(tenant).body).value().renew_after, Leases::kRenewAfter);
  EXPECT_EQ(Leases::look_again(1500), 5s);
  EXPECT_EQ(Leases::look_again(1'000'000), Leases::kRenewAfter);
}

TEST_F(EdgeApiTest, AnAnnouncedEdgeIsDialledUntilItLeavesOrIsRevoked) {
  const hubapi::EdgeToken token = create();
  const auto tenant = invite();
  const auto edges = [&] {
    auto answer = hubapi::decode_lease_answer(declare(tenant).body);
    EXPECT_TRUE(answer);
    return *answer;
  };
  EXPECT_EQ(edges().edges.size(), 1U);
  const http::Response welcome = announce(token.edge_key);
  ASSERT_EQ(welcome.status, 200);
  EXPECT_EQ(hubapi::decode_edge_welcome(welcome.body), (hubapi::EdgeWelcome{"paris", "eu"}));
  const auto answer = edges();
  ASSERT_EQ(answer.edges.size(), 2U);
  EXPECT_EQ(answer.edges[0].id, token.edge_key.public_key());
  EXPECT_EQ(answer.edges[0].addresses, std::vector<std::string>{"198.51.100.7:443"});
  EXPECT_EQ(answer.internal_ca_pem, "PEMEDGE PEM");
  ASSERT_EQ(
      announce(
          token.edge_key,
          {.addresses = {"198.51.100.7:443"}, .internal_ca_pem = "", .version = "1.0", .is_leaving = true})
          .status,
      200);
  EXPECT_EQ(edges().edges.size(), 1U);
  EXPECT_EQ(show().at("state").as_string(), "left");
  ASSERT_EQ(announce(token.edge_key).status, 200);
  EXPECT_EQ(edges().edges.size(), 2U);
  ASSERT_EQ(call("DELETE", "/v1/edges/paris").status, 200);
  EXPECT_EQ(edges().edges.size(), 1U);
}

// Agents must not drop their tunnels because the hub was started again and edges have not come back yet.
TEST_F(EdgeApiTest, AnnouncedEdgesSurviveARestart) {
  const hubapi::EdgeToken token = create();
  ASSERT_EQ(announce(token.edge_key).status, 200);
  open({});
  auto answer = hubapi::decode_lease_answer(declare(invite()).body);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->edges.size(), 2U);
  EXPECT_EQ(show().at("state").as_string(), "away");
}

TEST_F(EdgeApiTest, OnlyTheKeyOfATokenSpeaksForAnEdge) {
  const hubapi::EdgeToken token = create();
  const SecretKey stranger = SecretKey::generate(random_);
  const std::string body = hubapi::encode(hubapi::TunnelReport{.session = 1, .number = 0});
  EXPECT_EQ(error_code(announce(stranger)), "unknown_edge");
  EXPECT_EQ(error_code(report(stranger, {.session = 1, .number = 0})), "unknown_edge");
  EXPECT_EQ(error_code(signed_call("GET", "/v1/edges/self/routes", "", stranger)), "unknown_edge");
  EXPECT_EQ(
      error_code(signed_call("POST", "/v1/edges/self/tunnels", body, token.edge_key, hubapi::kLeaseTag)),
      "invalid_signature");
  EXPECT_EQ(error_code(call("PUT", "/v1/edges/self", "{}")), "sign_again");
  EXPECT_EQ(call("GET", "/v1/edges/self/routes").status, 401);
  ASSERT_EQ(call("DELETE", "/v1/edges/paris").status, 200);
  EXPECT_EQ(error_code(announce(token.edge_key)), "unknown_edge");
}

// Verifying a signature costs more than sending one.
TEST_F(EdgeApiTest, StrangersAreSlowedDown) {
  const SecretKey stranger = SecretKey::generate(random_);
  for (uint32_t i = 0; i < RequestLimits::kSourceBurst; ++i)
    EXPECT_EQ(error_code(report(stranger, {.session = 1, .number = 0})), "unknown_edge");
  EXPECT_EQ(error_code(report(stranger, {.session = 1, .number = 0})), "rate_limited");
}

TEST_F(EdgeApiTest, EachEdgeHasARateOfItsOwn) {
  static_assert(RequestLimits::kEdgeBurst * hubapi::kMaxReportedAgents >= 100'000);
  const hubapi::EdgeToken busy = create(), calm = create(R"({"name":"lyon"})");
  const auto ask = [&](const hubapi::EdgeToken& token) {
    return signed_call("POST", "/v1/edges/self/tunnels", "{", token.edge_key);
  };
  for (uint32_t i = 0; i < RequestLimits::kEdgeBurst; ++i) {
    client_ = SocketAddr::v4({10, 0, uint8_t(i >> 8), uint8_t(i)}, 1);
    ASSERT_EQ(ask(busy).status, 400) << "the body is nonsense, and the rate is not used up";
  }
  const auto refused = ask(busy);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(error_code(refused), "rate_limited");
  EXPECT_NE(refused.headers.find("Retry-After"), nullptr);
  EXPECT_EQ(api_->counters().edge_limited, 1u);
  // What it is refused counts for itself, also behind one address.
  for (uint32_t i = 0; i < 2 * RequestLimits::kSourceBurst; ++i) ASSERT_EQ(ask(busy).status, 429);
  EXPECT_EQ(ask(calm).status, 400);
  EXPECT_EQ(declare(invite()).status, 200);
  now_ += RequestLimits::kEdgeInterval;
  client_ = SocketAddr::v4({10, 1, 0, 0}, 1);
  EXPECT_EQ(ask(busy).status, 400);
  EXPECT_EQ(ask(busy).status, 429);
}

TEST_F(EdgeApiTest, ARequestIsTakenOnce) {
  const hubapi::EdgeToken token = create();
  http::Request request{.method = "POST",
                        .target = "/v1/edges/self/tunnels",
                        .headers = {},
                        .body = hubapi::encode(hubapi::TunnelReport{.session = 1, .number = 0})};
  request.headers.add(std::string(http::kInstanceField), api_->instance());
  http::sign_request(request, token.edge_key, hubapi::kEdgeTag, g_wall, random_);
  EXPECT_EQ(handle(request).status, 200);
  EXPECT_EQ(error_code(handle(request)), "replayed");
  open({});
  EXPECT_EQ(error_code(handle(request)), "sign_again") << "another start of the hub has not seen it";
}

TEST_F(EdgeApiTest, BadAnnouncementsAndReportsAreRefused) {
  const hubapi::EdgeToken token = create();
  const auto announced = [&](std::string body) {
    return signed_call("PUT", "/v1/edges/self", std::move(body), token.edge_key).status;
  };
  for (const char* body :
       {"", "{}", R"({"addresses":[],"internal_ca":"","version":"","leaving":false})",
        R"({"addresses":["nonsense"],"internal_ca":"","version":"","leaving":false})",
        R"({"addresses":["a:1"],"internal_ca":"","version":"","leaving":false,"more":1})",
        "{\"addresses\":[\"a.b:1\"],\"internal_ca\":\"\",\"version\":\"\\u001b\",\"leaving\":false}"}) {
    EXPECT_EQ(announced(body), 400) << body;
  }
  std::string many = R"({"addresses":["a.b:1")";
  for (size_t i = 0; i < hubapi::kMaxEdgeAddresses; ++i) many += R"(,"a.b:1")";
  EXPECT_EQ(announced(many + R"(],"internal_ca":"","version":"","leaving":false})"), 400);
  for (const char* body :
       {"", "{}", R"({"session":-1,"number":0,"heard":[],"silent":[],"closed":[],"left":[]})",
        R"({"session":1,"number":0,"heard":["x"],"silent":[],"closed":[],"left":[]})",
        R"({"session":1,"number":0,"heard":[],"silent":[],"closed":[],"left":[],"x":1})"}) {
    EXPECT_EQ(signed_call("POST", "/v1/edges/self/tunnels", body, token.edge_key).status, 400) << body;
  }
  EXPECT_EQ(show().at("state").as_string(), "never seen");
}

TEST_F(EdgeApiTest, WhatAnEdgeHearsKeepsItsLease) {
  const hubapi::EdgeToken token = create();
  ASSERT_EQ(declare(invite()).status, 200);
  ASSERT_EQ(report(token.edge_key, {.session = 5, .number = 0, .heard = {agent_}}).status, 200);
  EXPECT_EQ(show().at("agents").as_int64(), 1);
  const TimePoint late = now_ + 2 * Leases::kLifetime;
  leases_.expire(late, g_wall);
  EXPECT_EQ(leases_.size(), 1U);
  EXPECT_TRUE(leases_.lives(agent_, late));
  ASSERT_EQ(report(token.edge_key, {.session = 5, .number = 1, .silent = {agent_}}).status, 200);
  EXPECT_EQ(show().at("agents").as_int64(), 0);
  leases_.expire(late + 2 * Leases::kLifetime, g_wall);
  EXPECT_EQ(leases_.size(), 0U);
}

TEST_F(EdgeApiTest, AGoodbyeThatAnEdgeHeardEndsTheLeaseAtOnce) {
  const hubapi::EdgeToken token = create();
  ASSERT_EQ(declare(invite()).status, 200);
  ASSERT_EQ(report(token.edge_key, {.session = 5, .number = 0, .heard = {agent_}}).status, 200);
  ASSERT_EQ(report(token.edge_key, {.session = 5, .number = 1, .left = {agent_}}).status, 200);
  EXPECT_EQ(leases_.size(), 0U);
}

TEST_F(EdgeApiTest, ReportsFollowEachOther) {
  const hubapi::EdgeToken token = create();
  const auto code = [&](uint64_t session, uint64_t number) {
    auto response = report(token.edge_key, {.session = session, .number = number});
    return response.status == 200 ? std::string("taken") : error_code(response);
  };
  EXPECT_EQ(code(1, 1), "unknown_session");  // this hub has no beginning
  EXPECT_EQ(code(1, 0), "taken");
  EXPECT_EQ(code(1, 1), "taken");
  EXPECT_EQ(code(1, 1), "unknown_session");
  EXPECT_EQ(code(1, 3), "unknown_session");
  EXPECT_EQ(code(2, 2), "unknown_session");
  EXPECT_EQ(code(2, 0), "taken");
  EXPECT_EQ(code(1, 2), "unknown_session");
}

// Two edges hear an agent, and one of them is revoked.
TEST_F(EdgeApiTest, AnotherEdgeKeepsWhatOneLost) {
  const hubapi::EdgeToken paris = create(), lyon = create(R"({"name":"lyon"})");
  ASSERT_EQ(declare(invite()).status, 200);
  ASSERT_EQ(report(paris.edge_key, {.session = 1, .number = 0, .heard = {agent_}}).status, 200);
  ASSERT_EQ(report(lyon.edge_key, {.session = 1, .number = 0, .heard = {agent_}}).status, 200);
  ASSERT_EQ(report(paris.edge_key, {.session = 1, .number = 1, .closed = {agent_}}).status, 200);
  EXPECT_TRUE(leases_.lives(agent_, now_ + 1h));
  edge_sessions_->revoke(lyon.edge_key.public_key());
  EXPECT_FALSE(leases_.lives(agent_, now_ + 1h));
}

TEST_F(EdgeApiTest, ADamagedQueryOfTheStreamIsRefused) {
  const hubapi::EdgeToken token = create();
  for (const char* query : {"?have=", "?have=1.2.3", "?after=1", "?"}) {
    EXPECT_EQ(signed_call("GET", fmt::format("/v1/edges/self/routes{}", query), "", token.edge_key).status,
              400)
        << query;
  }
}

// With their private keys: nobody else gets an answer.
TEST_F(EdgeApiTest, CertificatesAreForEdgesAlone) {
  const hubapi::EdgeToken token = create();
  const std::string path = "/v1/edges/self/certificates";
  const std::string nothing = hubapi::encode(hubapi::CertificateRequest{.challenges = {"tls-alpn-01"}});
  certificate_feed_.put(hubapi::EdgeCertificate{
      .name = "a.test", .chain = "CHAIN", .key = "PRIVATE", .directory = "https://ca"});
  auto given = signed_call("POST", path, nothing, token.edge_key);
  EXPECT_EQ(given.status, 200);
  auto update = hubapi::decode_certificate_update(SecretString(given.body));
  ASSERT_TRUE(update) << update.error().message;
  ASSERT_EQ(update->certificates.size(), 1u);
  EXPECT_EQ(update->certificates[0].key.expose(), "PRIVATE");
  EXPECT_TRUE(certificate_feed_.is_following(token.edge_key.public_key()));

  EXPECT_EQ(signed_call("POST", path, "{}", token.edge_key).status, 400);
  const SecretKey unknown = SecretKey::generate(random_);
  const hubapi::InviteToken tenant = invite();
  for (const http::Response& refused :
       {call("POST", path, nothing), call("POST", path, nothing, std::nullopt),
        signed_call("POST", path, nothing, unknown), signed_call("POST", path, nothing, tenant.tenant_key),
        signed_call("POST", path, nothing, token.edge_key, hubapi::kLeaseTag)}) {
    EXPECT_EQ(refused.status, 401);
    EXPECT_EQ(refused.body.find("PRIVATE"), std::string::npos);
  }
  EXPECT_EQ(call("DELETE", "/v1/edges/paris").status, 200);
  EXPECT_EQ(error_code(signed_call("POST", path, nothing, token.edge_key)), "unknown_edge");
}

TEST_F(EdgeApiTest, OperatorsSeeCertificatesWithoutKeys) {
  EXPECT_TRUE(parse(call("GET", "/v1/certificates")).at("certificates").as_array().empty());
  using State = CertificateStatus::State;
  const std::vector<CertificateStatus> all{
      {.name = "a.test",
       .state = State::kValid,
       .directory = "https://ca",
       .issuer = "CA",
       .issued_at = g_wall - 10s,
       .expires_at = g_wall + 20s,
       .next_try_at = g_wall + 15s},
      {.name = "b.test", .state = State::kFailing, .reason = "the CA is away", .next_try_at = g_wall + 1s},
      {.name = "c.test"}};
  config_.certificates = {
      .list =
          [&](const std::string& after, size_t most) {
            std::vector<CertificateStatus> out;
            for (const auto& each : all) {
              if (each.name > after && out.size() < most) out.push_back(each);
            }
            return out;
          },
      .totals =
          [&] { return CertificateTotals{.names = 3, .failing = 1, .soonest = {{g_wall + 20s, "a.eu"}}}; }};
  const auto listed = parse(call("GET", "/v1/certificates")).at("certificates").as_array();
  ASSERT_EQ(listed.size(), 3u);
  EXPECT_EQ(listed[0].at("state"), "valid");
  EXPECT_EQ(listed[0].at("age_secs"), 10);
  EXPECT_EQ(listed[0].at("expires_in_secs"), 20);
  EXPECT_EQ(listed[1].at("state"), "failing");
  EXPECT_EQ(listed[1].at("reason"), "the CA is away");
  EXPECT_TRUE(listed[2].at("expires_at").is_null());
  EXPECT_EQ(parse(call("GET", "/v1/certificates?after=a.test")).at("certificates").as_array().size(), 2u);
  EXPECT_EQ(call("GET", "/v1/certificates?after=../x").status, 400);
  EXPECT_EQ(call("GET", "/v1/certificates", "", "wrong").status, 401);
  const auto status = parse(call("GET", "/v1/status"));
  EXPECT_EQ(status.at("certificates"), 3);
  EXPECT_EQ(status.at("failing_certificates"), 1);
  EXPECT_EQ(status.at("first_expiry"), (g_wall + 20s).time_since_epoch().count());
}

}  // namespace
}  // namespace culvert::hub
