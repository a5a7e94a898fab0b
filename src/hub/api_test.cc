#include "hub/api.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <boost/json/parse.hpp>
#include <filesystem>

#include "base/encoding.h"
#include "base/full_disk.h"
#include "hub/store_sqlite.h"
#include "hubapi/token.h"
#include "net/testing.h"

namespace culvert::hub {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using namespace std::chrono_literals;
using net::testing::run_task;

constexpr const char* kOperatorKey = "operator-secret";
UnixTime g_wall{};
UnixTime fake_wall() { return g_wall; }

json::object parse(const http::Response& response) {
  json::error_code ec;
  json::value value = json::parse(response.body, ec);
  EXPECT_FALSE(ec) << response.body;
  return value.is_object() ? value.get_object() : json::object();
}

std::string error_code(const http::Response& response) {
  const json::object body = parse(response);
  const json::value* error = body.if_contains("error");
  EXPECT_TRUE(error && error->as_object().at("message").is_string()) << response.body;
  return error ? std::string(error->as_object().at("code").as_string()) : "";
}

class ApiTest : public testing::Test {
 protected:
  void SetUp() override {
    g_wall = UnixTime(std::chrono::seconds(1'700'000'000));
    std::string name = (fs::temp_directory_path() / "culvert-api-XXXXXX").native();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
    store_ = *open_sqlite_store(loop_, directory_ / "hub.db", random_);
    api_.emplace(config_, *store_, leases_, random_, [] {});
  }
  void TearDown() override {
    api_.reset();
    store_.reset();
    fs::remove_all(directory_);
  }

  http::Response call(std::string method, std::string target, std::string body = "",
                      std::optional<std::string> bearer = kOperatorKey) {
    http::Request request{
        .method = std::move(method), .target = std::move(target), .headers = {}, .body = std::move(body)};
    if (bearer) request.headers.add("Authorization", "Bearer " + *bearer);
    return handle(std::move(request));
  }
  http::Response handle(http::Request request) { return handle(std::move(request), now_); }
  http::Response handle(http::Request request, TimePoint now) {
    return run_task(loop_,
                    api_->handle({.request = std::move(request), .client = client_, .now = now, .rest = {}}));
  }
  hubapi::InviteToken invite(std::string_view body = R"({"hostnames":["*.a.eu"]})") {
    auto response = call("POST", "/v1/invites", std::string(body));
    EXPECT_EQ(response.status, 200) << response.body;
    auto token = hubapi::parse_invite_token(std::string_view(parse(response).at("token").as_string()));
    EXPECT_TRUE(token.has_value());
    return *token;
  }
  hubapi::Declaration declaration(const hubapi::InviteToken& token, std::string_view host = "x.a.eu") {
    return {token.invite_id,
            token.invite_secret,
            agent_,
            {{*route::HostPattern::parse(host), route::TlsMode::kTerminate}}};
  }
  http::Request signed_request(std::string body, const SecretKey& key, UnixTime when,
                               std::string_view tag = hubapi::kLeaseTag) {
    http::Request request{.method = "POST", .target = "/v1/leases", .headers = {}, .body = std::move(body)};
    http::sign_request(request, key, tag, when, random_);
    return request;
  }
  http::Response declare(const hubapi::InviteToken& token, std::string_view host = "x.a.eu") {
    return handle(signed_request(hubapi::encode(declaration(token, host)), token.tenant_key, g_wall));
  }
  void expect_no_secret(const http::Response& response, const hubapi::InviteToken& token) {
    EXPECT_EQ(response.body.find(to_base64url(token.invite_secret.expose())), std::string::npos);
    EXPECT_EQ(response.body.find(kOperatorKey), std::string::npos);
  }

  net::EventLoop loop_;
  SeededRandom random_{11};
  EndpointId agent_ = SecretKey::generate(random_).public_key();
  EndpointId hub_key_ = SecretKey::generate(random_).public_key();
  Config config_{.database = {},
                 .operator_key = kOperatorKey,
                 .public_urls = {"https://hub.example:8443"},
                 .hub_key = hub_key_,
                 .edges = {{hub_key_, {"192.0.2.1:443"}}},
                 .public_port = 8443,
                 .internal_ca_pem = "PEM",
                 .wall_clock = fake_wall};
  fs::path directory_;
  std::unique_ptr<Store> store_;
  Leases leases_;
  std::optional<Api> api_;
  SocketAddr client_ = SocketAddr::v4({192, 0, 2, 50}, 1234);
  TimePoint now_{std::chrono::hours(100)};
};

TEST_F(ApiTest, HealthNeedsNoKey) {
  auto response = call("GET", "/v1/health?x", "", std::nullopt);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(*response.headers.find("Content-Type"), "application/json");
  auto body = parse(response);
  EXPECT_EQ(body.at("status").as_string(), "ok");
  EXPECT_EQ(body.at("hub_key").as_string(), hub_key_.to_string());
  EXPECT_EQ(body.at("protocol_version").as_int64(), hubapi::kDeclarationVersion);
  EXPECT_FALSE(body.at("version").as_string().empty());
}

TEST_F(ApiTest, UnknownPathsAndMethodsAreToldApart) {
  for (const char* path : {"/", "/v1", "/v1/", "/v1/lease", "/v1/leases/", "/v2/invites", "/v1/invitesx", "*",
                           "http://hub/v1/health", "/v1/../v1/health"}) {
    auto response = call("GET", path);
    EXPECT_EQ(response.status, 404) << path;
    EXPECT_EQ(error_code(response), "not_found");
  }
  struct Case {
    const char* method;
    const char* path;
    const char* allow;
  };
  for (const Case& c : {Case{"POST", "/v1/health", "GET"}, Case{"HEAD", "/v1/health", "GET"},
                        Case{"GET", "/v1/leases", "POST"}, Case{"PUT", "/v1/invites", "GET, POST"},
                        Case{"GET", "/v1/invites/x", "DELETE"}, Case{"get", "/v1/health", "GET"}}) {
    auto response = call(c.method, c.path);
    EXPECT_EQ(response.status, 405) << c.method << c.path;
    EXPECT_EQ(error_code(response), "method_not_allowed");
    EXPECT_EQ(*response.headers.find("Allow"), c.allow);
  }
}

TEST_F(ApiTest, OperatorCallsNeedTheKey) {
  for (const auto& bearer : std::vector<std::optional<std::string>>{
           std::nullopt, "", "wrong", "operator-secret ", "operator-secre", "Operator-secret"}) {
    for (const auto& [method, path] : {std::pair{"GET", "/v1/invites"}, std::pair{"POST", "/v1/invites"},
                                       std::pair{"DELETE", "/v1/invites/AAAAAAAAAAAAAAAAAAAAAA"}}) {
      auto response = call(method, path, R"({"hostnames":["a.eu"]})", bearer);
      EXPECT_EQ(response.status, 401);
      EXPECT_EQ(error_code(response), "unauthorized");
      EXPECT_EQ(*response.headers.find("WWW-Authenticate"), "Bearer");
    }
  }
  EXPECT_EQ(api_->counters().bad_bearers, 18u);
  http::Request two{.method = "GET", .target = "/v1/invites", .headers = {}, .body = {}};
  two.headers.add("Authorization", "Bearer operator-secret");
  two.headers.add("Authorization", "Bearer wrong");
  EXPECT_EQ(handle(two).status, 401);
  http::Request basic{.method = "GET", .target = "/v1/invites", .headers = {}, .body = {}};
  basic.headers.add("Authorization", "Basic operator-secret");
  EXPECT_EQ(handle(basic).status, 401);
}

TEST_F(ApiTest, TheHubsOwnNameIsNotForOthers) {
  auto own = call("POST", "/v1/invites", R"({"hostnames":["a.eu","Hub.Example"]})");
  EXPECT_EQ(own.status, 400);
  EXPECT_NE(own.body.find("hub.example is the hub's own"), std::string::npos) << own.body;
  EXPECT_EQ(call("POST", "/v1/invites", R"({"hostnames":["*.example"]})").status, 200)
      << "it stays reachable";
}

TEST_F(ApiTest, CreatesAnInviteWhoseTokenWorks) {
  auto response = call("POST", "/v1/invites",
                       R"({"name":"home","hostnames":["App.a.eu","*.b.eu"],"expires_in_secs":60})");
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(*response.headers.find("Cache-Control"), "no-store");
  auto body = parse(response);
  EXPECT_EQ(body.at("status").as_string(), "ok");
  EXPECT_EQ(body.at("name").as_string(), "home");
  EXPECT_EQ(body.at("hostnames").as_array().at(0).as_string(), "app.a.eu");
  EXPECT_EQ(body.at("expires_at").as_int64(), 1'700'000'060);
  auto token = hubapi::parse_invite_token(std::string_view(body.at("token").as_string()));
  ASSERT_TRUE(token.has_value());
  EXPECT_EQ(token->hub_urls, config_.public_urls);
  EXPECT_EQ(token->hub_key, hub_key_);
  EXPECT_EQ(body.at("tenant_id").as_string(), token->tenant_key.public_key().to_string());
  EXPECT_EQ(body.at("invite_id").as_string(), to_base64url(token->invite_id));
  auto kept = run_task(loop_, store_->find_invite(token->invite_id));
  ASSERT_TRUE(kept && *kept);
  EXPECT_FALSE(std::ranges::equal((*kept)->secret_hash, token->invite_secret.expose()))
      << "the secret itself is never kept";
  EXPECT_EQ(declare(*token, "x.b.eu").status, 200);
}

// Draws ids that begin with '-' in their text form first.
class DashingRandom final : public Random {
 public:
  void fill(MutableBytes out) override {
    random_.fill(out);
    if (out.size() != std::tuple_size_v<InviteId> || dashes == 0) return;
    out[0] = static_cast<uint8_t>(0xf8 + --dashes);
  }
  unsigned dashes = 4;

 private:
  SeededRandom random_{12};
};

TEST_F(ApiTest, NoInviteIdLooksLikeAFlag) {
  DashingRandom random;
  api_.emplace(config_, *store_, leases_, random, [] {});
  auto token = invite();
  EXPECT_EQ(random.dashes, 0u) << "the id was not drawn again";
  EXPECT_NE(to_base64url(token.invite_id).front(), '-');
}

TEST_F(ApiTest, NamesAnInviteThatHasNone) {
  auto body =
      parse(call("POST", "/v1/invites", R"({"hostnames":["a.eu"],"name":null,"expires_in_secs":null})"));
  EXPECT_NE(body.at("name").as_string().find('-'), json::string::npos);
  EXPECT_TRUE(body.at("expires_at").is_null());
}

TEST_F(ApiTest, RefusesMalformedInvites) {
  std::string many = R"({"hostnames":[)";
  for (int i = 0; i < 101; ++i) many += fmt::format("{}\"h{}.eu\"", i ? "," : "", i);
  for (const std::string& body : {
           std::string(),
           std::string("{}"),
           std::string("[]"),
           std::string("{\"hostnames\":"),
           std::string(R"({"hostnames":[]})"),
           std::string(R"({"hostnames":"a.eu"})"),
           std::string(R"({"hostnames":[1]})"),
           std::string(R"({"hostnames":["a"]})"),
           std::string(R"({"hostnames":["a.eu","A.EU"]})"),
           std::string(R"({"hostnames":["*.*.eu"]})"),
           std::string(R"({"hostnames":["a.eu "]})"),
           many + "]}",
           std::string(R"({"hostnames":["a.eu"],"names":"x"})"),
           std::string(R"({"hostnames":["a.eu"],"hostnames":["b.eu"]})"),
           std::string(R"({"hostnames":["a.eu"],"name":"a","name":"b"})"),
           std::string(R"({"hostnames":["a.eu"],"name":""})"),
           std::string(R"({"hostnames":["a.eu"],"name":1})"),
           std::string(R"({"hostnames":["a.eu"],"name":"a\nb"})"),
           std::string(R"({"hostnames":["a.eu"],"name":"\u001b[31m"})"),
           std::string(R"({"hostnames":["a.eu"],"name":"a\u009b31m"})"),
           std::string(R"({"hostnames":["a.eu"],"name":"a\u202eb"})"),
           std::string(R"({"hostnames":["a.eu"],"name":" a"})"),
           R"({"hostnames":["a.eu"],"name":")" + std::string(65, 'n') + "\"}",
           std::string(R"({"hostnames":["a.eu"],"expires_in_secs":0})"),
           std::string(R"({"hostnames":["a.eu"],"expires_in_secs":-1})"),
           std::string(R"({"hostnames":["a.eu"],"expires_in_secs":1.5})"),
           std::string(R"({"hostnames":["a.eu"],"expires_in_secs":"1"})"),
           std::string(R"({"hostnames":["a.eu"],"expires_in_secs":9223372036854775807})"),
       }) {
    auto response = call("POST", "/v1/invites", body);
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_EQ(error_code(response), "invalid_request");
  }
  EXPECT_TRUE(parse(call("GET", "/v1/invites")).at("invites").as_array().empty());
}

TEST_F(ApiTest, RefusesOverlappingHostnames) {
  call("POST", "/v1/invites", R"({"name":"first","hostnames":["*.a.eu"]})");
  auto response = call("POST", "/v1/invites", R"({"hostnames":["free.org","app.a.eu"]})");
  EXPECT_EQ(response.status, 409);
  EXPECT_EQ(error_code(response), "hostname_conflict");
  EXPECT_NE(response.body.find("app.a.eu"), std::string::npos);
  EXPECT_NE(response.body.find("first"), std::string::npos);
  EXPECT_EQ(call("POST", "/v1/invites", R"({"hostnames":["evila.eu"]})").status, 200);
}

TEST_F(ApiTest, ListsInvitesWithTheirStatus) {
  auto live = invite(R"({"name":"live","hostnames":["a.eu"]})");
  auto revoked = invite(R"({"name":"revoked","hostnames":["b.eu"]})");
  invite(R"({"name":"expired","hostnames":["c.eu"],"expires_in_secs":5})");
  g_wall += 5s;
  EXPECT_EQ(call("DELETE", "/v1/invites/" + to_base64url(revoked.invite_id)).status, 200);
  auto response = call("GET", "/v1/invites");
  expect_no_secret(response, live);
  auto body = parse(response);
  auto& entries = body.at("invites").as_array();
  ASSERT_EQ(entries.size(), 3u);
  for (auto& entry : entries) EXPECT_EQ(entry.at("status"), entry.at("name"));
  EXPECT_FALSE(body.contains("next"));
  auto rest = parse(call("GET", "/v1/invites?after=" + to_base64url(live.invite_id)));
  EXPECT_EQ(rest.at("invites").as_array().size(), 2u);
  EXPECT_EQ(call("GET", "/v1/invites?after=" + to_base64url(InviteId{})).status, 404);
  EXPECT_EQ(call("GET", "/v1/invites?after=x").status, 400);
  EXPECT_EQ(call("GET", "/v1/invites?limit=3").status, 400);
}

TEST_F(ApiTest, RevokesAtOnceAndFreesTheNames) {
  auto token = invite();
  ASSERT_EQ(declare(token).status, 200);
  ASSERT_NE(leases_.table()->match("x.a.eu"), nullptr);
  std::string path = "/v1/invites/" + to_base64url(token.invite_id);
  auto response = call("DELETE", path);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(parse(response).at("status").as_string(), "revoked");
  EXPECT_EQ(leases_.table()->match("x.a.eu"), nullptr);
  EXPECT_EQ(call("DELETE", path).status, 404);
  EXPECT_EQ(call("DELETE", "/v1/invites/" + to_base64url(InviteId{})).status, 404);
  for (const char* bad :
       {"", "x", "AAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAA/", "AAAAAAAAAAAAAAAAAAAAAB"}) {
    EXPECT_EQ(call("DELETE", std::string("/v1/invites/") + bad).status, 400) << bad;
  }
  auto refused = declare(token);
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(error_code(refused), "invite_revoked");
  EXPECT_EQ(leases_.size(), 0u);
  EXPECT_EQ(call("POST", "/v1/invites", R"({"hostnames":["x.a.eu"]})").status, 200);
}

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
  EXPECT_TRUE(leases_.table()->serves(agent_));
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
  EXPECT_EQ(bad_secret.body, bad_key.body) << "which of the two is wrong is nobody's business";
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
  EXPECT_TRUE(leases_.table()->match("x.b.eu"));
  EXPECT_EQ(handle(with_proof(key)).status, 200);
  EXPECT_FALSE(leases_.table()->match("x.b.eu"));
  EXPECT_TRUE(leases_.table()->match("x.a.eu"));
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

TEST_F(ApiTest, EveryAnswerTellsTheTime) {
  for (const auto& response :
       {call("GET", "/v1/health"), call("GET", "/none"), call("GET", "/v1/invites", "", "wrong"),
        handle(http::Request{.method = "POST", .target = "/v1/leases", .headers = {}, .body = "{}"})}) {
    ASSERT_NE(response.headers.find("Date"), nullptr) << response.status;
    EXPECT_EQ(*response.headers.find("Date"), "Tue, 14 Nov 2023 22:13:20 GMT");
  }
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
  auto declare_anew = [&](const hubapi::InviteToken& with, std::string_view host) {
    agent_ = SecretKey::generate(random_).public_key();
    auto response = declare(with, host);
    leases_.end_agent(agent_);  // the cap on leases is not in question
    return response;
  };
  for (uint32_t i = 0; i < DeclarationLimits::kInviteBurst; ++i)
    ASSERT_EQ(declare_anew(token, "x.a.eu").status, 200) << i;
  auto refused = declare_anew(token, "x.a.eu");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(error_code(refused), "rate_limited");
  EXPECT_NE(refused.headers.find("Retry-After"), nullptr);
  EXPECT_EQ(api_->counters().rate_limited, 1u);
  EXPECT_EQ(declare_anew(other, "x.b.eu").status, 200) << "one tenant's flood is not another's";
  now_ += DeclarationLimits::kInviteInterval;
  EXPECT_EQ(declare_anew(token, "x.a.eu").status, 200);
  EXPECT_EQ(declare_anew(token, "x.a.eu").status, 429);
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
    ASSERT_TRUE(leases_.table()->serves(busy));
  }
  EXPECT_FALSE(leases_.table()->serves(calm));
}

TEST_F(ApiTest, ASourceOfRefusalsIsStoppedBeforeItsSignatureIsVerified) {
  auto token = invite();
  ASSERT_EQ(declare(token).status, 200);
  const EndpointId holder = agent_;
  agent_ = SecretKey::generate(random_).public_key();
  const SecretKey stranger = SecretKey::generate(random_);
  auto attack = [&] { return handle(signed_request(hubapi::encode(declaration(token)), stranger, g_wall)); };
  for (uint32_t i = 0; i < DeclarationLimits::kSourceBurst; ++i) ASSERT_EQ(attack().status, 401) << i;
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
  now_ += DeclarationLimits::kSourceInterval;
  EXPECT_EQ(attack().status, 401) << "the port is not part of the source";
  EXPECT_EQ(attack().status, 429);
}

TEST_F(ApiTest, ATokenThatIsRefusedForeverIsLimitedAsWell) {
  auto token = invite();
  ASSERT_EQ(call("DELETE", "/v1/invites/" + to_base64url(token.invite_id)).status, 200);
  for (uint32_t i = 0; i < DeclarationLimits::kSourceBurst; ++i) ASSERT_EQ(declare(token).status, 401) << i;
  EXPECT_EQ(declare(token).status, 429) << "before the database is read";
}

TEST_F(ApiTest, SourcesOfRefusalsAreBounded) {
  auto refuse = [&](uint32_t n) {
    client_ = SocketAddr::v4({10, uint8_t(n >> 16), uint8_t(n >> 8), uint8_t(n)}, 1);
    return handle(http::Request{.method = "POST", .target = "/v1/leases", .headers = {}, .body = "{}"})
        .status;
  };
  for (uint32_t n = 0; n < 3 * DeclarationLimits::kMaxSources; ++n) {
    ASSERT_EQ(refuse(n), 400);
    ASSERT_LE(api_->counted_sources(), DeclarationLimits::kMaxSources);
  }
}

TEST_F(ApiTest, StrangersCannotUseUpATenantsRate) {
  auto token = invite();
  for (int i = 0; i < 100; ++i) {
    auto response =
        handle(signed_request(hubapi::encode(declaration(token)), SecretKey::generate(random_), g_wall));
    ASSERT_EQ(response.status, 401);
  }
  EXPECT_EQ(declare(token).status, 200);
}

// docs/protocol.md states these to those who write agents.
TEST_F(ApiTest, TheRatesAreThoseOfTheProtocol) {
  static_assert(Leases::kMaxPerInvite == 64 && DeclarationLimits::kInviteBurst == 64 &&
                DeclarationLimits::kInviteInterval == 250ms);
  static_assert(Leases::kRenewBurst == 20 && Leases::kRenewInterval == 2s);
  static_assert(DeclarationLimits::kSourceBurst == 128 && DeclarationLimits::kSourceInterval == 250ms);
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
}

TEST_F(ApiTest, ARevocationThatIsNotStoredCutsAtOnce) {
  auto token = invite();
  ASSERT_EQ(declare(token).status, 200);
  ASSERT_EQ(leases_.size(), 1u);
  const std::string path = "/v1/invites/" + to_base64url(token.invite_id);
  {
    FullDisk full;
    auto response = call("DELETE", path);
    EXPECT_EQ(response.status, 507);
    EXPECT_EQ(error_code(response), "not_stored");
    EXPECT_EQ(leases_.size(), 0u);
    EXPECT_EQ(error_code(declare(token)), "invite_revoked");
    auto listed = call("GET", "/v1/invites");
    EXPECT_NE(listed.body.find("\"status\":\"revoked\""), std::string::npos) << listed.body;
    EXPECT_EQ(call("DELETE", "/v1/invites/" + to_base64url(InviteId{})).status, 404);
  }
  EXPECT_EQ(call("DELETE", path).status, 200) << "repeating it stores it";
  EXPECT_EQ(call("DELETE", path).status, 404);
}

TEST_F(ApiTest, FailsClosedWhenTheDatabaseDoes) {
  auto token = invite();
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open((directory_ / "hub.db").c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "DROP TABLE invite_hostnames", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(other);
  auto response = call("POST", "/v1/invites", R"({"hostnames":["b.eu"]})");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(error_code(response), "storage");
  EXPECT_EQ(response.body.find("invite_hostnames"), std::string::npos) << "details are for the log";
  EXPECT_EQ(parse(call("GET", "/v1/invites")).at("invites").as_array().size(), 1u);
  EXPECT_EQ(declare(token).status, 200) << "what is known is in memory";
}

}  // namespace
}  // namespace culvert::hub
