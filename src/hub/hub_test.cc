#include "hub/hub.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <filesystem>

#include "base/encoding.h"
#include "base/full_disk.h"
#include "http/signature.h"
#include "hub/invite_record.h"
#include "hub/store_testing.h"
#include "hubapi/hub_client.h"
#include "net/tcp.h"
#include "tls/tls.h"

namespace culvert::hub {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using namespace std::chrono_literals;
using net::Task;

constexpr const char* kOperatorKey = "operator-secret";
std::chrono::seconds g_wall_offset{};
UnixTime shifted_wall() { return unix_now() + g_wall_offset; }

TimePoint soon() { return monotonic_now() + 20s; }

SecretKey key_of(uint64_t seed) {
  SeededRandom random(seed);
  return SecretKey::generate(random);
}

// A hub behind TLS on loopback, and a story told against it.
class HubTest : public ::testing::Test {
 protected:
  void SetUp() override {
    g_wall_offset = 0s;
    std::string name = (fs::temp_directory_path() / "culvert-hub-XXXXXX").native();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
    auto listener = net::TcpListener::listen(loop_, SocketAddr::v4({127, 0, 0, 1}, 0), {});
    ASSERT_TRUE(listener.has_value()) << listener.error().message;
    listener_ = std::move(*listener);
    identity_ = *tls::self_signed_identity(hub_key_, hub_key_.public_key().tls_name(), unix_now());
    open_hub();
  }
  void TearDown() override {
    hub_.reset();
    fs::remove_all(directory_);
  }

  void open_hub() {
    Config config{.database = directory_ / "hub.db",
                  .operator_key = kOperatorKey,
                  .public_urls = {url().to_string()},
                  .key = hub_key_,
                  .edges = {{hub_key_.public_key(), {"127.0.0.1:443"}}},
                  .public_port = 443,
                  .internal_ca_pem = "",
                  .tenants = {.limits = {}, .ports = {.own = {{route::PortProtocol::kTcp, 444}}}},
                  .wall_clock = shifted_wall,
                  .request_time = request_time_,
                  .store = store_options_};
    auto hub = Hub::open(loop_, config);
    ASSERT_TRUE(hub.has_value()) << hub.error().message;
    hub_ = std::move(*hub);
    routes_ = hub_->routes();
    hub_->set_route_listener([this](const route::Delta& delta) {
      auto applied = routes_->apply(delta);
      EXPECT_TRUE(applied);
      if (applied) routes_ = *applied;
      ++deltas_;
    });
  }
  hubapi::HubUrl url() const { return {"127.0.0.1", listener_->local_addr().port()}; }

  // Runs until the story ends, then takes everything down: nothing may be left running.
  void play(Task<> story) {
    tasks_.spawn(accept_all());
    tasks_.spawn(then_end(std::move(story)));
    loop_.run();
    EXPECT_EQ(tasks_.size(), 0u) << "a task outlived the hub";
  }

  Task<> then_end(Task<> story) {
    co_await std::move(story);
    listener_->close();
    hub_.reset();
  }
  Task<> accept_all() {
    while (true) {
      auto accepted = co_await listener_->accept();
      if (!accepted) co_return;
      tasks_.spawn(serve(std::move(*accepted)));
    }
  }
  Task<> serve(std::unique_ptr<net::ByteStream> transport) {
    auto stream = co_await tls::accept(std::move(transport), {}, identity_, {}, soon());
    if (stream && hub_) co_await hub_->serve(std::move(*stream));
  }

  Task<Result<hubapi::InviteToken>> invite(std::string body) {
    auto answer = co_await client_->call_operator("POST", "/v1/invites", body, kOperatorKey);
    if (!answer) co_return std::unexpected(answer.error());
    auto token = json::parse(*answer).at("token").as_string();
    co_return hubapi::parse_invite_token(std::string_view(token));
  }
  hubapi::Declaration declaration(const hubapi::InviteToken& token, std::string_view host,
                                  uint64_t agent = 5) {
    return {token.invite_id,
            token.invite_secret,
            key_of(agent).public_key(),
            {{*route::HostPattern::parse(host), route::TlsMode::kPassthrough}}};
  }
  bool serves(std::string_view host) const { return routes_->match(host) != nullptr; }

