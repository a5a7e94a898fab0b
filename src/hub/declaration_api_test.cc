#include "hub/api_fixture.h"

namespace culvert::hub {
namespace {

TEST_F(ApiTest, AnswersADeclarationWithALease) {
  auto token = invite();
  auto declared = declaration(token);
  declared.services.push_back({*route::HostPattern::parse("other.org"), route::TlsMode::kPassthrough});
  auto response = handle(signed_request(hubapi::encode(declared), token.tenant_key, g_wall));
  ASSERT_EQ(response.status, 200) << response.body;
  expect_no_secret(response, token);
  auto answer = hubapi::decode_lease_answer(response.body);
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_EQ(answer->tenant, token.tenant_key.public_key());
  EXPECT_EQ(answer->granted, std::vector<std::string>{"*.a.eu"});
  ASSERT_EQ(answer->edges.size(), 1u);
  EXPECT_EQ(answer->edges[0].addresses, config_.edges[0].addresses);
  ASSERT_EQ(answer->services.size(), 2u);
  EXPECT_TRUE(answer->services[0].accepted);
  EXPECT_FALSE(answer->services[1].accepted);
  EXPECT_EQ(answer->public_port, 8443);
  EXPECT_EQ(answer->internal_ca_pem, "PEM");
  EXPECT_EQ(answer->renew_after, 30s);
  EXPECT_TRUE(leases_.snapshot()->serves(agent_));
  EXPECT_EQ(api_->counters().declarations, 1u);
}

TEST_F(ApiTest, ChecksADeclarationInOrder) {
  auto token = invite();
  std::string body = hubapi::encode(declaration(token));
  auto status = [&](const http::Request& request, const char* code) {
    auto response = handle(request);
    EXPECT_EQ(error_code(response), code) << response.body;
    expect_no_secret(response, token);
    EXPECT_EQ(leases_.size(), 0u);
    return response.status;
  };
  EXPECT_EQ(status(signed_request("", token.tenant_key, g_wall), "invalid_request"), 400);
  EXPECT_EQ(status(signed_request("{}", token.tenant_key, g_wall), "invalid_request"), 400);
  EXPECT_EQ(status(signed_request(R"({"protocol":2})", token.tenant_key, g_wall), "unsupported_version"),
            422);
  http::Request unsigned_request{.method = "POST", .target = "/v1/leases", .headers = {}, .body = body};
  EXPECT_EQ(status(unsigned_request, "sign_again"), 401);
  unsigned_request.headers.add(std::string(http::kInstanceField), api_->instance());
  EXPECT_EQ(status(unsigned_request, "invalid_signature"), 401);
  auto tampered = signed_request(body, token.tenant_key, g_wall);
  tampered.body = hubapi::encode(declaration(token, "y.a.eu"));
  EXPECT_EQ(status(tampered, "invalid_signature"), 401);
  EXPECT_EQ(status(signed_request(body, token.tenant_key, g_wall, "other-tag"), "invalid_signature"), 401);
  EXPECT_EQ(status(signed_request(body, token.tenant_key, g_wall - 61s), "invalid_signature"), 401);
  EXPECT_EQ(status(signed_request(body, token.tenant_key, g_wall + 61s), "invalid_signature"), 401);

  auto unknown = declaration(token);
  unknown.invite_id.fill(9);
  EXPECT_EQ(status(signed_request(hubapi::encode(unknown), token.tenant_key, g_wall), "unknown_invite"), 404);
  auto wrong_secret = declaration(token);
  wrong_secret.invite_secret = SecretBytes<32>::random(random_);
  auto bad_secret = handle(signed_request(hubapi::encode(wrong_secret), token.tenant_key, g_wall));
  auto bad_key = handle(signed_request(body, SecretKey::generate(random_), g_wall));
  EXPECT_EQ(bad_secret.status, 401);
  EXPECT_EQ(bad_secret.status, bad_key.status);
  EXPECT_EQ(bad_secret.body, bad_key.body) << "the answer does not tell which of the two is wrong";
  EXPECT_EQ(api_->counters().bad_signatures, 7u);
}

TEST_F(ApiTest, AnotherTenantsTokenOpensNothing) {
  auto mine = invite();
  auto theirs = invite(R"({"hostnames":["*.b.eu"]})");
  // Their invite and secret, signed with my key: both must fit the same invite.
  auto mixed = handle(signed_request(hubapi::encode(declaration(theirs, "x.b.eu")), mine.tenant_key, g_wall));
  EXPECT_EQ(mixed.status, 401);
  EXPECT_EQ(declare(mine, "x.a.eu").status, 200);
  auto same_agent = declare(theirs, "x.b.eu");
  EXPECT_EQ(same_agent.status, 409);
  EXPECT_EQ(error_code(same_agent), "agent_conflict");
}

TEST_F(ApiTest, AnAgentProvesItsIdAgainstASquatter) {
  auto mine = invite();
  auto theirs = invite(R"({"hostnames":["*.b.eu"]})");
  const SecretKey key = SecretKey::generate(random_);
  agent_ = key.public_key();
  EXPECT_EQ(declare(theirs, "x.b.eu").status, 200) << "a squatter only knows the id";
  EXPECT_EQ(error_code(declare(mine, "x.a.eu")), "agent_conflict");
  const auto with_proof = [&](const SecretKey& by) {
    auto request = signed_request(hubapi::encode(declaration(mine)), mine.tenant_key, g_wall);
    http::sign_request(request, by, hubapi::kAgentTag, g_wall, random_, "sig2");
    return request;
  };
  auto wrong = handle(with_proof(SecretKey::generate(random_)));
  EXPECT_EQ(wrong.status, 401);
  EXPECT_EQ(error_code(wrong), "invalid_signature");
  EXPECT_TRUE(leases_.snapshot()->match("x.b.eu"));
  EXPECT_EQ(handle(with_proof(key)).status, 200);
  EXPECT_FALSE(leases_.snapshot()->match("x.b.eu"));
  EXPECT_TRUE(leases_.snapshot()->match("x.a.eu"));
  EXPECT_EQ(error_code(declare(theirs, "x.b.eu")), "agent_conflict");
}

TEST_F(ApiTest, AModeThatIsTakenIsRefusedWithTheTimeToAskAgain) {
  auto token = invite();
  ASSERT_EQ(declare(token).status, 200);
  agent_ = SecretKey::generate(random_).public_key();
  auto replica = hubapi::decode_lease_answer(declare(token).body);
  ASSERT_TRUE(replica);
  EXPECT_EQ(replica->services[0].others, 1u);
  agent_ = SecretKey::generate(random_).public_key();
  auto other = declaration(token);
  other.services[0].tls_mode = route::TlsMode::kPassthrough;
  auto answer = hubapi::decode_lease_answer(
      handle(signed_request(hubapi::encode(other), token.tenant_key, g_wall)).body);
  ASSERT_TRUE(answer);
  EXPECT_FALSE(answer->services[0].accepted);
  EXPECT_EQ(answer->services[0].retry_after, Leases::kSilence + 1s);
  EXPECT_EQ(answer->renew_after, Leases::kRenewAfter);
}

TEST_F(ApiTest, RefusesAReplay) {
  auto token = invite();
  auto request = signed_request(hubapi::encode(declaration(token)), token.tenant_key, g_wall);
  EXPECT_EQ(handle(request).status, 200);
  auto again = handle(request);
  EXPECT_EQ(again.status, 401);
  EXPECT_EQ(error_code(again), "replayed");
  leases_.end_agent(agent_);
  EXPECT_EQ(handle(request, now_ + 30s).status, 401) << "a goodbye must not be undone by a replay";
  EXPECT_EQ(leases_.size(), 0u);
}

// The nonces are in memory: what was captured before a restart must be worth nothing after it, whatever the
// clocks of agent and hub say.
TEST_F(ApiTest, ARestartDoesNotForgetWhatWasSeen) {
  auto token = invite();
  const std::string body = hubapi::encode(declaration(token));
  const auto now = signed_request(body, token.tenant_key, g_wall);
  const auto ahead = signed_request(body, token.tenant_key, g_wall + 60s);
  EXPECT_EQ(handle(now).status, 200);
  EXPECT_EQ(handle(ahead).status, 200);
  leases_.end_agent(agent_);
  open({});
  for (const auto wait : {0s, 1s, 59s}) {
    g_wall += wait;
    for (const auto& captured : {now, ahead}) {
      auto refused = handle(captured);
      EXPECT_EQ(refused.status, 401);
      EXPECT_EQ(error_code(refused), "sign_again");
      const std::string* instance = refused.headers.find(http::kInstanceField);
      ASSERT_NE(instance, nullptr);
      EXPECT_EQ(*instance, api_->instance());
      expect_no_secret(refused, token);
    }
    EXPECT_EQ(leases_.size(), 0u) << "a goodbye was undone by a replay";
  }
  EXPECT_EQ(api_->counters().other_instance, 6u);
  EXPECT_EQ(declare(token).status, 200) << "who has the token signs again";
}

// Two hubs on one database: each has seen only its own half of the requests.
TEST_F(ApiTest, ARequestToOneHubIsWorthNothingAtAnother) {
  auto token = invite();
  const auto captured = signed_request(hubapi::encode(declaration(token)), token.tenant_key, g_wall);
  EXPECT_EQ(handle(captured).status, 200);
  leases_.end_agent(agent_);
  const std::string first = api_->instance();
  api_.reset();
  api_.emplace(config_, state_, *ledger_, *edge_sessions_, certificate_feed_, random_, [] {});
  EXPECT_NE(api_->instance(), first);
  EXPECT_EQ(error_code(handle(captured)), "sign_again");
  EXPECT_EQ(leases_.size(), 0u);
  // Nor can it be readdressed by who does not hold the key.
  http::Request readdressed{.method = "POST", .target = "/v1/leases", .headers = {}, .body = captured.body};
  for (const auto& [name, value] : captured.headers)
    readdressed.headers.add(name, name == http::kInstanceField ? api_->instance() : value);
  EXPECT_EQ(error_code(handle(readdressed)), "invalid_signature");
  EXPECT_EQ(leases_.size(), 0u);
}

// All agents of a hub that was restarted ask once in vain, perhaps from one address: no rate may count that.
TEST_F(ApiTest, SigningAgainTakesFromNoRate) {
  auto token = invite();
  const std::string body = hubapi::encode(declaration(token));
  for (uint32_t i = 0; i < 2 * RequestLimits::kSourceBurst; ++i) {
    http::Request request{.method = "POST", .target = "/v1/leases", .headers = {}, .body = body};
    ASSERT_EQ(error_code(handle(request)), "sign_again");
  }
  EXPECT_EQ(declare(token).status, 200);
}

TEST_F(ApiTest, AnExpiredInviteNeitherDeclaresNorServes) {
  auto token = invite(R"({"hostnames":["*.a.eu"],"expires_in_secs":100})");
  EXPECT_EQ(declare(token).status, 200);
  g_wall += 99s;
  EXPECT_EQ(declare(token).status, 200);
  g_wall += 1s;
  EXPECT_EQ(call("GET", "/v1/health").status, 200);
  EXPECT_EQ(leases_.size(), 0u) << "served beyond its expiry";
  auto refused = declare(token);
  EXPECT_EQ(refused.status, 410);
  EXPECT_EQ(error_code(refused), "invite_expired");
}

TEST_F(ApiTest, LimitsEachInviteByItself) {
  auto token = invite();
  auto other = invite(R"({"hostnames":["*.b.eu"]})");
  auto declare_new_agent = [&](const hubapi::InviteToken& with, std::string_view host) {
    agent_ = SecretKey::generate(random_).public_key();
    auto response = declare(with, host);
    leases_.end_agent(agent_);  // the cap on leases is not in question
    return response;
  };
  for (uint32_t i = 0; i < RequestLimits::kInviteBurst; ++i)
    ASSERT_EQ(declare_new_agent(token, "x.a.eu").status, 200) << i;
  auto refused = declare_new_agent(token, "x.a.eu");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(error_code(refused), "rate_limited");
  EXPECT_NE(refused.headers.find("Retry-After"), nullptr);
  EXPECT_EQ(api_->counters().rate_limited, 1u);
  EXPECT_EQ(declare_new_agent(other, "x.b.eu").status, 200) << "one tenant's flood is not another's";
  now_ += RequestLimits::kInviteInterval;
  EXPECT_EQ(declare_new_agent(token, "x.a.eu").status, 200);
  EXPECT_EQ(declare_new_agent(token, "x.a.eu").status, 429);
}

TEST_F(ApiTest, ATenantsRateIsOneForAllItsAddresses) {
  auto token = invite();
  int accepted = 0;
  for (uint32_t i = 0; i < 2 * RequestLimits::kInviteBurst; ++i) {
    client_ = SocketAddr::v4({10, 0, uint8_t(i >> 8), uint8_t(i)}, 1);
    agent_ = SecretKey::generate(random_).public_key();
    const int status = declare(token).status;
    accepted += status == 200 ? 1 : 0;
    if (status == 200) leases_.end_agent(agent_);
  }
  EXPECT_EQ(accepted, static_cast<int>(RequestLimits::kInviteBurst));
}

// A proxy, or a network with one public address: whatever one tenant does there, another one is served.
TEST_F(ApiTest, RefusalsOfOneTenantAreNothingToAnotherBehindItsAddress) {
  auto token = invite(), other = invite(R"({"hostnames":["*.b.eu"]})");
  for (uint32_t i = 0; i < 3 * RequestLimits::kSourceBurst; ++i) {
    agent_ = SecretKey::generate(random_).public_key();
    (void)declare(token);
    leases_.end_agent(agent_);
  }
  EXPECT_EQ(api_->counters().source_limited + api_->counters().rate_limited,
            3 * RequestLimits::kSourceBurst - RequestLimits::kInviteBurst);
  EXPECT_EQ(api_->counters().rate_limited, RequestLimits::kSourceBurst) << "then no signature is verified";
  agent_ = SecretKey::generate(random_).public_key();
  EXPECT_EQ(declare(other, "x.b.eu").status, 200);
}

TEST_F(ApiTest, LimitsTheRenewalsOfEachLeaseByItself) {
  auto token = invite();
  const EndpointId calm = SecretKey::generate(random_).public_key();
  const EndpointId busy = agent_;
  agent_ = calm;
  ASSERT_EQ(declare(token).status, 200);
  agent_ = busy;
  ASSERT_EQ(declare(token).status, 200);
  for (uint32_t i = 0; i < Leases::kRenewBurst; ++i) ASSERT_EQ(declare(token).status, 200) << i;
  auto refused = declare(token);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(error_code(refused), "rate_limited");
  agent_ = calm;
  EXPECT_EQ(declare(token).status, 200) << "one agent's flood is not another's";
  agent_ = SecretKey::generate(random_).public_key();
  EXPECT_EQ(declare(token).status, 200) << "nor that of an agent that starts";
  agent_ = busy;
  now_ += Leases::kRenewInterval;
  EXPECT_EQ(declare(token).status, 200);
  EXPECT_EQ(declare(token).status, 429);
  // However often it asks, it does not lose its lease.
  for (Duration elapsed{}; elapsed < 2 * Leases::kLifetime; elapsed += 500ms) {
    now_ += 500ms;
    g_wall = UnixTime(1'700'000'000s + std::chrono::duration_cast<std::chrono::seconds>(elapsed));
    (void)declare(token);
    ASSERT_TRUE(leases_.snapshot()->serves(busy));
  }
  EXPECT_FALSE(leases_.snapshot()->serves(calm));
}

TEST_F(ApiTest, ASourceOfRefusalsIsStoppedBeforeItsSignatureIsVerified) {
  auto token = invite();
  ASSERT_EQ(declare(token).status, 200);
  const EndpointId holder = agent_;
  agent_ = SecretKey::generate(random_).public_key();
  const SecretKey other_key = SecretKey::generate(random_);
  auto attack = [&] { return handle(signed_request(hubapi::encode(declaration(token)), other_key, g_wall)); };
  for (uint32_t i = 0; i < RequestLimits::kSourceBurst; ++i) ASSERT_EQ(attack().status, 401) << i;
  const uint64_t verified = api_->counters().bad_signatures;
  for (int i = 0; i < 10; ++i) {
    auto refused = attack();
    ASSERT_EQ(refused.status, 429);
    ASSERT_EQ(error_code(refused), "rate_limited");
    ASSERT_NE(refused.headers.find("Retry-After"), nullptr);
  }
  EXPECT_EQ(api_->counters().bad_signatures, verified);
  EXPECT_EQ(api_->counters().source_limited, 10u);
  EXPECT_EQ(declare(token).status, 429) << "an agent without a lease shares the fate of its source";
  EXPECT_EQ(
      handle(http::Request{.method = "POST", .target = "/v1/leases", .headers = {}, .body = "{}"}).status,
      429);
  agent_ = holder;
  EXPECT_EQ(declare(token).status, 200) << "a renewal behind the same address";
  agent_ = SecretKey::generate(random_).public_key();
  client_ = SocketAddr::v4({192, 0, 2, 51}, 1234);
  EXPECT_EQ(declare(token).status, 200) << "another source";
  agent_ = SecretKey::generate(random_).public_key();  // holds no lease
  client_ = SocketAddr::v4({192, 0, 2, 50}, 4321);
  now_ += RequestLimits::kSourceInterval;
  EXPECT_EQ(attack().status, 401) << "the port is not part of the source";
  EXPECT_EQ(attack().status, 429);
}

TEST_F(ApiTest, ATokenThatIsRefusedForeverIsLimitedAsWell) {
  auto token = invite();
  ASSERT_EQ(call("DELETE", "/v1/invites/" + to_base64url(token.invite_id)).status, 200);
  for (uint32_t i = 0; i < RequestLimits::kInviteBurst; ++i) {
    client_ = SocketAddr::v4({10, 0, 0, uint8_t(i)}, 1);
    ASSERT_EQ(declare(token).status, 401) << i;
  }
  EXPECT_EQ(declare(token).status, 429) << "wherever it comes from";
  EXPECT_EQ(api_->counters().rate_limited, 1u);
  client_ = SocketAddr::v4({10, 1, 0, 0}, 1);
  for (uint32_t i = 0; i < RequestLimits::kSourceBurst; ++i) ASSERT_EQ(declare(token).status, 429);
  EXPECT_EQ(api_->counters().source_limited, 0u);
  EXPECT_EQ(declare(token).status, 429);
  EXPECT_EQ(api_->counters().source_limited, 1u) << "before its signature is verified";
}

TEST_F(ApiTest, SourcesOfRefusalsAreBounded) {
  auto refuse = [&](uint32_t n) {
    client_ = SocketAddr::v4({10, uint8_t(n >> 16), uint8_t(n >> 8), uint8_t(n)}, 1);
    return handle(http::Request{.method = "POST", .target = "/v1/leases", .headers = {}, .body = "{}"})
        .status;
  };
  for (uint32_t n = 0; n < 3 * RequestLimits::kMaxSources; ++n) {
    ASSERT_EQ(refuse(n), 400);
    ASSERT_LE(api_->counted_sources(), RequestLimits::kMaxSources);
  }
}

TEST_F(ApiTest, UnauthenticatedClientsCannotUseUpATenantsRate) {
  auto token = invite();
  for (int i = 0; i < 100; ++i) {
    auto response =
        handle(signed_request(hubapi::encode(declaration(token)), SecretKey::generate(random_), g_wall));
    ASSERT_EQ(response.status, 401);
  }
  EXPECT_EQ(declare(token).status, 200);
}

// docs/protocol.md states these for authors of agents.
TEST_F(ApiTest, TheRatesAreThoseOfTheProtocol) {
  static_assert(Leases::kMaxPerInvite == 64 && RequestLimits::kInviteBurst == 64 &&
                RequestLimits::kInviteInterval == 250ms);
  static_assert(Leases::kRenewBurst == 20 && Leases::kRenewInterval == 2s);
  static_assert(RequestLimits::kSourceBurst == 128 && RequestLimits::kSourceInterval == 250ms);
  static_assert(Leases::kLifetime / Leases::kRenewInterval == 45);
}

TEST_F(ApiTest, AtTheLeaseCapItSaysSo) {
  auto token = invite();
  for (size_t i = 0; i < Leases::kMaxPerInvite; ++i) {
    agent_ = SecretKey::generate(random_).public_key();
    now_ += 1s;
    ASSERT_EQ(declare(token).status, 200) << i;
  }
  agent_ = SecretKey::generate(random_).public_key();
  now_ += 1s;
  auto refused = declare(token);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(error_code(refused), "lease_limit");
  EXPECT_EQ(api_->counters().lease_limits, 1u);
}

TEST_F(ApiTest, EveryRefusedDeclarationIsCounted) {
  auto token = invite();
  auto other = invite(R"({"hostnames":["*.b.eu"]})");
  auto expiring = invite(R"({"hostnames":["*.c.eu"],"expires_in_secs":1})");
  auto revoked = invite(R"({"hostnames":["*.d.eu"]})");
  ASSERT_EQ(call("DELETE", "/v1/invites/" + to_base64url(revoked.invite_id)).status, 200);
  auto unknown = token;
  unknown.invite_id.fill(7);
  ASSERT_EQ(declare(token).status, 200);
  const ApiCounters& counters = api_->counters();
  EXPECT_EQ(handle(signed_request("{", token.tenant_key, g_wall)).status, 400);
  EXPECT_EQ(counters.invalid, 1u);
  EXPECT_EQ(declare(unknown).status, 404);
  EXPECT_EQ(counters.unknown_invites, 1u);
  EXPECT_EQ(declare(other, "x.b.eu").status, 409);
  EXPECT_EQ(counters.agent_conflicts, 1u);
  EXPECT_EQ(declare(revoked, "x.d.eu").status, 401);
  g_wall += 2s;
  EXPECT_EQ(declare(expiring, "x.c.eu").status, 410);
  EXPECT_EQ(counters.ended_invites, 2u);
  EXPECT_EQ(counters.declarations, 1u);
  EXPECT_EQ(counters.bad_signatures + counters.rate_limited + counters.source_limited, 0u);
}

TEST_F(ApiTest, DeclaredPortsAreClaimedBeforeTheAnswer) {
  config_.tenants.ports.own = {{route::PortProtocol::kTcp, 443}};
  auto token =
      invite(R"({"name":"home","hostnames":["*.a.eu"],"max_tcp_ports":2,"ports":["25","2000-2999"]})");
  auto declared = declaration(token);
  declared.ports = {{route::PortProtocol::kTcp, "ssh", 2222},
                    {route::PortProtocol::kTcp, "mail", 25},
                    {route::PortProtocol::kTcp, "web", 443},
                    {route::PortProtocol::kUdp, "game", 0}};
  auto response = handle(signed_request(hubapi::encode(declared), token.tenant_key, g_wall));
  ASSERT_EQ(response.status, 200) << response.body;
  auto answer = hubapi::decode_lease_answer(response.body);
  ASSERT_TRUE(answer) << answer.error().message;
  ASSERT_EQ(answer->ports.size(), 4u);
  EXPECT_TRUE(answer->ports[0].accepted && answer->ports[1].accepted && answer->ports[3].accepted);
  EXPECT_EQ(answer->ports[2].reason, "the node itself uses tcp/443; choose another port");
  EXPECT_TRUE(answer->services[0].accepted) << "a refused port takes nothing else with it";
  const uint16_t picked = answer->ports[3].listen_port;
  EXPECT_TRUE(2000 <= picked && picked <= 2999) << picked;

  const std::string routes = call("GET", "/v1/routes").body;
  EXPECT_NE(routes.find(R"("match":"tcp/2222","tenant_id":)"), std::string::npos) << routes;
  EXPECT_NE(routes.find(R"("service":"ssh")"), std::string::npos) << routes;
  const std::string agents = call("GET", "/v1/agents").body;
  EXPECT_NE(agents.find(R"({"protocol":"tcp","name":"ssh","listen_port":2222})"), std::string::npos)
      << agents;
  open({});
  auto claims = parse(call("GET", "/v1/claims")).at("claims").as_array();
  ASSERT_EQ(claims.size(), 3u) << "they are stored";
  EXPECT_EQ(claims[0].at("port").as_string(), "tcp/25");
  EXPECT_EQ(claims[0].at("invite_name").as_string(), "home");
  EXPECT_EQ(parse(call("GET", "/v1/claims?after=tcp/2222")).at("claims").as_array().size(), 1u);
  EXPECT_EQ(call("GET", "/v1/claims?after=2222").status, 400);
  EXPECT_EQ(call("GET", "/v1/claims", "", "wrong").status, 401);
}

TEST_F(ApiTest, AnAgentThatMovesItsPortsHasNoOtherRateThanOneThatRenews) {
  const auto token = invite();
  uint32_t answered = 0;
  for (uint16_t i = 0; i < 3 * Leases::kRenewBurst; ++i) {
    auto declared = declaration(token);
    declared.services.clear();
    declared.ports = {{route::PortProtocol::kTcp, "game", static_cast<uint16_t>(3000 + i % 2)}};
    const auto response = handle(signed_request(hubapi::encode(declared), token.tenant_key, g_wall));
    if (response.status == 200) ++answered;
  }
  EXPECT_EQ(answered, 1 + Leases::kRenewBurst) << "its lease ended with each of them";
}

TEST_F(ApiTest, OperatorsSeeWhatIsRefusedAndWhy) {
  const auto token = invite(R"({"name":"home","hostnames":["*.a.eu"]})");
  const auto refused = [&] {
    return parse(call("GET", "/v1/refused-services")).at("refused_services").as_array();
  };
  auto declared = declaration(token, "x.b.eu");
  declared.services.push_back({route::HostPattern::parse("x.a.eu").value(), route::TlsMode::kTerminate});
  declared.ports = {{route::PortProtocol::kTcp, "mail", 25}};
  ASSERT_EQ(handle(signed_request(hubapi::encode(declared), token.tenant_key, g_wall)).status, 200);
  ASSERT_EQ(refused().size(), 2u);
  EXPECT_EQ(refused()[0].at("wanted").as_string(), "x.b.eu");
  EXPECT_EQ(refused()[0].at("invite_name").as_string(), "home");
  EXPECT_EQ(refused()[0].at("reason").as_string(), "the invite does not grant x.b.eu; it grants *.a.eu");
  EXPECT_EQ(refused()[1].at("wanted").as_string(), "tcp/25");
  EXPECT_EQ(refused()[1].at("service").as_string(), "mail");
  const auto status = parse(call("GET", "/v1/status"));
  EXPECT_EQ(status.at("refused_services").as_int64(), 2);
  EXPECT_NE(json::serialize(status.at("warnings")).find("refused services of agents: 2"), std::string::npos);
  EXPECT_EQ(api_->counters().refused_hostnames, 1u);
  EXPECT_EQ(api_->counters().refused_ports, 1u);

  const std::string id = agent_.to_string();
  const auto after = [&](const std::string& text) {
    return call("GET", "/v1/refused-services?after=" + text);
  };
  EXPECT_EQ(parse(after(id + "%2F1")).at("refused_services").as_array().size(), 1u);
  EXPECT_EQ(parse(after(id + "/2")).at("refused_services").as_array().size(), 0u);
  for (const std::string& bad : {std::string("x"), id, id + "/", id + "/x", id + "/33"})
    EXPECT_EQ(after(bad).status, 400) << bad;

  now_ += RefusedServices::kKept;
  EXPECT_TRUE(refused().empty()) << "the agent declares no more";
}

TEST_F(ApiTest, TheHubsOwnNameIsNotServedByAnAgent) {
  const auto token = invite(R"({"hostnames":["*.example"]})");
  const auto answer = hubapi::decode_lease_answer(declare(token, "hub.example").body);
  ASSERT_TRUE(answer);
  EXPECT_FALSE(answer->services[0].accepted);
  EXPECT_NE(answer->services[0].reason.find("is the hub's own"), std::string::npos)
      << answer->services[0].reason;
}

TEST_F(ApiTest, TheAuditLogSaysWhatATenantClaimsMovesAndFrees) {
  auto token = invite(R"({"hostnames":["*.a.eu"],"max_tcp_ports":2})");
  const auto claim = [&](std::string service, uint16_t port) {
    auto declared = declaration(token);
    declared.ports = {{route::PortProtocol::kTcp, std::move(service), port}};
    ASSERT_EQ(handle(signed_request(hubapi::encode(declared), token.tenant_key, g_wall)).status, 200);
  };
  const auto log = [&] {
    std::string out;
    for (const auto& entry : parse(call("GET", "/v1/audit?action=claim")).at("entries").as_array()) {
      EXPECT_EQ(entry.at("actor").as_string(), "tenant " + token.tenant_key.public_key().to_string());
      out += fmt::format("{} {};", std::string_view(entry.at("action").as_string()),
                         std::string_view(entry.at("subject").as_string()));
    }
    return out;
  };
  claim("ssh", 2222);
  EXPECT_EQ(log(), "claim.take tcp/2222;");
  claim("ssh", 2222);
  EXPECT_EQ(log(), "claim.take tcp/2222;") << "a renewal claims nothing";
  claim("ssh", 2223);
  EXPECT_EQ(log(), "claim.take tcp/2223;claim.free tcp/2222;claim.take tcp/2222;");
  claim("git", 2223);
  const auto entries = parse(call("GET", "/v1/audit?subject=tcp%2F2223")).at("entries").as_array();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].at("before").at("service").as_string(), "ssh");
  EXPECT_EQ(entries[0].at("after").at("service").as_string(), "git");
}

TEST_F(ApiTest, TwoTenantsThatClaimAPortAtOnceDoNotBothGetIt) {
  auto one = invite(), two = invite(R"({"hostnames":["*.b.eu"]})");
  const auto request = [&](const hubapi::InviteToken& token, std::string_view host) {
    auto declared = declaration(token, host);
    declared.agent_id = SecretKey::generate(random_).public_key();
    declared.ports = {{route::PortProtocol::kTcp, "ssh", 2222}};
    auto exchange = std::make_unique<http::testing::MemoryExchange>(
        signed_request(hubapi::encode(declared), token.tenant_key, g_wall));
    exchange->client = client_;
    exchange->now = now_;
    return exchange;
  };
  auto first = request(one, "x.a.eu"), second = request(two, "x.b.eu");
  net::TaskGroup tasks(loop_);
  int accepted = 0;
  for (auto* each : {first.get(), second.get()}) {
    tasks.spawn([](Api& api, http::testing::MemoryExchange& exchange, int& count) -> net::Task<> {
      auto response = co_await http::testing::answer_of(api, exchange);
      auto answer = hubapi::decode_lease_answer(response.body);
      EXPECT_TRUE(answer) << response.body;
      if (answer) count += answer->ports.at(0).accepted ? 1 : 0;
    }(*api_, *each, accepted));
  }
  net::testing::run_until(loop_, [&] { return tasks.size() == 0; });
  EXPECT_EQ(accepted, 1);
}

TEST_F(ApiTest, APortIsRefusedWhileItsClaimCannotBeStored) {
  auto token = invite();
  auto declared = declaration(token);
  declared.ports = {{route::PortProtocol::kTcp, "ssh", 2222}};
  ledger_->close();
  auto response = handle(signed_request(hubapi::encode(declared), token.tenant_key, g_wall));
  ASSERT_EQ(response.status, 200) << response.body;
  auto answer = hubapi::decode_lease_answer(response.body);
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->services[0].accepted) << "its hostname is served all the same";
  EXPECT_FALSE(answer->ports[0].accepted);
  EXPECT_NE(answer->ports[0].reason.find("cannot store the claim"), std::string::npos);
  EXPECT_EQ(answer->ports[0].retry_after, 10s);
  EXPECT_EQ(leases_.snapshot()->match(route::PublicPort{route::PortProtocol::kTcp, 2222}), nullptr);
}

