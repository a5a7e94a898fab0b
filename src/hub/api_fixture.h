#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <optional>

#include "base/encoding.h"
#include "base/json.h"
#include "http/testing.h"
#include "hub/api.h"
#include "hub/ledger.h"
#include "hub/openapi_fixture.h"
#include "hub/record_store.h"
#include "hub/state.h"
#include "hubapi/token.h"
#include "net/testing.h"

// An API over a database in a directory of its own, with clocks that stand still.
namespace culvert::hub {

namespace fs = std::filesystem;
namespace json = boost::json;
using namespace std::chrono_literals;
using net::testing::run_task;

constexpr const char* kOperatorKey = "operator-secret";
inline UnixTime g_wall{};
inline UnixTime fake_wall() { return g_wall; }

inline json::object parse(const http::Response& response) {
  auto object = parse_json_object("the answer", response.body);
  EXPECT_TRUE(object) << response.body;
  return object ? std::move(*object) : json::object();
}

inline std::string error_code(const http::Response& response) {
  const json::object body = parse(response);
  const json::value* error = body.if_contains("error");
  EXPECT_TRUE(error && error->as_object().at("message").is_string()) << response.body;
  return error ? std::string(error->as_object().at("code").as_string()) : "";
}

class ApiTest : public ::testing::Test {
 protected:
  void SetUp() override {
    g_wall = UnixTime(std::chrono::seconds(1'700'000'000));
    std::string name = (fs::temp_directory_path() / "culvert-api-XXXXXX").native();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
    open({});
  }
  void TearDown() override {
    api_.reset();
    ledger_.reset();
    fs::remove_all(directory_);
  }

  void open(StoreOptions options) {
    api_.reset();
    ledger_.reset();
    edge_sessions_.reset();
    state_ = {};
    ledger_.emplace(loop_, *open_sqlite_store(loop_, directory_ / "hub.db", random_, options), state_,
                    options);
    publisher_.emplace(hub_secret_, random_.u64());
    edge_sessions_.emplace(loop_, *publisher_, state_.leases);
    api_.emplace(config_, state_, *ledger_, *edge_sessions_, certificate_feed_, random_, [] {});
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
    http::testing::MemoryExchange exchange(std::move(request));
    exchange.client = client_;
    exchange.now = now;
    http::Response response = run_task(loop_, http::testing::answer_of(*api_, exchange));
    description_.check(exchange.request, response);
    return response;
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
    request.headers.add(std::string(http::kInstanceField), api_->instance());
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

  const testing::ApiDescription description_;
  net::EventLoop loop_;
  SeededRandom random_{11};
  EndpointId agent_ = SecretKey::generate(random_).public_key();
  SecretKey hub_secret_ = SecretKey::generate(random_);
  EndpointId hub_key_ = hub_secret_.public_key();
  Config config_{.database = {},
                 .operator_key = kOperatorKey,
                 .public_urls = {"https://hub.example:8443"},
                 .key = hub_secret_,
                 .edges = {{hub_key_, {"192.0.2.1:443"}}},
                 .public_port = 8443,
                 .internal_ca_pem = "PEM",
                 .wall_clock = fake_wall};
  fs::path directory_;
  std::optional<Ledger> ledger_;
  State state_;
  Leases& leases_ = state_.leases;
  std::optional<RoutePublisher> publisher_;
  std::optional<EdgeSessions> edge_sessions_;
  CertificateFeed certificate_feed_{loop_, "epoch"};
  std::optional<Api> api_;
  SocketAddr client_ = SocketAddr::v4({192, 0, 2, 50}, 1234);
  TimePoint now_{std::chrono::hours(100)};
};

}  // namespace culvert::hub