  // Writes raw bytes over TLS and returns all that comes back; with a `pause`, byte by byte.
  Task<std::string> raw(std::string bytes, Duration pause = {}) {
    std::string received;
    auto transport = co_await net::tcp_connect(loop_, url().host, url().port, soon());
    if (!transport) co_return "no connection";
    tls::ClientTrust trust{.pinned_key = hub_key_.public_key(), .root_pem = {}};
    auto stream = co_await tls::connect(std::move(*transport), "x.example", trust, soon());
    if (!stream) co_return "no TLS: " + stream.error().message;
    size_t piece = pause > Duration::zero() ? 1 : bytes.size();
    for (size_t sent = 0; sent < bytes.size(); sent += piece) {
      auto written = co_await net::write_all(**stream, as_bytes(bytes).subspan(sent, piece), soon());
      if (!written) break;  // the hub may refuse before it has read all
      if (pause > Duration::zero()) co_await net::sleep_for(loop_, pause);
    }
    std::array<uint8_t, 4096> chunk;
    while (true) {
      auto count = co_await net::read_some(**stream, chunk, soon());
      if (!count || *count == 0) break;
      received += as_text(ByteView(chunk).first(*count));
    }
    (*stream)->close();
    co_return received;
  }

  net::EventLoop loop_;
  net::TaskGroup tasks_{loop_};
  SecretKey hub_key_ = key_of(1);
  std::unique_ptr<net::TcpListener> listener_;
  tls::IdentityPtr identity_;
  fs::path directory_;
  Duration request_time_ = 10s;
  StoreOptions store_options_{.retry = 100ms};
  std::unique_ptr<Hub> hub_;
  route::SnapshotPtr routes_;
  int deltas_ = 0;
  std::optional<hubapi::HubClient> client_holder_;
  hubapi::HubClient* client_ = nullptr;

  void make_client() {
    client_holder_.emplace(loop_, std::vector{url()}, hub_key_.public_key(), shifted_wall);
    client_ = &*client_holder_;
  }

 public:
  Task<> whole_life() {
    make_client();
    EXPECT_EQ(routes_->size(), 0u);
    auto token = co_await invite(R"({"name":"home","hostnames":["*.a.eu"]})");
    EXPECT_TRUE(token.has_value()) << token.error().message;
    if (!token) co_return;
    auto answer = co_await client_->declare(*token, declaration(*token, "x.a.eu"));
    EXPECT_TRUE(answer.has_value()) << answer.error().message;
    if (!answer) co_return;
    EXPECT_EQ(answer->tenant, token->tenant_key.public_key());
    EXPECT_TRUE(serves("x.a.eu"));
    EXPECT_EQ(deltas_, 1);
    auto renewed = co_await client_->declare(*token, declaration(*token, "x.a.eu"));
    EXPECT_TRUE(renewed.has_value());
    EXPECT_EQ(deltas_, 1) << "a renewal changes no route";

    auto replica = co_await client_->declare(*token, declaration(*token, "x.a.eu", 6));
    EXPECT_TRUE(replica.has_value());
    EXPECT_EQ(routes_->match("x.a.eu")->targets.size(), 2u);
    hub_->agent_left(key_of(5).public_key());
    EXPECT_EQ(routes_->match("x.a.eu")->targets, std::vector<route::Target>{{key_of(6).public_key()}});
    hub_->agent_left(key_of(5).public_key());
    EXPECT_EQ(deltas_, 3);
    EXPECT_TRUE(routes_->changes_to(*hub_->routes()).empty());

    auto revoked = co_await client_->call_operator("DELETE", "/v1/invites/" + to_base64url(token->invite_id),
                                                   "", kOperatorKey);
    EXPECT_TRUE(revoked.has_value()) << revoked.error().message;
    EXPECT_FALSE(serves("x.a.eu")) << "revoked means not served from that answer on";
    auto refused = co_await client_->declare(*token, declaration(*token, "x.a.eu"));
    EXPECT_EQ(refused.error().code, ErrorCode::kUnauthorized);
    EXPECT_NE(refused.error().message.find("revoked"), std::string::npos);
    auto twice = co_await client_->call_operator("DELETE", "/v1/invites/" + to_base64url(token->invite_id),
                                                 "", kOperatorKey);
    EXPECT_EQ(twice.error().code, ErrorCode::kNotFound);
  }

