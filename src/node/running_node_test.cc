// A node at work: invites, leases, traffic, revocation and its stop.
#include <optional>
#include <thread>

#include "base/full_disk.h"
#include "edge/testing.h"
#include "hub/request_limits.h"
#include "hubapi/hub_client.h"
#include "net/tcp.h"
#include "node/node_fixture.h"

namespace culvert::node {
namespace {

using namespace testing;
using edge::testing::FakeAgent;

class RunningNodeTest : public NodeTest {
 public:
  ~RunningNodeTest() override { stop(); }

  void start(Config with) {
    node_ = Node::start(std::move(with)).value();
    thread_ = std::thread([this] { EXPECT_TRUE(node_->run()); });
    local_ = find_local_node(directory_).value();
    std::vector<hubapi::HubUrl> urls;
    for (const std::string& url : local_->hub_urls) urls.push_back(hubapi::parse_hub_url(url).value());
    client_ = std::make_unique<hubapi::HubClient>(loop_, urls, local_->hub_key);
  }
  void stop() {
    if (!thread_.joinable()) return;
    node_->stop();
    thread_.join();
  }
  Result<std::string> call(std::string method, std::string path, std::string body) {
    return run_task(loop_, client_->call_operator(std::move(method), std::move(path), std::move(body),
                                                  *local_->operator_key));
  }
  static std::string member(const std::string& json, std::string_view name) {
    std::string key = fmt::format("\"{}\":\"", name);
    size_t begin = json.find(key);
    EXPECT_NE(begin, std::string::npos) << json;
    if (begin == std::string::npos) return "";
    begin += key.size();
    return json.substr(begin, json.find('"', begin) - begin);
  }
  struct Invite {
    std::string path;  // in the API
    hubapi::InviteToken token;
  };
  Invite create_invite(const std::string& hostname) {
    auto created = call("POST", "/v1/invites", fmt::format(R"({{"hostnames":["{}"]}})", hostname)).value();
    return {"/v1/invites/" + member(created, "invite_id"),
            hubapi::parse_invite_token(member(created, "token")).value()};
  }
  Result<hubapi::LeaseAnswer> declare(const hubapi::InviteToken& token, const FakeAgent& agent,
                                      std::string_view host,
                                      route::TlsMode mode = route::TlsMode::kTerminate) {
    auto pattern = route::HostPattern::parse(host).value();
    return run_task(loop_, client_->declare(
                               token, {token.invite_id, token.invite_secret, agent.id(), {{pattern, mode}}}));
  }
  // One request over TLS that trusts the internal root; the whole answer.
  Result<std::string> get(std::string name) {
    auto tcp = run_task(loop_, net::tcp_connect(loop_, node_->tcp_addr(), soon())).value();
    tls::ClientTrust trust;
    trust.root_pem = read_internal_root(directory_).value();
    auto tls = run_task(loop_, tls::connect(std::move(tcp), name, std::move(trust), soon()));
    if (!tls) return std::unexpected(tls.error());
    std::string request =
        fmt::format("GET /v1/health HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", name);
    EXPECT_TRUE(run_task(loop_, net::write_all(**tls, as_bytes(request), soon())));
    (void)run_task(loop_, net::finish(**tls, soon()));  // the other side may have answered and closed already
    std::string answer;
    Bytes chunk(4096);
    while (true) {
      auto got = run_task(loop_, net::read_some(**tls, chunk, soon()));
      if (!got) return std::unexpected(got.error());
      if (*got == 0) return answer;
      answer += as_text(ByteView(chunk).first(*got));
    }
  }

