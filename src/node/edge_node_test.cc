// An edge on its own and its hub, each a node, over loopback.
#include <algorithm>
#include <thread>

#include "base/json.h"
#include "http/client.h"
#include "hubapi/hub_client.h"
#include "net/tcp.h"
#include "node/node_fixture.h"

namespace culvert::node {
namespace {

using namespace testing;

class RunningThread {
 public:
  explicit RunningThread(std::unique_ptr<Node> node)
      : node_(std::move(node)), thread_([this] { EXPECT_TRUE(node_->run()); }) {}
  ~RunningThread() {
    node_->stop();
    node_->stop();
    thread_.join();
  }
  Node& operator*() const { return *node_; }
  Node* operator->() const { return node_.get(); }

 private:
  std::unique_ptr<Node> node_;
  std::thread thread_;
};

class EdgeNodeTest : public NodeTest {
 protected:
  Config hub_config(Roles roles = Roles::kHub) {
    Config hub = config();
    hub.roles = roles;
    hub.data_dir = directory_ / "hub";
    return hub;
  }
  Config edge_config(const hubapi::EdgeToken& token, std::string_view name = "edge") {
    Config edge = config();
    edge.roles = Roles::kEdge;
    edge.data_dir = directory_ / name;
    edge.edge_token = token;
    edge.ops.listen = SocketAddr::v4({127, 0, 0, 1}, 0);
    return edge;
  }
  std::unique_ptr<RunningThread> start(Config config) {
    auto node = Node::start(std::move(config));
    EXPECT_TRUE(node) << node.error().message;
    return node ? std::make_unique<RunningThread>(std::move(*node)) : nullptr;
  }
  boost::json::object call(const std::string& method, const std::string& path, const std::string& body = "") {
    auto local = find_local_node(directory_ / "hub");
    EXPECT_TRUE(local);
    hubapi::HubClient client(loop_, hubapi::parse_hub_urls(local->hub_urls), local->hub_key);
    auto answer = run_task(loop_, client.call_operator(method, path, body, *local->operator_key));
    EXPECT_TRUE(answer) << answer.error().message;
    return answer ? parse_json_object("the answer", *answer).value() : boost::json::object();
  }
  hubapi::EdgeToken new_token(const std::string& name = "paris") {
    auto created = call("POST", "/v1/edges", fmt::format(R"({{"name":"{}"}})", name));
    return hubapi::parse_edge_token(std::string_view(created.at("token").as_string())).value();
  }
  std::string get(const SocketAddr& address, const std::string& path) {
    auto stream = run_task(loop_, net::tcp_connect(loop_, address, soon())).value();
    return run_task(loop_, http::fetch(*stream, "test",
                                       {.method = "GET", .target = path, .headers = {}, .body = {}}, soon()))
        .value()
        .body;
  }
  std::string state_of(const std::string& name = "paris") {
    return std::string(call("GET", "/v1/edges/" + name).at("state").as_string());
  }
  bool becomes(const std::function<bool()>& condition) {
    for (int i = 0; i < 500; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(20ms);
    }
    return false;
  }