  Task<> rules_change_while_it_runs() {
    make_client();
    auto token = co_await invite(R"({"hostnames":["*.a.eu"]})");
    EXPECT_TRUE(token.has_value());
    if (!token) co_return;
    auto declared = declaration(*token, "x.a.eu");
    declared.ports = {{route::PortProtocol::kTcp, "own", 444}, {route::PortProtocol::kTcp, "any", 0}};
    auto before = co_await client_->declare(*token, declared);
    EXPECT_TRUE(before.has_value());
    if (!before) co_return;
    EXPECT_FALSE(before->ports[0].accepted) << "privileged";
    EXPECT_TRUE(before->ports[1].accepted);

    TenantRules rules{.limits = {.agents = 1}, .ports = {.allow_privileged = true, .picked = {5000, 5001}}};
    hub_->set_tenant_rules(rules);
    auto second = co_await client_->declare(*token, declaration(*token, "x.a.eu", 6));
    EXPECT_FALSE(second.has_value());
    if (second) co_return;
    EXPECT_NE(second.error().message.find("1 agents hold leases of this invite"), std::string::npos)
        << second.error().message;
    declared.ports = {{route::PortProtocol::kTcp, "own", 444},
                      {route::PortProtocol::kTcp, "mail", 25},
                      {route::PortProtocol::kTcp, "new", 0}};
    auto after = co_await client_->declare(*token, declared);
    EXPECT_TRUE(after.has_value()) << "it has its lease already";
    if (!after) co_return;
    EXPECT_FALSE(after->ports[0].accepted) << "the node's own port stays its own";
    EXPECT_TRUE(after->ports[1].accepted);
    EXPECT_TRUE(after->ports[2].listen_port == 5000 || after->ports[2].listen_port == 5001);
  }

  // The disk is full for a while, and the connections stay up meanwhile.
  Task<> revocation_without_room() {
    make_client();
    auto token = co_await invite(R"({"hostnames":["*.a.eu"]})");
    EXPECT_TRUE(token.has_value());
    if (!token) co_return;
    const std::string path = "/v1/invites/" + to_base64url(token->invite_id);
    auto answer = co_await client_->declare(*token, declaration(*token, "x.a.eu"));
    EXPECT_TRUE(answer.has_value());
    EXPECT_TRUE(serves("x.a.eu"));
    {
      FullDisk full;
      auto revoked = co_await client_->call_operator("DELETE", path, "", kOperatorKey);
      EXPECT_FALSE(revoked.has_value());
      EXPECT_EQ(revoked.error().code, ErrorCode::kIo);
      EXPECT_NE(revoked.error().message.find("make room"), std::string::npos) << revoked.error().message;
      EXPECT_FALSE(serves("x.a.eu")) << "cut at once, stored or not";
      auto refused = co_await client_->declare(*token, declaration(*token, "x.a.eu"));
      EXPECT_FALSE(refused.has_value());
      EXPECT_NE(refused.error().message.find("revoked"), std::string::npos) << refused.error().message;
      co_await net::sleep_for(loop_, 250ms);  // a retry fails as well
      auto again = co_await client_->call_operator("DELETE", path, "", kOperatorKey);
      EXPECT_EQ(again.error().code, ErrorCode::kIo);
    }
    for (int tries = 0; tries < 100; ++tries) {
      co_await net::sleep_for(loop_, 50ms);
      SeededRandom random(1);
      auto stored = SqliteDatabase::open(directory_ / "hub.db", random, 2s);
      EXPECT_TRUE(stored.has_value());
      Invites invites;
      for (const Record& record : (*stored)->load().value().records) {
        if (record.kind == kInviteKind) invites.apply(record);
      }
      if (invites.list(std::nullopt, 1).value().front().revoked) break;
      EXPECT_LT(tries, 99) << "was not stored when there was room";
    }
    auto twice = co_await client_->call_operator("DELETE", path, "", kOperatorKey);
    EXPECT_EQ(twice.error().code, ErrorCode::kNotFound);
  }

  Task<> create_while_busy(std::optional<Result<std::string>>& answer) {
    hubapi::HubClient client(loop_, {url()}, hub_key_.public_key(), shifted_wall);
    answer = co_await client.call_operator("POST", "/v1/invites", R"({"hostnames":["c.eu"]})", kOperatorKey);
  }