  net::EventLoop loop_;
  std::unique_ptr<Node> node_;
  std::thread thread_;
  std::optional<LocalNode> local_;
  std::unique_ptr<hubapi::HubClient> client_;
};

TEST_F(RunningNodeTest, FromAnInviteToAnAnswerAndToTheRevocation) {
  start(config());
  auto created = call("POST", "/v1/invites", R"({"name":"home","hostnames":["*.w.test"]})");
  ASSERT_TRUE(created) << created.error().message;
  auto token = hubapi::parse_invite_token(member(*created, "token"));
  ASSERT_TRUE(token) << token.error().message;
  EXPECT_EQ(token->hub_key, node_->id());
  EXPECT_EQ(token->hub_urls, node_->public_urls());

  FakeAgent agent(loop_, 1);
  agent.greeting = "HTTP/1.1 200 OK\r\n\r\nhello from the origin";
  auto lease = declare(*token, agent, "app.w.test");
  ASSERT_TRUE(lease) << lease.error().message;
  ASSERT_EQ(lease->services.size(), 1u);
  EXPECT_TRUE(lease->services[0].accepted) << lease->services[0].reason;
  EXPECT_EQ(lease->public_port, node_->tcp_addr().port());
  EXPECT_EQ(lease->internal_ca_pem, read_internal_root(directory_).value());
  ASSERT_EQ(lease->edges.size(), 1u);
  EXPECT_EQ(lease->edges[0].id, node_->id());
  EXPECT_EQ(lease->edges[0].addresses, std::vector{node_->udp_addr().to_string()});
  agent.dial(SocketAddr::parse(lease->edges[0].addresses[0]).value(), lease->edges[0].id);
  run_until(loop_, [&] { return agent.welcome(); });

  auto answer = get("app.w.test");
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_NE(answer->find("hello from the origin"), std::string::npos) << *answer;

  auto revoked = call("DELETE", "/v1/invites/" + member(*created, "invite_id"), "");
  ASSERT_TRUE(revoked) << revoked.error().message;
  run_until(loop_, [&] { return agent.closed.has_value(); });
  EXPECT_EQ(agent.closed->code, tunnel::kCloseRevoked);
  auto gone = get("app.w.test");
  ASSERT_FALSE(gone);
  EXPECT_EQ(declare(*token, agent, "app.w.test").error().code, ErrorCode::kUnauthorized);
}

TEST_F(RunningNodeTest, AFullDiskStopsNeitherTheStartNorARevocation) {
  start(config());
  const auto [invite, token] = create_invite("app.test");
  Config same = config();
  same.edge.tcp_listen = node_->tcp_addr();
  same.edge.udp_listen = node_->udp_addr();
  stop();
  node_.reset();
  {
    FullDisk full;
    start(same);
    FakeAgent agent(loop_, 1);
    agent.greeting = "HTTP/1.1 200 OK\r\n\r\n";
    auto lease = declare(token, agent, "app.test");
    ASSERT_TRUE(lease) << lease.error().message;
    agent.dial(node_->udp_addr(), node_->id());
    run_until(loop_, [&] { return agent.welcome(); });
    ASSERT_TRUE(get("app.test"));
    auto revoked = call("DELETE", invite, "");
    ASSERT_FALSE(revoked);
    EXPECT_EQ(revoked.error().code, ErrorCode::kIo);
    EXPECT_NE(revoked.error().message.find("its agents are cut off"), std::string::npos)
        << revoked.error().message;
    run_until(loop_, [&] { return agent.closed.has_value(); });
    EXPECT_EQ(agent.closed->code, tunnel::kCloseRevoked);
    EXPECT_FALSE(get("app.test"));
    EXPECT_EQ(declare(token, agent, "app.test").error().code, ErrorCode::kUnauthorized);
  }
  EXPECT_TRUE(call("DELETE", invite, ""));
  stop();
  node_.reset();
  start(same);
  FakeAgent agent(loop_, 2);
  EXPECT_EQ(declare(token, agent, "app.test").error().code, ErrorCode::kUnauthorized);
}

TEST_F(RunningNodeTest, AGoodbyeTakesTheRouteAtOnce) {
  Config several = config();
  several.edge.workers = 2;
  start(std::move(several));
  const hubapi::InviteToken token = create_invite("app.test").token;
  FakeAgent agent(loop_, 1);
  agent.greeting = "HTTP/1.1 200 OK\r\n\r\n";
  ASSERT_TRUE(declare(token, agent, "app.test"));
  agent.dial(node_->udp_addr(), node_->id());
  run_until(loop_, [&] { return agent.welcome(); });
  ASSERT_TRUE(get("app.test"));
  agent.leave(tunnel::kCloseGoodbye);
  run_until(loop_, [&] { return !get("app.test").has_value(); });
}

TEST_F(RunningNodeTest, TheNewestModeWinsOnceTheOtherAgentIsGone) {
  Config several = config();
  several.edge.workers = 2;
  start(std::move(several));
  const hubapi::InviteToken token = create_invite("app.test").token;
  FakeAgent old(loop_, 1), newest(loop_, 2);
  newest.greeting = "HTTP/1.1 200 OK\r\n\r\n";
  ASSERT_TRUE(declare(token, old, "app.test", route::TlsMode::kPassthrough));
  old.dial(node_->udp_addr(), node_->id());
  run_until(loop_, [&] { return old.welcome(); });
  const auto pause = [&](Duration time) {
    const TimePoint next = monotonic_now() + time;
    run_until(loop_, [&] { return monotonic_now() >= next; });
  };
  const auto accepted = [&] {
    pause(hub::RequestLimits::kInviteInterval);  // slower than the rate of an invite without leases
    auto answer = declare(token, newest, "app.test");
    EXPECT_TRUE(answer) << answer.error().message;
    if (answer && !answer->services[0].accepted) EXPECT_TRUE(answer->services[0].retry_after);
    return answer && answer->services[0].accepted;
  };
  // What keeps the first alive past the moment after its declaration is what the edge reports of its tunnel.
  const TimePoint end = monotonic_now() + 10s;
  while (monotonic_now() < end) {
    old.say(tunnel::Hello{});
    pause(500ms);
  }
  EXPECT_FALSE(accepted());
  EXPECT_FALSE(old.closed);
  old.leave(tunnel::kCloseOk);  // as a process that crashed
  // At a pace that the limit of declarations allows.
  for (int tries = 0; !accepted(); ++tries) {
    ASSERT_LT(tries, 40);
    pause(500ms);
  }
  newest.dial(node_->udp_addr(), node_->id());
  run_until(loop_, [&] { return newest.welcome(); });
  EXPECT_TRUE(get("app.test"));
}

TEST_F(RunningNodeTest, TheHubsPublicNameIsCoveredByTheInternalRoot) {
  Config named = config();
  named.public_urls = {"https://Hub.Example:8443"};
  auto node = Node::start(std::move(named));
  ASSERT_TRUE(node) << node.error().message;
  node_ = std::move(*node);
  thread_ = std::thread([this] { EXPECT_TRUE(node_->run()); });
  auto answer = get("hub.example");
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_TRUE(answer->starts_with("HTTP/1.1 200")) << *answer;
  EXPECT_NE(answer->find(node_->id().to_string()), std::string::npos) << *answer;
}

TEST_F(RunningNodeTest, OnlyTheRightKeyIsTheHub) {
  start(config());
  auto wrong = edge::testing::key(77).public_key();
  auto url = hubapi::parse_hub_url(node_->public_urls()[0]).value();
  hubapi::HubClient misled(loop_, {url}, wrong);
  auto answer = run_task(loop_, misled.call_operator("GET", "/v1/invites", "", *local_->operator_key));
  EXPECT_FALSE(answer);
  EXPECT_TRUE(call("GET", "/v1/invites", ""));
}

TEST_F(RunningNodeTest, StopEndsEvenWithUnauthenticatedClientsInTheDoor) {
  start(config());
  std::vector<std::unique_ptr<net::ByteStream>> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(run_task(loop_, net::tcp_connect(loop_, node_->tcp_addr(), soon())).value());
  }
  // Silent, half a hello, and a hello for the hub whose handshake never goes on.
  Bytes hello = edge::testing::client_hello("");
  clients[1]->try_write(ByteView(hello).first(10));
  clients[2]->try_write(hello);
  auto call_first = call("GET", "/v1/invites", "");
  EXPECT_TRUE(call_first);
  node_->stop();
  node_->stop();
  thread_.join();
}

TEST_F(RunningNodeTest, StopBeforeRunIsNotForgotten) {
  node_ = Node::start(config()).value();
  node_->stop();
  thread_ = std::thread([this] { EXPECT_TRUE(node_->run()); });
  thread_.join();
}
}  // namespace
}  // namespace culvert::node