  net::EventLoop loop_;
};

TEST_F(EdgeNodeTest, AnEdgeFollowsItsHubAndLeavesIt) {
  auto hub = start(hub_config());
  const hubapi::EdgeToken token = new_token();
  {
    auto edge = start(edge_config(token));
    EXPECT_EQ((*edge)->id(), token.edge_key.public_key());
    EXPECT_TRUE(becomes([&] { return state_of() == "connected"; }));
    EXPECT_TRUE((*edge)->public_urls().empty());
  }
  EXPECT_TRUE(becomes([&] { return state_of() == "left"; }));
  EXPECT_EQ(fs::status(directory_ / "edge" / "routes.jsonl").permissions() & fs::perms::all,
            fs::perms::owner_read | fs::perms::owner_write);
}

// As `culvert status` asks.
TEST_F(EdgeNodeTest, AnEdgeTellsItsStatus) {
  Config kept = hub_config();
  auto hub = start(kept);
  const hubapi::EdgeToken token = new_token();
  auto edge = start(edge_config(token));
  const auto local = find_local_edge(directory_ / "edge");
  ASSERT_TRUE(local && *local);
  EXPECT_EQ((*local)->id, token.edge_key.public_key());
  ASSERT_EQ((*local)->metrics, (*edge)->metrics_addr());
  const auto status = [&] {
    auto answer = get(*(*local)->metrics, "/status");
    return parse_json_object("the status", answer).value();
  };
  ASSERT_TRUE(
      becomes([&] { return status().at("hub") == "followed" && !status().at("routes_version").is_null(); }));
  const auto good = status();
  EXPECT_EQ(good.at("status"), "ready");
  EXPECT_EQ(std::string(good.at("edge_id").as_string()), token.edge_key.public_key().to_string());
  EXPECT_EQ(good.at("name"), "paris");
  EXPECT_EQ(good.at("tunnels"), 0);
  EXPECT_TRUE(good.at("routes_as_of").is_int64());
  EXPECT_NE(get(*(*local)->metrics, "/readyz").find("ok"), std::string::npos);

  kept.edge.tcp_listen = (*hub)->tcp_addr();
  hub.reset();
  ASSERT_TRUE(becomes([&] { return status().at("hub") == "away"; }));
  EXPECT_TRUE(becomes([&] { return status().at("hub_reason").as_string().size() > 0; }));
  const auto away = status();
  EXPECT_EQ(away.at("status"), "degraded");
  EXPECT_EQ(away.at("faults").as_array().size(), 1U);
  EXPECT_EQ(away.at("routes_version"), good.at("routes_version"));
  EXPECT_GE(away.at("hub_since").as_int64(), good.at("hub_since").as_int64());
  const std::string readiness = get(*(*local)->metrics, "/readyz");
  EXPECT_NE(readiness.find("degraded: the hub has not answered since"), std::string::npos) << readiness;

  // Another start, from the disk alone.
  edge.reset();
  edge = start(edge_config(token));
  const auto again = find_local_edge(directory_ / "edge").value();
  ASSERT_TRUE(again);
  const auto alone = parse_json_object("the status", get(*again->metrics, "/status")).value();
  EXPECT_EQ(alone.at("hub"), "away");
  EXPECT_EQ(alone.at("name"), "");
  EXPECT_EQ(alone.at("routes_version"), good.at("routes_version"));
  EXPECT_TRUE(alone.at("routes_as_of").is_int64());

  hub = start(kept);
  call("DELETE", "/v1/edges/paris");
  const auto revoked = [&] {
    return parse_json_object("the status", get(*again->metrics, "/status")).value();
  };
  ASSERT_TRUE(becomes([&] { return revoked().at("hub") == "revoked"; }));
  EXPECT_TRUE(revoked().at("routes_version").is_null());
}

TEST_F(EdgeNodeTest, AHubInTheSameDirectoryTakesTheEdgesPlace) {
  auto hub = start(hub_config());
  {
    Config quiet = edge_config(new_token());
    quiet.ops.listen.reset();
    auto edge = start(quiet);
    const auto local = find_local_edge(directory_ / "edge").value();
    ASSERT_TRUE(local);
    EXPECT_FALSE(local->metrics);
  }
  EXPECT_FALSE(find_local_edge(directory_ / "hub").value());
  Config other = hub_config();
  other.data_dir = directory_ / "edge";
  auto second = start(other);
  EXPECT_FALSE(find_local_edge(directory_ / "edge").value());
  EXPECT_TRUE(replace_file(directory_ / "edge" / "edge.info", as_bytes("edge_id = nonsense\n"), 0644));
  EXPECT_EQ(find_local_edge(directory_ / "edge").error().code, ErrorCode::kInvalid);
}

TEST_F(EdgeNodeTest, ARestartedHubIsFollowedAgain) {
  Config kept = hub_config();
  auto hub = start(kept);
  const hubapi::EdgeToken token = new_token();
  auto edge = start(edge_config(token));
  ASSERT_TRUE(becomes([&] { return state_of() == "connected"; }));
  kept.edge.tcp_listen = (*hub)->tcp_addr();
  hub.reset();
  hub = start(kept);
  EXPECT_TRUE(becomes([&] { return state_of() == "connected"; }));
}

TEST_F(EdgeNodeTest, ARevokedEdgeForgetsTheRoutes) {
  auto hub = start(hub_config());
  auto edge = start(edge_config(new_token()));
  ASSERT_TRUE(becomes([&] { return state_of() == "connected"; }));
  ASSERT_TRUE(becomes([&] { return fs::exists(directory_ / "edge" / "routes.jsonl"); }));
  call("DELETE", "/v1/edges/paris");
  EXPECT_TRUE(becomes([&] { return !fs::exists(directory_ / "edge" / "routes.jsonl"); }));
}

// Two processes with one token: the newest is followed, and neither takes the hub down.
TEST_F(EdgeNodeTest, TwoProcessesWithOneTokenAreNoHarm) {
  auto hub = start(hub_config());
  const hubapi::EdgeToken token = new_token();
  auto one = start(edge_config(token, "one"));
  ASSERT_TRUE(becomes([&] { return state_of() == "connected"; }));
  auto other = start(edge_config(token, "other"));
  std::this_thread::sleep_for(300ms);
  EXPECT_TRUE(becomes([&] { return state_of() == "connected"; }));
}

TEST_F(EdgeNodeTest, WrongRolesAreRefused) {
  Config edge = config();
  edge.roles = Roles::kEdge;
  EXPECT_NE(error_of(edge, ErrorCode::kInvalid).find("culvert edge-invite create"), std::string::npos);
  Config hub = config();
  hub.edge_token = hubapi::EdgeToken{{"https://a.example"},
                                     SecretKey::from_seed(Bytes(32, 1))->public_key(),
                                     *SecretKey::from_seed(Bytes(32, 2))};
  EXPECT_NE(error_of(hub, ErrorCode::kInvalid).find("culvert edge"), std::string::npos);
}

TEST(Roles, AreReadAsTheyAreWritten) {
  for (Roles roles : {Roles::kHubAndEdge, Roles::kHub, Roles::kEdge})
    EXPECT_EQ(parse_roles(to_string(roles)), roles);
  EXPECT_EQ(parse_roles("edge,hub"), Roles::kHubAndEdge);
  EXPECT_EQ(parse_roles("relay"), std::nullopt);
}

}  // namespace
}  // namespace culvert::node