TEST_F(ApiTest, AnEvictedAgentIsToldWhy) {
  auto token = invite();
  ASSERT_EQ(declare(token).status, 200);
  const EndpointId first = agent_;
  agent_ = SecretKey::generate(random_).public_key();
  auto declared = declaration(token);
  declared.is_exclusive = true;
  ASSERT_EQ(handle(signed_request(hubapi::encode(declared), token.tenant_key, g_wall)).status, 200);
  EXPECT_EQ(leases_.size(), 1u);
  EXPECT_NE(call("GET", "/v1/agents").body.find(R"("exclusive":true)"), std::string::npos);
  agent_ = first;
  now_ += 1s;
  auto refused = declare(token);
  EXPECT_EQ(refused.status, 409);
  EXPECT_EQ(error_code(refused), "agent_evicted");
  EXPECT_NE(refused.body.find("is exclusive and serves this tenant alone"), std::string::npos)
      << refused.body;
  EXPECT_FALSE(leases_.snapshot()->serves(first));
}

TEST_F(ApiTest, ATenantIsToldWhichNamesAreAnothers) {
  auto wide = invite();
  auto narrow = call("POST", "/v1/invites", R"({"hostnames":["x.a.eu"]})");
  EXPECT_EQ(error_code(narrow), "hostname_conflict");
  ASSERT_EQ(declare(wide).status, 200);
  EXPECT_EQ(leases_.size(), 1u);
  narrow = call("POST", "/v1/invites", R"({"hostnames":["x.a.eu"],"allow_overlap":true})");
  ASSERT_EQ(narrow.status, 200) << narrow.body;
  EXPECT_EQ(leases_.size(), 0u);
  auto answer = hubapi::decode_lease_answer(declare(wide).body);
  ASSERT_TRUE(answer);
  EXPECT_FALSE(answer->services[0].accepted);
  const std::string routes = call("GET", "/v1/routes").body;
  EXPECT_NE(routes.find(R"("match":"x.a.eu")"), std::string::npos) << "reserved " << routes;
}

}  // namespace
}  // namespace culvert::hub