  Task<> revoke_while_busy(InviteId id, std::optional<Result<std::string>>& answer) {
    hubapi::HubClient client(loop_, {url()}, hub_key_.public_key(), shifted_wall);
    answer = co_await client.call_operator("DELETE", "/v1/invites/" + to_base64url(id), "", kOperatorKey);
  }

  // Another program holds the database, and all that needs no write goes on.
  Task<> busy_database() {
    make_client();
    auto token = co_await invite(R"({"hostnames":["*.a.eu"]})");
    auto brief = co_await invite(R"({"hostnames":["b.eu"],"expires_in_secs":2})");
    auto unwanted = co_await invite(R"({"hostnames":["*.d.eu"]})");
    EXPECT_TRUE(token && brief && unwanted);
    if (!token || !brief || !unwanted) co_return;
    auto expiring = co_await client_->declare(*brief, declaration(*brief, "b.eu"));
    EXPECT_TRUE(expiring && serves("b.eu"));
    auto cut = co_await client_->declare(*unwanted, declaration(*unwanted, "x.d.eu", 6));
    EXPECT_TRUE(cut && serves("x.d.eu"));

    auto other = std::make_unique<testing::ForeignDatabase>(directory_ / "hub.db");
    other->run("BEGIN EXCLUSIVE");
    std::optional<Result<std::string>> created, revoked;
    tasks_.spawn(create_while_busy(created));
    tasks_.spawn(revoke_while_busy(unwanted->invite_id, revoked));
    while (serves("b.eu") || serves("x.d.eu")) co_await net::sleep_for(loop_, 20ms);
    auto declared = co_await client_->declare(*token, declaration(*token, "x.a.eu", 7));
    EXPECT_TRUE(declared) << declared.error().message;
    EXPECT_TRUE(serves("x.a.eu"));
    auto refused = co_await client_->declare(*unwanted, declaration(*unwanted, "x.d.eu", 6));
    EXPECT_EQ(refused.error().code, ErrorCode::kUnauthorized);
    auto listed = co_await client_->call_operator("GET", "/v1/invites", "", kOperatorKey);
    EXPECT_TRUE(listed);
    std::string health = co_await raw("GET /v1/health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    EXPECT_TRUE(health.starts_with("HTTP/1.1 200 ")) << health;
    EXPECT_FALSE(created) << "this test tests nothing";
    EXPECT_FALSE(revoked) << "this test tests nothing";

    other.reset();
    while (!created || !revoked) co_await net::sleep_for(loop_, 20ms);
    EXPECT_TRUE(*created) << created->error().message;
    EXPECT_TRUE(*revoked) << revoked->error().message;
  }

  Task<> errors_keep_their_meaning() {
    make_client();
    auto bad_key = co_await client_->call_operator("GET", "/v1/invites", "", "wrong");
    EXPECT_EQ(bad_key.error().code, ErrorCode::kUnauthorized);
    auto bad_body = co_await client_->call_operator("POST", "/v1/invites", "{}", kOperatorKey);
    EXPECT_EQ(bad_body.error().code, ErrorCode::kInvalid);
    EXPECT_NE(bad_body.error().message.find("hostnames"), std::string::npos);
    auto token = co_await invite(R"({"hostnames":["*.a.eu"]})");
    if (!token) co_return;
    auto taken =
        co_await client_->call_operator("POST", "/v1/invites", R"({"hostnames":["x.a.eu"]})", kOperatorKey);
    EXPECT_EQ(taken.error().code, ErrorCode::kConflict);
    auto unknown = *token;
    unknown.invite_id.fill(1);
    auto no_invite = co_await client_->declare(unknown, declaration(unknown, "x.a.eu"));
    EXPECT_EQ(no_invite.error().code, ErrorCode::kNotFound);
    auto forged = *token;
    forged.tenant_key = key_of(77);
    auto no_right = co_await client_->declare(forged, declaration(forged, "x.a.eu"));
    EXPECT_EQ(no_right.error().code, ErrorCode::kUnauthorized);
    hubapi::HubClient late(loop_, {url()}, hub_key_.public_key(), [] { return unix_now() - 120s; });
    auto skewed = co_await late.declare(*token, declaration(*token, "x.a.eu"));
    EXPECT_TRUE(skewed.has_value()) << skewed.error().message;
    EXPECT_EQ(late.clock_warning(), "this machine's clock is 120 s behind the hub's");
    hub_->agent_left(key_of(5).public_key());
    hubapi::HubClient wrong_pin(loop_, {url()}, key_of(2).public_key(), shifted_wall);
    auto impostor = co_await wrong_pin.declare(*token, declaration(*token, "x.a.eu"));
    EXPECT_EQ(impostor.error().code, ErrorCode::kUnavailable);
    EXPECT_FALSE(serves("x.a.eu"));
    for (int i = 0; i < 30; ++i) {
      auto flood = co_await client_->declare(*token, declaration(*token, "x.a.eu"));
      if (flood) continue;
      EXPECT_EQ(flood.error().code, ErrorCode::kUnavailable) << flood.error().message;
      co_return;
    }
    ADD_FAILURE() << "no rate limit";
  }

  Task<> expiry_is_pushed() {
    make_client();
    auto token = co_await invite(R"({"hostnames":["*.a.eu"],"expires_in_secs":2})");
    if (!token) co_return;
    auto answer = co_await client_->declare(*token, declaration(*token, "x.a.eu"));
    EXPECT_TRUE(answer.has_value()) << answer.error().message;
    EXPECT_TRUE(serves("x.a.eu"));
    TimePoint give_up = monotonic_now() + 30s;
    while (serves("x.a.eu") && monotonic_now() < give_up) co_await net::sleep_for(loop_, 20ms);
    EXPECT_FALSE(serves("x.a.eu")) << "the routes must change without a request";
    auto refused = co_await client_->declare(*token, declaration(*token, "x.a.eu"));
    EXPECT_EQ(refused.error().code, ErrorCode::kUnauthorized);
    EXPECT_NE(refused.error().message.find("expired"), std::string::npos);
  }

  Task<> framing_is_answered() {
    struct Case {
      const char* sent;
      const char* status;
    };
    for (const Case& c :
         {Case{"GARBAGE\r\n\r\n", "HTTP/1.1 400 "}, Case{"GET /v1/health HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
          Case{"POST /v1/leases HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: "
               "chunked\r\n\r\n0\r\n\r\n",
               "HTTP/1.1 400 "},
          Case{"POST /v1/leases HTTP/1.1\r\nHost: h\r\nContent-Length: 65537\r\n\r\n", "HTTP/1.1 413 "},
          Case{"GET /v1/health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 "}}) {
      std::string received = co_await raw(c.sent);
      EXPECT_TRUE(received.starts_with(c.status)) << c.sent << "\n" << received;
      EXPECT_NE(received.find("Connection: close"), std::string::npos) << received;
      EXPECT_NE(received.find("\r\nDate: "), std::string::npos) << received;
    }
    std::string big =
        "POST /v1/leases HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n" + std::string(200'000, 'x');
    std::string received = co_await raw(big);
    EXPECT_TRUE(received.starts_with("HTTP/1.1 413 ")) << "the answer must survive the bytes still under way";
    EXPECT_NE(received.find("too_large"), std::string::npos);
    std::string two =
        "GET /v1/health HTTP/1.1\r\nHost: h\r\n\r\nGET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    received = co_await raw(two);
    size_t first = received.find("HTTP/1.1 200 ");
    size_t second = received.find("HTTP/1.1 404 ");
    EXPECT_EQ(first, 0u);
    EXPECT_NE(second, std::string::npos);
  }

  Task<> the_slow_are_told() {
    std::string head = "POST /v1/leases HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n";
    for (std::string half : {std::string("POST /v1/lea"), head + "half"}) {
      std::string received = co_await raw(half);
      EXPECT_TRUE(received.starts_with("HTTP/1.1 408 Request Timeout\r\n")) << half << "\n" << received;
      EXPECT_NE(received.find("Connection: close"), std::string::npos) << received;
      EXPECT_NE(received.find(R"("code":"request_timeout")"), std::string::npos) << received;
    }
    // Each byte is no new patience, and the answer survives the bytes still under way.
    std::string dripped = co_await raw(head.substr(0, 40), 25ms);
    EXPECT_TRUE(dripped.starts_with("HTTP/1.1 408 ")) << dripped;
    std::string received = co_await raw("GET /v1/health HTTP/1.1\r\nHost: h\r\n\r\nGET /v1/");
    EXPECT_TRUE(received.starts_with("HTTP/1.1 200 ")) << received;
    EXPECT_NE(received.find("HTTP/1.1 408 "), std::string::npos) << received;
    received = co_await raw("");
    EXPECT_EQ(received, "") << "who asks nothing is told nothing";
  }

  Task<> a_restart_needs_no_new_token() {
    make_client();
    auto token = co_await invite(R"({"hostnames":["*.a.eu"]})");
    if (!token) co_return;
    auto before = co_await client_->declare(*token, declaration(*token, "x.a.eu"));
    EXPECT_TRUE(before.has_value());
    hub_.reset();
    open_hub();
    EXPECT_TRUE(serves("x.a.eu")) << "at once";
    auto after = co_await client_->declare(*token, declaration(*token, "x.a.eu"));
    EXPECT_TRUE(after.has_value()) << after.error().message;
    EXPECT_TRUE(serves("x.a.eu"));
  }

  Task<> idle_connections_end_with_the_hub() {
    auto transport = co_await net::tcp_connect(loop_, url().host, url().port, soon());
    tls::ClientTrust trust{.pinned_key = hub_key_.public_key(), .root_pem = {}};
    if (!transport) co_return;
    auto stream = co_await tls::connect(std::move(*transport), "x.example", trust, soon());
    EXPECT_TRUE(stream.has_value());
    if (!stream) co_return;
    auto written =
        co_await net::write_all(**stream, as_bytes("GET /v1/health HTTP/1.1\r\nHost: h\r\n\r\n"), soon());
    EXPECT_TRUE(written.has_value());
    std::array<uint8_t, 4096> chunk;
    auto count = co_await net::read_some(**stream, chunk, soon());
    EXPECT_TRUE(count && *count > 0);
    hub_.reset();
    auto end = co_await net::read_some(**stream, chunk, soon());
    EXPECT_TRUE(!end || *end == 0);
    (*stream)->close();
  }
};

TEST_F(HubTest, InviteDeclareRevoke) { play(whole_life()); }
TEST_F(HubTest, ErrorsKeepTheirMeaningThroughTheClient) { play(errors_keep_their_meaning()); }

TEST_F(HubTest, RulesOfTenantsChangeWhileItRuns) { play(rules_change_while_it_runs()); }

TEST_F(HubTest, ARevocationCutsAtOnceAndIsStoredWhenThereIsRoom) { play(revocation_without_room()); }
TEST_F(HubTest, ABusyDatabaseStopsNothingElse) {
  store_options_ = {.busy_time = 60s, .answer_time = 60s};
  hub_.reset();
  open_hub();
  play(busy_database());
}
TEST_F(HubTest, ExpiryOfAnInviteIsPushed) { play(expiry_is_pushed()); }
TEST_F(HubTest, FramingErrorsAreAnsweredAndClose) { play(framing_is_answered()); }
TEST_F(HubTest, ARequestThatComesTooSlowlyIsAnswered) {
  request_time_ = 700ms;
  hub_.reset();
  open_hub();
  play(the_slow_are_told());
}
TEST_F(HubTest, ARestartNeedsNoNewToken) { play(a_restart_needs_no_new_token()); }
TEST_F(HubTest, IdleConnectionsEndWithTheHub) { play(idle_connections_end_with_the_hub()); }

TEST(HubOpen, RefusesAnEmptyOperatorKeyAndABadDatabase) {
  net::EventLoop loop;
  Config config{.database = "/",
                .operator_key = "",
                .public_urls = {},
                .key = key_of(1),
                .edges = {},
                .internal_ca_pem = ""};
  auto no_key = Hub::open(loop, config);
  ASSERT_FALSE(no_key.has_value());
  EXPECT_NE(no_key.error().message.find("operator key"), std::string::npos);
  config.operator_key = "x";
  auto no_database = Hub::open(loop, config);
  ASSERT_FALSE(no_database.has_value());
  EXPECT_NE(no_database.error().message.find("directory"), std::string::npos);
}

}  // namespace
}  // namespace culvert::hub
