#include <sqlite3.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <set>

#include "base/full_disk.h"
#include "hub/api_fixture.h"
#include "hub/invite_record.h"
#include "hub/page.h"
#include "hubapi/hub_client.h"

namespace culvert::hub {
namespace {

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
  for (const Case& c :
       {Case{"POST", "/v1/health", "GET"}, Case{"HEAD", "/v1/health", "GET"},
        Case{"GET", "/v1/leases", "POST"}, Case{"PUT", "/v1/invites", "GET, POST"},
        Case{"POST", "/v1/invites/x", "GET, PATCH, DELETE"}, Case{"get", "/v1/health", "GET"}}) {
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
  for (const char* scheme : {"bearer", "BEARER"}) {
    http::Request any_case{.method = "GET", .target = "/v1/invites", .headers = {}, .body = {}};
    any_case.headers.add("Authorization", std::string(scheme) + " operator-secret");
    EXPECT_EQ(handle(any_case).status, 200) << scheme;
  }
}

TEST_F(ApiTest, WrongKeysAreLimitedByTheirSourceAndRightOnesAreNot) {
  const auto ask = [&](const char* key) { return call("GET", "/v1/invites", "", key); };
  for (uint32_t i = 0; i < RequestLimits::kSourceBurst; ++i) ASSERT_EQ(ask("wrong").status, 401) << i;
  auto limited = ask("wrong");
  EXPECT_EQ(limited.status, 429);
  EXPECT_EQ(error_code(limited), "rate_limited");
  EXPECT_NE(limited.headers.find("Retry-After"), nullptr);
  EXPECT_EQ(ask(kOperatorKey).status, 200) << "others behind the address lock no operator out";
  EXPECT_EQ(ask("wrong").status, 429) << "nor does a right key let others guess on";
  client_ = SocketAddr::v4({192, 0, 2, 51}, 1234);
  EXPECT_EQ(ask("wrong").status, 401);
  client_ = SocketAddr::v4({192, 0, 2, 50}, 1234);
  now_ += RequestLimits::kSourceInterval;
  EXPECT_EQ(ask("wrong").status, 401);
  EXPECT_EQ(ask("wrong").status, 429);
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
  auto kept = state_.invites.find(token->invite_id);
  ASSERT_TRUE(kept && *kept != nullptr);
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
  api_.emplace(config_, state_, *ledger_, *edge_sessions_, certificate_feed_, random, [] {});
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

TEST_F(ApiTest, AnInviteThatEndsAfterNoSecondsNeverEnds) {
  auto body = parse(call("POST", "/v1/invites", R"({"hostnames":["a.eu"],"expires_in_secs":0})"));
  EXPECT_TRUE(body.at("expires_at").is_null());
  g_wall += 24h * 365;
  EXPECT_NE(call("GET", "/v1/invites").body.find(R"("status":"live")"), std::string::npos);
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
  const auto tenants = parse(call("GET", "/v1/tenants"));
  EXPECT_EQ(tenants.at("tenants"), body.at("invites")) << "one invite, one tenant";
  EXPECT_FALSE(tenants.contains("invites"));
  auto rest = parse(call("GET", "/v1/invites?after=" + to_base64url(live.invite_id)));
  EXPECT_EQ(rest.at("invites").as_array().size(), 2u);
  EXPECT_EQ(call("GET", "/v1/invites?after=" + to_base64url(InviteId{})).status, 404);
  EXPECT_EQ(call("GET", "/v1/invites?after=x").status, 400);
  EXPECT_EQ(call("GET", "/v1/invites?limit=3").status, 400);
}

TEST_F(ApiTest, RevokesAtOnceAndFreesTheNames) {
  auto token = invite();
  ASSERT_EQ(declare(token).status, 200);
  ASSERT_NE(leases_.snapshot()->match("x.a.eu"), nullptr);
  std::string path = "/v1/invites/" + to_base64url(token.invite_id);
  auto response = call("DELETE", path);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(parse(response).at("status").as_string(), "revoked");
  EXPECT_EQ(leases_.snapshot()->match("x.a.eu"), nullptr);
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

TEST_F(ApiTest, ARevocationThatASlowDatabaseDoesNotStoreSaysSo) {
  open({.answer_time = 500ms});  // the invite is stored in less, also on a busy machine
  auto token = invite();
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open((directory_ / "hub.db").c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "BEGIN EXCLUSIVE", nullptr, nullptr, nullptr), SQLITE_OK);
  auto response = call("DELETE", "/v1/invites/" + to_base64url(token.invite_id));
  sqlite3_close(other);
  EXPECT_EQ(response.status, 507);
  EXPECT_NE(response.body.find("slow or locked"), std::string::npos) << response.body;
  EXPECT_EQ(response.body.find("disk"), std::string::npos) << response.body;
}

TEST_F(ApiTest, FailsClosedWhenTheDatabaseDoes) {
  auto token = invite();
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open((directory_ / "hub.db").c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "DROP TABLE records", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(other);
  auto response = call("POST", "/v1/invites", R"({"hostnames":["b.eu"]})");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(error_code(response), "storage");
  EXPECT_EQ(ledger_->counters().refused, 1u);
  EXPECT_EQ(response.body.find("records"), std::string::npos) << "details are for the log";
  EXPECT_EQ(parse(call("GET", "/v1/invites")).at("invites").as_array().size(), 1u);
  EXPECT_EQ(declare(token).status, 200) << "what is known is in memory";
}

class OperatorApiTest : public ApiTest {
 protected:
  std::string path_of(const hubapi::InviteToken& token) {
    return "/v1/invites/" + to_base64url(token.invite_id);
  }
  std::string create_key(std::string_view name, std::string_view role) {
    auto response =
        call("POST", "/v1/operator-keys", fmt::format(R"({{"name":"{}","role":"{}"}})", name, role));
    EXPECT_EQ(response.status, 200) << response.body;
    return std::string(parse(response).at("key").as_string());
  }
  json::array audit(std::string_view query = "") {
    return parse(call("GET", fmt::format("/v1/audit{}", query))).at("entries").as_array();
  }
};

TEST_F(OperatorApiTest, AChangeOfAnInviteAppliesToItsAgentsAtOnce) {
  auto token = invite(R"({"name":"home","hostnames":["*.a.eu","b.eu"]})");
  ASSERT_EQ(declare(token, "x.a.eu").status, 200);
  ASSERT_EQ(leases_.size(), 1u);
  auto changed =
      call("PATCH", path_of(token),
           R"({"name":"work","add_hostnames":["c.eu"],"remove_hostnames":["*.a.eu"],"expires_in_secs":60})");
  ASSERT_EQ(changed.status, 200) << changed.body;
  auto body = parse(changed);
  EXPECT_EQ(body.at("name").as_string(), "work");
  EXPECT_EQ(json::serialize(body.at("hostnames")), R"(["b.eu","c.eu"])");
  EXPECT_EQ(body.at("expires_at").as_int64(), 1'700'000'060);
  EXPECT_EQ(leases_.size(), 0u) << "what is not granted any more is not served";
  EXPECT_EQ(call("GET", path_of(token)).body, changed.body);
  EXPECT_EQ(call("GET", "/v1/tenants/" + token.tenant_key.public_key().to_string()).body, changed.body);
  EXPECT_EQ(parse(call("PATCH", path_of(token), R"({"expires_in_secs":null})")).at("expires_at"), nullptr);
  ASSERT_EQ(call("PATCH", path_of(token), R"({"expires_in_secs":60})").status, 200);
  EXPECT_EQ(parse(call("PATCH", path_of(token), R"({"expires_in_secs":0})")).at("expires_at"), nullptr);
  invite(R"({"hostnames":["*.a.eu"]})");  // is free again
  EXPECT_EQ(error_code(call("PATCH", path_of(token), R"({"add_hostnames":["x.a.eu"]})")),
            "hostname_conflict");
  open({});
  EXPECT_EQ(json::serialize(parse(call("GET", path_of(token))).at("hostnames")), R"(["b.eu","c.eu"])")
      << "it is stored";
}

TEST_F(OperatorApiTest, QuotasAndPortsAreSetShownAndStored) {
  auto token =
      invite(R"({"hostnames":["*.a.eu"],"max_agents":2,"max_connections":100,"ports":["25","2000-2999"]})");
  auto shown = parse(call("GET", path_of(token)));
  EXPECT_EQ(shown.at("max_agents").as_int64(), 2);
  EXPECT_EQ(shown.at("max_hostnames"), nullptr) << "as the hub's default";
  EXPECT_EQ(json::serialize(shown.at("ports")), R"(["25","2000-2999"])");
  shown = parse(call("PATCH", path_of(token), R"({"max_agents":null,"max_udp_ports":0,"ports":[]})"));
  EXPECT_EQ(shown.at("max_agents"), nullptr);
  EXPECT_EQ(shown.at("max_udp_ports").as_int64(), 0);
  EXPECT_EQ(shown.at("max_connections").as_int64(), 100) << "what is not named stays";
  EXPECT_TRUE(shown.at("ports").as_array().empty());
  ASSERT_EQ(declare(token).status, 200);
  EXPECT_EQ(leases_.snapshot()->match("x.a.eu")->own_limits.connections, 100u);
  ASSERT_EQ(call("PATCH", path_of(token), R"({"max_connections":50})").status, 200);
  EXPECT_EQ(leases_.snapshot()->match("x.a.eu")->own_limits.connections, 50u) << "at once";
  open({});
  EXPECT_EQ(parse(call("GET", path_of(token))).at("max_udp_ports").as_int64(), 0);
  for (const char* bad :
       {R"({"max_agents":0})", R"({"max_agents":65})", R"({"max_agents":"2"})", R"({"max_tcp_ports":-1})",
        R"({"ports":"25"})", R"({"ports":["0"]})", R"({"ports":["30-20"]})", R"({"ports":[25]})",
        R"({"max_things":1})", R"({"allow_overlap":1})"}) {
    EXPECT_EQ(call("PATCH", path_of(token), bad).status, 400) << bad;
  }
}

TEST_F(OperatorApiTest, LimitsOfATenantAtTheEdgesGoIntoItsRoutesAtOnce) {
  auto token = invite(R"({"hostnames":["*.a.eu"],"max_bandwidth":1000000,"max_new_connections":20})");
  ASSERT_EQ(declare(token).status, 200);
  EXPECT_EQ(leases_.snapshot()->match("x.a.eu")->own_limits,
            (route::OwnLimits{.connections_per_second = 20, .bytes_per_second = 1'000'000}));
  (void)leases_.take_delta();
  auto shown = parse(call("PATCH", path_of(token),
                          R"({"max_bandwidth":4000000000,"max_new_connections":null,"max_udp_flows":7})"));
  EXPECT_EQ(shown.at("max_bandwidth").as_int64(), 4'000'000'000);
  EXPECT_EQ(shown.at("max_new_connections"), nullptr);
  EXPECT_EQ(shown.at("max_udp_flows").as_int64(), 7);
  const route::OwnLimits changed{.bytes_per_second = 4'000'000'000, .udp_flows = 7};
  const auto delta = leases_.take_delta();
  ASSERT_TRUE(delta && delta->upserts.size() == 1);
  EXPECT_EQ(delta->upserts[0].own_limits, changed);
  open({});
  ASSERT_EQ(declare(token).status, 200);
  EXPECT_EQ(leases_.snapshot()->match("x.a.eu")->own_limits, changed) << "it is stored";
  for (const char* bad :
       {R"({"max_bandwidth":999})", R"({"max_bandwidth":4000000001})", R"({"max_bandwidth":"1M"})",
        R"({"max_new_connections":0})", R"({"max_new_connections":-1})", R"({"max_udp_flows":0})"}) {
    const auto refused = call("PATCH", path_of(token), bad);
    EXPECT_EQ(refused.status, 400) << bad;
    EXPECT_TRUE(refused.body.contains("is not an integer from")) << refused.body;
  }
}

TEST_F(OperatorApiTest, BadChangesAreNamedAndChangeNothing) {
  auto token = invite(R"({"hostnames":["a.eu"]})");
  const std::string before = call("GET", path_of(token)).body;
  for (const char* bad : {"", "{}", "[]", R"({"hostname":["b.eu"]})", R"({"hostnames":[]})",
                          R"({"remove_hostnames":["a.eu"]})", R"({"remove_hostnames":["b.eu"]})",
                          R"({"add_hostnames":["b.eu","b.eu"]})", R"({"add_hostnames":[1]})",
                          R"({"hostnames":["b.eu"],"add_hostnames":["c.eu"]})", R"({"expires_in_secs":-1})",
                          R"({"suspended":1})", R"({"name":""})", R"({"add_hostnames":["hub.example"]})"}) {
    auto response = call("PATCH", path_of(token), bad);
    EXPECT_EQ(response.status, 400) << bad << ' ' << response.body;
  }
  EXPECT_EQ(call("GET", path_of(token)).body, before);
  EXPECT_EQ(call("PATCH", "/v1/invites/" + to_base64url(InviteId{}), R"({"name":"x"})").status, 404);
  EXPECT_EQ(call("PATCH", "/v1/invites/nonsense", R"({"name":"x"})").status, 404);
  EXPECT_EQ(call("DELETE", path_of(token)).status, 200);
  EXPECT_EQ(call("PATCH", path_of(token), R"({"name":"x"})").status, 404) << "revoked";
}

TEST_F(OperatorApiTest, ASuspendedTenantKeepsItsLeasesAndIsNotServed) {
  auto token = invite();
  ASSERT_EQ(declare(token).status, 200);
  (void)leases_.take_delta();
  ASSERT_EQ(call("PATCH", path_of(token), R"({"suspended":true})").status, 200);
  EXPECT_EQ(parse(call("GET", path_of(token))).at("status").as_string(), "suspended");
  auto delta = leases_.take_delta();
  ASSERT_TRUE(delta && delta->upserts.size() == 1);
  EXPECT_TRUE(delta->upserts[0].is_suspended);
  EXPECT_EQ(leases_.size(), 1u);
  auto renewed = declare(token);
  EXPECT_EQ(renewed.status, 200);
  EXPECT_TRUE(hubapi::decode_lease_answer(renewed.body)->is_suspended) << "the agent is told";
  EXPECT_FALSE(leases_.take_delta());
  agent_ = SecretKey::generate(random_).public_key();
  EXPECT_EQ(declare(token, "new.a.eu").status, 200);
  EXPECT_TRUE(leases_.take_delta()->upserts[0].is_suspended) << "nor is what it declares now";
  ASSERT_EQ(call("PATCH", path_of(token), R"({"suspended":false})").status, 200);
  delta = leases_.take_delta();
  ASSERT_TRUE(delta && delta->upserts.size() == 2);
  EXPECT_FALSE(delta->upserts[0].is_suspended || delta->upserts[1].is_suspended);
}

TEST_F(OperatorApiTest, KeysHaveRolesAndAreShownOnce) {
  const std::string admin = create_key("ops", "admin"), reader = create_key("grafana", "read-only");
  EXPECT_EQ(call("GET", "/v1/invites", "", reader).status, 200);
  auto forbidden = call("POST", "/v1/invites", R"({"hostnames":["a.eu"]})", reader);
  EXPECT_EQ(forbidden.status, 403);
  EXPECT_EQ(error_code(forbidden), "read_only");
  EXPECT_EQ(call("POST", "/v1/invites", R"({"hostnames":["a.eu"]})", admin).status, 200);
  auto listed = call("GET", "/v1/operator-keys");
  EXPECT_EQ(parse(listed).at("keys").as_array().size(), 2u);
  for (const std::string& key : {admin, reader}) EXPECT_EQ(listed.body.find(key), std::string::npos);
  EXPECT_EQ(error_code(call("POST", "/v1/operator-keys", R"({"name":"ops"})")), "name_conflict");
  open({});
  EXPECT_EQ(call("GET", "/v1/invites", "", reader).status, 200) << "they are stored";
  EXPECT_EQ(call("DELETE", "/v1/operator-keys/ops", "", admin).status, 200) << "a key may revoke itself";
  EXPECT_EQ(call("GET", "/v1/invites", "", admin).status, 401);
  EXPECT_EQ(call("DELETE", "/v1/operator-keys/ops").status, 404);
  EXPECT_EQ(call("GET", "/v1/invites", "", reader).status, 200);
  for (const char* bad :
       {"{}", R"({"name":""})", R"({"name":"a b"})", R"({"name":"-a"})", R"({"name":"a/b"})",
        R"({"name":"operator.key"})", R"({"name":"x","role":"root"})", R"({"name":"x","x":1})"}) {
    EXPECT_EQ(call("POST", "/v1/operator-keys", bad).status, 400) << bad;
  }
}

// Also by a route that is added later.
TEST_F(OperatorApiTest, AReadOnlyKeyChangesNothingAndReadsAll) {
  const std::set<std::string_view> others = {"/v1/leases",
                                             "/v1/edges/self",
                                             "/v1/edges/self/tunnels",
                                             "/v1/edges/self/routes",
                                             "/v1/edges/self/certificates",
                                             "/v1/entries"};
  auto token = invite();
  const std::string reader = create_key("reader", "read-only");
  const uint64_t revision = ledger_->revision();
  size_t changes = 0, reads = 0;
  for (const auto& [method, pattern] : api_->entries()) {
    const bool is_read = method == "GET";
    if (others.contains(pattern) && !(is_read && pattern == "/v1/entries")) continue;
    std::string path = pattern;
    if (path.ends_with("/*")) path.replace(path.size() - 1, 1, invite_key(token.invite_id));
    const auto answer = call(method, path, "{}", reader);
    if (is_read) {
      ++reads;
      EXPECT_TRUE(answer.status == 200 || answer.status == 404 || answer.status == 400)
          << path << answer.body;
    } else {
      ++changes;
      EXPECT_EQ(answer.status, 403) << method << ' ' << path;
      EXPECT_EQ(error_code(answer), "read_only") << method << ' ' << path;
    }
  }
  EXPECT_GE(changes, 11u);
  EXPECT_GE(reads, 15u);
  EXPECT_EQ(ledger_->revision(), revision);
  EXPECT_EQ(parse(call("GET", path_of(token))).at("status").as_string(), "live");
}

TEST_F(OperatorApiTest, EveryChangeIsInTheAuditLog) {
  const std::string admin = create_key("ops", "admin");
  auto created = call("POST", "/v1/invites", R"({"name":"home","hostnames":["a.eu"]})", admin);
  const std::string id(parse(created).at("invite_id").as_string());
  ASSERT_EQ(call("PATCH", "/v1/invites/" + id, R"({"suspended":true})", admin).status, 200);
  ASSERT_EQ(call("DELETE", "/v1/invites/" + id).status, 200);
  ASSERT_EQ(call("DELETE", "/v1/operator-keys/ops").status, 200);
  const json::array entries = audit();
  std::vector<std::string> seen;
  for (const json::value& entry : entries) {
    seen.push_back(fmt::format("{} {} {}", std::string_view(entry.at("actor").as_string()),
                               std::string_view(entry.at("action").as_string()),
                               entry.at("subject").as_string() == "ops" ? "ops" : "invite"));
  }
  EXPECT_EQ(seen,
            (std::vector<std::string>{"operator.key operator-key.revoke ops",
                                      "operator.key invite.revoke invite", "ops invite.change invite",
                                      "ops invite.create invite", "operator.key operator-key.create ops"}));
  EXPECT_EQ(entries[2].at("before").at("status").as_string(), "live");
  EXPECT_EQ(entries[2].at("after").at("status").as_string(), "suspended");
  EXPECT_EQ(entries[2].at("subject").as_string(), id);
  EXPECT_EQ(audit("?after=3").size(), 2u);
  EXPECT_EQ(call("GET", "/v1/audit?after=x").status, 400);
  EXPECT_EQ(call("GET", "/v1/audit?before=1").status, 400);
  const std::string all = call("GET", "/v1/audit").body;
  EXPECT_EQ(all.find(admin), std::string::npos);
  EXPECT_EQ(all.find("secret"), std::string::npos) << "not even a hash of it";
}

TEST_F(OperatorApiTest, TheAuditLogIsSearched) {
  const std::string ops = create_key("ops", "admin");
  g_wall += 100s;
  auto created = call("POST", "/v1/invites", R"({"name":"home","hostnames":["a.eu"]})", ops);
  const std::string id(parse(created).at("invite_id").as_string());
  ASSERT_EQ(call("PATCH", "/v1/invites/" + id, R"({"suspended":true})").status, 200);
  EXPECT_EQ(audit().size(), 3u);
  EXPECT_EQ(audit("?actor=ops").size(), 1u);
  EXPECT_EQ(audit("?actor=op").size(), 0u) << "not a part of a name";
  EXPECT_EQ(audit("?action=invite").size(), 2u);
  EXPECT_EQ(audit("?action=invite.change").size(), 1u);
  EXPECT_EQ(audit("?action=invite.ch").size(), 0u);
  EXPECT_EQ(audit("?subject=" + id).size(), 2u);
  EXPECT_EQ(audit("?since=1700000100").size(), 2u);
  EXPECT_EQ(audit("?newer=1").size(), 2u);
  EXPECT_EQ(audit("?newer=1&actor=operator.key&subject=" + id).size(), 1u);
  EXPECT_EQ(parse(call("GET", "/v1/audit?actor=nobody")).at("newest").to_number<int>(), 3);
  // A clock that was set back hides no later entry.
  g_wall -= 1h;
  (void)create_key("late", "admin");
  EXPECT_EQ(audit("?since=1700000100").size(), 2u);
  for (const char* bad : {"?wait=1", "?newer=1&wait=11", "?newer=x", "?since=-1", "?actor=", "?who=ops"})
    EXPECT_EQ(call("GET", fmt::format("/v1/audit{}", bad)).status, 400) << bad;
}

TEST_F(OperatorApiTest, ALongAuditLogIsLookedThroughInPieces) {
  constexpr size_t kEntries = AuditHandler::kMaxScanned + 2 * Page::kMaxEntries;
  auto written = run_task(
      loop_, ledger_->commit({.touches = {}, .judge = [&]() -> Result<Batch> {
                                Batch batch;
                                for (size_t i = 0; i < kEntries; ++i) {
                                  batch.audit.push_back(
                                      {.at = g_wall, .actor = i < 3 ? "first" : "other", .action = "x"});
                                }
                                return batch;
                              }}));
  ASSERT_TRUE(written);
  const auto all = [&](std::string query) {
    size_t found = 0, pages = 0;
    for (std::string after; pages < 100; ++pages) {
      const auto body = parse(call("GET", fmt::format("/v1/audit?{}{}", query, after)));
      found += body.at("entries").as_array().size();
      EXPECT_LE(body.at("entries").as_array().size(), Page::kMaxEntries);
      if (!body.contains("next")) break;
      after = "&after=" + std::string(body.at("next").as_string());
    }
    return std::pair(found, pages);
  };
  EXPECT_EQ(all("actor=first"), std::pair(size_t{3}, size_t{1})) << "the first answer is an empty piece";
  EXPECT_EQ(all("actor=other").first, kEntries - 3);
  EXPECT_EQ(all("newer=0").first, kEntries);
  EXPECT_EQ(all(fmt::format("newer={}", kEntries - 1)), std::pair(size_t{1}, size_t{0}));
}

// `audit list --follow` asks again and again.
TEST_F(OperatorApiTest, FollowingTheAuditLogWaitsForTheNextEntry) {
  (void)create_key("one", "admin");
  http::testing::MemoryExchange waiting(
      http::Request{.method = "GET", .target = "/v1/audit?newer=1&wait=10", .headers = {}, .body = {}});
  waiting.request.headers.add("Authorization", std::string("Bearer ") + kOperatorKey);
  waiting.now = loop_.now();
  net::TaskGroup tasks(loop_);
  tasks.spawn(api_->handle(waiting));
  for (int i = 0; i < 100; ++i) (void)loop_.run_ready();
  EXPECT_FALSE(waiting.has_answered());
  (void)create_key("two", "admin");
  net::testing::run_until(loop_, [&] { return tasks.size() == 0; });
  description_.check(waiting.request, waiting.response);
  const auto body = parse(waiting.response);
  ASSERT_EQ(body.at("entries").as_array().size(), 1u);
  EXPECT_EQ(body.at("entries").at(0).at("subject").as_string(), "two");
  EXPECT_EQ(body.at("newest").to_number<int>(), 2);

  http::Request late{.method = "GET", .target = "/v1/audit?newer=2&wait=1", .headers = {}, .body = {}};
  late.headers.add("Authorization", std::string("Bearer ") + kOperatorKey);
  const auto nothing = parse(handle(std::move(late), loop_.now() - 1s));
  EXPECT_EQ(nothing.at("entries").as_array().size(), 0u);
  EXPECT_EQ(nothing.at("newest").to_number<int>(), 2);
}

TEST_F(OperatorApiTest, AHubThatEndsAnswersThoseThatWait) {
  http::testing::MemoryExchange waiting(
      http::Request{.method = "GET", .target = "/v1/audit?newer=0&wait=10", .headers = {}, .body = {}});
  waiting.request.headers.add("Authorization", std::string("Bearer ") + kOperatorKey);
  waiting.now = loop_.now();
  net::TaskGroup tasks(loop_);
  tasks.spawn(api_->handle(waiting));
  for (int i = 0; i < 100; ++i) (void)loop_.run_ready();
  ledger_->close();
  net::testing::run_until(loop_, [&] { return tasks.size() == 0; });
  EXPECT_EQ(waiting.response.status, 200);
  EXPECT_EQ(parse(waiting.response).at("entries").as_array().size(), 0u);
}

TEST_F(OperatorApiTest, AgentsAndRoutesAreListed) {
  auto token = invite();
  ASSERT_EQ(declare(token).status, 200);
  auto agents = parse(call("GET", "/v1/agents")).at("agents").as_array();
  ASSERT_EQ(agents.size(), 1u);
  EXPECT_EQ(agents[0].at("agent_id").as_string(), agent_.to_string());
  EXPECT_EQ(agents[0].at("invite_id").as_string(), to_base64url(token.invite_id));
  EXPECT_EQ(agents[0].at("lease_ends_in_secs").as_int64(), 90);
  auto routes = parse(call("GET", "/v1/routes")).at("routes").as_array();
  ASSERT_EQ(routes.size(), 1u);
  EXPECT_EQ(routes[0].at("hostname").as_string(), "x.a.eu");
  EXPECT_EQ(routes[0].at("agents").at(0).as_string(), agent_.to_string());
  EXPECT_TRUE(parse(call("GET", "/v1/routes?after=x.a.eu")).at("routes").as_array().empty());
  EXPECT_TRUE(parse(call("GET", "/v1/routes?after=X.A%2Eeu")).at("routes").as_array().empty());
  EXPECT_EQ(parse(call("GET", "/v1/routes?after=%2A.a.eu")).at("routes").as_array().size(), 1u);
  for (const char* bad : {"/v1/agents?after=x", "/v1/routes?after=no%20name", "/v1/routes?after=%2"})
    EXPECT_EQ(call("GET", bad).status, 400) << bad;
}

TEST_F(OperatorApiTest, OneRouteIsFoundByPatternOrHostname) {
  auto token = invite(R"({"hostnames":["*.a.eu"]})");
  ASSERT_EQ(declare(token, "x.a.eu").status, 200);
  agent_ = SecretKey::generate(random_).public_key();
  ASSERT_EQ(declare(token, "*.a.eu").status, 200);
  const auto shown = [&](const char* name) {
    auto response = call("GET", std::string("/v1/routes/") + name);
    return response.status == 200 ? std::string(parse(response).at("hostname").as_string())
                                  : error_code(response);
  };
  EXPECT_EQ(shown("x.a.eu"), "x.a.eu");
  EXPECT_EQ(shown("X.A.EU"), "x.a.eu");
  EXPECT_EQ(shown("y.a.eu"), "*.a.eu") << "the one that serves it";
  EXPECT_EQ(shown("*.a.eu"), "*.a.eu");
  EXPECT_EQ(shown("%2A.a.eu"), "*.a.eu") << "as libraries encode it";
  EXPECT_EQ(shown("%2A.a.eu%"), "invalid_request");
  EXPECT_EQ(shown("x.y.a.eu"), "not_found");
  EXPECT_EQ(shown("*.b.eu"), "not_found");
  EXPECT_EQ(shown("no name"), "invalid_request");
  EXPECT_EQ(shown(""), "invalid_request");
}

TEST_F(OperatorApiTest, TheStatusSaysWhatThereIs) {
  auto token = invite();
  auto suspended = invite(R"({"hostnames":["s.eu"]})");
  auto revoked = invite(R"({"hostnames":["r.eu"]})");
  ASSERT_EQ(declare(token).status, 200);
  ASSERT_EQ(call("PATCH", path_of(suspended), R"({"suspended":true})").status, 200);
  ASSERT_EQ(call("DELETE", path_of(revoked)).status, 200);
  (void)create_key("ops", "read-only");
  g_wall += 5s;
  const auto body = parse(call("GET", "/v1/status"));
  EXPECT_EQ(body.at("status").as_string(), "ok");
  EXPECT_EQ(body.at("started_at").as_int64(), 1'700'000'000);
  EXPECT_EQ(json::serialize(body.at("urls")), R"(["https://hub.example:8443"])");
  for (const auto& [member, count] :
       {std::pair{"tenants", 2}, std::pair{"suspended_tenants", 1}, std::pair{"agents", 1},
        std::pair{"routes", 1}, std::pair{"edges", 1}, std::pair{"operator_keys", 1}}) {
    EXPECT_EQ(body.at(member).to_number<int>(), count) << member;
  }
  EXPECT_EQ(body.at("database").as_string(), "ok");
  EXPECT_TRUE(body.at("warnings").as_array().empty());
}

// Agents are served all the same: no load balancer may take it for dead.
TEST_F(OperatorApiTest, ADatabaseThatFailsIsAFaultUntilItWritesAgain) {
  open({.retry = 1ms});
  auto token = invite();
  {
    FullDisk full;
    EXPECT_EQ(call("DELETE", path_of(token)).status, 507);
    const auto health = call("GET", "/v1/health", "", std::nullopt);
    EXPECT_EQ(health.status, 200);
    EXPECT_EQ(parse(health).at("status").as_string(), "degraded");
    EXPECT_EQ(parse(health).at("faults").as_array().size(), 2u) << "and a revocation that is not stored";
    EXPECT_EQ(health.body.find("hub.db"), std::string::npos) << "nothing of the machine for anyone";
    const auto status = parse(call("GET", "/v1/status"));
    EXPECT_EQ(status.at("database").as_string(), "failing");
    EXPECT_TRUE(status.contains("database_failing_since"));
    EXPECT_NE(json::serialize(status.at("warnings")).find("the database said"), std::string::npos);
  }
  net::testing::run_until(loop_, [&] { return !ledger_->failure(); });
  EXPECT_EQ(parse(call("GET", "/v1/health")).at("status").as_string(), "ok");
  EXPECT_EQ(parse(call("GET", "/v1/status")).at("database").as_string(), "ok");
}

TEST_F(OperatorApiTest, ADamagedInviteIsAFaultAndNamedUntilItIsRevoked) {
  auto token = invite();
  const std::string id = invite_key(token.invite_id);
  state_.apply(std::vector{Record{.kind = std::string(kInviteKind), .key = id, .body = "{"}}, now_, g_wall);
  const auto health = call("GET", "/v1/health", "", std::nullopt);
  EXPECT_EQ(health.status, 200);
  EXPECT_EQ(parse(health).at("status").as_string(), "degraded");
  EXPECT_NE(health.body.find("1 invites are damaged"), std::string::npos) << health.body;
  EXPECT_EQ(health.body.find(id), std::string::npos) << "anyone may ask";
  EXPECT_NE(json::serialize(parse(call("GET", "/v1/status")).at("warnings")).find(id), std::string::npos);
  auto refused = call("POST", "/v1/invites", R"({"hostnames":["b.eu"]})");
  EXPECT_EQ(refused.status, 409);
  EXPECT_NE(refused.body.find(id), std::string::npos) << refused.body;
  EXPECT_EQ(parse(refused).at("error").at("hint").as_string(), "revoke it");
  ASSERT_EQ(call("DELETE", "/v1/invites/" + id).status, 200);
  EXPECT_EQ(parse(call("GET", "/v1/health")).at("status").as_string(), "ok");
  EXPECT_EQ(call("POST", "/v1/invites", R"({"hostnames":["b.eu"]})").status, 200);
}

TEST_F(OperatorApiTest, AReloadSaysWhatBecameOfIt) {
  EXPECT_EQ(error_code(call("POST", "/v1/reload")), "not_found") << "a hub that has no file";
  Result<ReloadReport> outcome =
      ReloadReport{.changed = {"log.level: debug, was info"}, .needs_restart = {"x"}};
  config_.reload = [&] { return outcome; };
  auto done = call("POST", "/v1/reload");
  ASSERT_EQ(done.status, 200) << done.body;
  EXPECT_EQ(json::serialize(parse(done).at("changed")), R"(["log.level: debug, was info"])");
  EXPECT_EQ(json::serialize(parse(done).at("needs_restart")), R"(["x"])");
  EXPECT_EQ(audit()[0].at("action").as_string(), "config.reload");
  outcome = fail(ErrorCode::kInvalid, "node.toml:3:1: is unknown");
  auto refused = call("POST", "/v1/reload");
  EXPECT_EQ(refused.status, 422);
  EXPECT_NE(refused.body.find("node.toml:3:1"), std::string::npos);
  EXPECT_EQ(audit().size(), 1u);
  EXPECT_EQ(call("POST", "/v1/reload", "", create_key("looks", "read-only")).status, 403);
  net::TaskGroup tasks(loop_);
  tasks.spawn(api_->note_reload({.changed = {"log.level: info, was debug"}}));
  net::testing::run_until(loop_, [&] { return tasks.size() == 0; });
  EXPECT_EQ(audit()[0].at("actor").as_string(), "signal");
  EXPECT_EQ(json::serialize(audit()[0].at("after")),
            R"({"changed":["log.level: info, was debug"],"needs_restart":[]})");
}

TEST_F(OperatorApiTest, ListsHavePages) {
  auto token = invite();
  std::vector<hubapi::DeclaredService> services;
  for (size_t i = 0; i < hubapi::kMaxServices; ++i) {
    services.push_back(
        {*route::HostPattern::parse(fmt::format("h{:03}.a.eu", i)), route::TlsMode::kTerminate});
  }
  size_t declared = 0;
  while (declared <= 2 * Page::kMaxEntries) {
    for (auto& service : services)
      service.hostname = *route::HostPattern::parse(fmt::format("h{:05}.a.eu", declared++));
    agent_ = SecretKey::generate(random_).public_key();
    hubapi::Declaration more = declaration(token);
    more.services = services;
    ASSERT_EQ(handle(signed_request(hubapi::encode(more), token.tenant_key, g_wall)).status, 200);
  }
  size_t seen = 0, pages = 0;
  std::string path = "/v1/routes";
  while (true) {
    auto page = parse(call("GET", path));
    seen += page.at("routes").as_array().size();
    ++pages;
    const json::value* next = page.if_contains("next");
    if (next == nullptr) break;
    path = fmt::format("/v1/routes?after={}", to_percent(std::string_view(next->as_string())));
  }
  EXPECT_EQ(seen, declared);
  EXPECT_EQ(pages, 3u);
}

TEST_F(OperatorApiTest, RequestsAreNamedInTheirAnswers) {
  const auto id_for = [&](std::optional<std::string> given) {
    http::Request request{.method = "GET", .target = "/v1/health", .headers = {}, .body = {}};
    if (given) request.headers.add("X-Request-Id", *given);
    http::testing::MemoryExchange exchange(std::move(request));
    api_->prepare(exchange);
    return *exchange.always.find("x-request-id");
  };
  EXPECT_EQ(id_for("abc-1"), "abc-1");
  const std::string made = id_for(std::nullopt);
  EXPECT_EQ(made.size(), 32u);
  EXPECT_NE(id_for(std::nullopt), made);
  for (const std::string& bad :
       {std::string(""), std::string("a b"), std::string("a\x7f"), std::string(129, 'a')})
    EXPECT_EQ(id_for(bad).size(), 32u) << bad;
}

TEST_F(ApiTest, AFailureSaysWhatIsWrongAndWhatToDo) {
  invite(R"({"name":"home","hostnames":["a.eu"]})");
  auto response = call("POST", "/v1/invites", R"({"hostnames":["a.eu"]})");
  const json::object error = parse(response).at("error").as_object();
  EXPECT_EQ(error.at("message").as_string(), R"(hostname a.eu overlaps a.eu of the invite "home")");
  EXPECT_EQ(error.at("hint").as_string(), "revoke that one or choose another name");
  EXPECT_EQ(hubapi::error_from_response(response.status, response.body).message,
            R"(hostname a.eu overlaps a.eu of the invite "home"; revoke that one or choose another name)");
  EXPECT_FALSE(parse(call("GET", "/v1/nothing")).at("error").as_object().contains("hint"));
}

// Every answer of these tests is compared with the description as well (ApiTest::handle).
TEST_F(ApiTest, TheDescriptionHasWhatTheApiHasAndNothingElse) {
  std::set<std::string> has, described;
  for (const auto& [method, pattern] : api_->entries()) {
    std::string path = pattern;
    if (path.ends_with("/*")) path.replace(path.size() - 1, 1, "{id}");
    has.insert(method + " " + path);
  }
  for (const auto& [path, item] : description_.paths()) {
    for (const auto& [method, operation] : item.as_object()) {
      if (method == "parameters") continue;
      std::string upper(method);
      std::ranges::transform(upper, upper.begin(), [](char c) { return static_cast<char>(c - 'a' + 'A'); });
      described.insert(upper + " " + std::string(path));
    }
  }
  EXPECT_EQ(has, described);
  EXPECT_EQ(call("GET", "/v1/openapi.json", "", std::nullopt).body, openapi_json());
}

TEST_F(ApiTest, HealthSaysWhetherChangesCanBeStored) {
  open({.retry = 20ms, .check_interval = 20ms});
  EXPECT_EQ(parse(call("GET", "/v1/health")).at("status").as_string(), "ok");
  {
    const FullDisk full;
    const auto refused = call("POST", "/v1/invites", R"({"hostnames":["a.eu"]})");
    EXPECT_EQ(refused.status, 503);
    EXPECT_EQ(error_code(refused), "storage");
    const auto health = call("GET", "/v1/health", "", std::nullopt);
    EXPECT_EQ(health.status, 200) << "it serves";
    EXPECT_EQ(parse(health).at("status").as_string(), "degraded");
    EXPECT_EQ(parse(health).at("database").as_string(), "failing");
    EXPECT_EQ(health.body.find(directory_.native()), std::string::npos) << "anyone may ask";
  }
  net::testing::run_until(loop_, [&] { return !ledger_->is_failing(); });
  EXPECT_EQ(parse(call("GET", "/v1/health")).at("status").as_string(), "ok");
  EXPECT_EQ(call("POST", "/v1/invites", R"({"hostnames":["a.eu"]})").status, 200);
}

}  // namespace
}  // namespace culvert::hub
