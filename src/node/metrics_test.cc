// What a node tells operators: its series, and whether it is healthy and ready.
#include <gmock/gmock.h>

#include <filesystem>
#include <thread>

#include "base/metrics_testing.h"
#include "base/random.h"
#include "edge/testing.h"
#include "http/client.h"
#include "net/tcp.h"
#include "node/node.h"
#include "node/observer.h"

namespace culvert::node {
namespace {

using namespace std::chrono_literals;
using net::testing::run_task;
using net::testing::soon;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

TEST(Observer, AWorkerThatDoesNotAnswerIsNamed) {
  net::EventLoop loop;
  auto ca = tls::InternalCa::load(tls::InternalCa::create("test", unix_now())).value();
  auto edge =
      edge::Edge::bind(
          {.key = edge::testing::key(7),
           .options = {.tcp_listen = SocketAddr::v4({127, 0, 0, 1}, 0), .workers = 2, .drain_timeout = 1ms},
           .hub_names = {},
           .public_addr = {},
           .version = "test"},
          std::make_shared<tls::Certificates>(std::move(ca), unix_now))
          .value();
  Observer observer(loop, *edge, [](Metrics& metrics) { metrics.gauge("control", "Control.", 1); });
  // Bound, but no worker runs yet.
  EXPECT_THAT(run_task(loop, observer.health()),
              ElementsAre("worker 0 has not answered for 2 s", "worker 1 has not answered for 2 s"));
  const std::string before = run_task(loop, observer.metrics()).to_text();
  EXPECT_THAT(before, HasSubstr("culvert_workers{state=\"stuck\"} 2\n"));
  EXPECT_THAT(before, HasSubstr("\ncontrol 1\n"));
  EXPECT_THAT(before, HasSubstr("\nculvert_edge_connections 0\n"));

  edge->start({.serve_hub = [](edge::PublicConnection) { return true; },
               .agent_left = [](EndpointId) {},
               .stopped = [] {}});
  EXPECT_THAT(run_task(loop, observer.health()), IsEmpty());
  const std::string after = run_task(loop, observer.metrics()).to_text();
  EXPECT_THAT(after,
              HasSubstr("culvert_workers{state=\"answering\"} 2\nculvert_workers{state=\"stuck\"} 0\n"));
  EXPECT_THAT(after, HasSubstr("\nculvert_quic_core_faults_total 0\n"));
}

class NodeMetrics : public ::testing::Test {
 protected:
  ~NodeMetrics() override { fs::remove_all(directory_); }

  Config config() {
    return {.data_dir = directory_,
            .public_urls = {},
            .edge_addrs = {},
            .edge = {.tcp_listen = SocketAddr::v4({127, 0, 0, 1}, 0), .drain_timeout = 1s}};
  }
  http::Response get(const SocketAddr& address, std::string target) {
    auto stream = run_task(loop_, net::tcp_connect(loop_, address, soon())).value();
    return run_task(
               loop_,
               http::fetch(*stream, "test",
                           {.method = "GET", .target = std::move(target), .headers = {}, .body = {}}, soon()))
        .value();
  }

  const fs::path directory_ =
      fs::temp_directory_path() / fmt::format("culvert-metrics-{:x}", SystemRandom().u64());
  net::EventLoop loop_;
};

TEST_F(NodeMetrics, AreServedWhereAskedFor) {
  Config with_metrics = config();
  with_metrics.ops.listen = SocketAddr::v4({127, 0, 0, 1}, 0);
  auto node = Node::start(with_metrics).value();
  const SocketAddr address = node->metrics_addr().value();
  std::thread runs([&] { EXPECT_TRUE(node->run()); });
  EXPECT_EQ(get(address, "/healthz").body, "ok\n");
  EXPECT_EQ(get(address, "/readyz").body, "ok\n");
  const std::string text = get(address, "/metrics").body;
  const Exposition read(text);
  EXPECT_THAT(read.faults(), IsEmpty());
  Metrics described;
  describe_metrics(described);
  EXPECT_EQ(read.types(), Exposition(described.to_text()).types())
      << "describe_metrics() has the same series";
  EXPECT_THAT(text, HasSubstr("\nculvert_build_info{version=\""));
  EXPECT_THAT(text, HasSubstr("\nculvert_edge_connections_total 0\n"));
  EXPECT_THAT(text, HasSubstr("\nculvert_edge_refused_connections_total{reason=\"hub_full\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("\nculvert_hub_refused_connections_total{reason=\"queue_timeout\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("\nculvert_hub_refused_connections_total{reason=\"full\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("\nculvert_hub_failed_writes_total{reason=\"refused\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("\nculvert_hub_refused_requests_total{reason=\"unknown_invite\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("\nculvert_hub_declarations_total 0\n"));
  EXPECT_THAT(text, HasSubstr("\nculvert_quic_datagrams_received_total 0\n"));
  EXPECT_THAT(text, HasSubstr("\nculvert_workers{state=\"answering\"} 1\n"));
  node->stop();
  runs.join();
}

TEST_F(NodeMetrics, AnAddressInUseEndsTheStartAndIsNamed) {
  auto taken = net::TcpListener::listen(loop_, SocketAddr::v4({127, 0, 0, 1}, 0), {}).value();
  Config clash = config();
  clash.ops.listen = taken->local_addr();
  auto node = Node::start(clash);
  ASSERT_FALSE(node);
  EXPECT_EQ(node.error().code, ErrorCode::kConflict);
  EXPECT_THAT(node.error().message, HasSubstr("metrics: "));
  EXPECT_THAT(node.error().message, HasSubstr(taken->local_addr().to_string()));
}

TEST_F(NodeMetrics, AreNotServedUnlessAskedFor) {
  EXPECT_FALSE(Node::start(config()).value()->metrics_addr());
}

}  // namespace
}  // namespace culvert::node
