// What an edge counts of its routes, tenants and agents while their connections run.
#include <gmock/gmock.h>

#include <set>

#include "edge/edge_fixture.h"
#include "net/bind.h"

namespace culvert::edge {
namespace {

using namespace std::chrono_literals;
using route::Traffic;
using route::TrafficBy;
using ::testing::SizeIs;

class LiveTrafficTest : public testing::EdgeFixture {
 public:
  static Config with_workers(unsigned workers) {
    Config several = config();
    several.options.workers = workers;
    return several;
  }
  route::TrafficSums sums(TrafficBy by) const {
    return route::sum_traffic(edge_->traffic(), by, route::TrafficOrder::kName);
  }
  Traffic of(TrafficBy by, std::string_view name) const {
    for (const route::TrafficSum& sum : sums(by).named) {
      if (sum.name == name) return sum.traffic;
    }
    return {};
  }
  Traffic of_route(std::string_view name) const { return of(TrafficBy::kRoute, name); }
};

TEST_F(LiveTrafficTest, BytesOfARouteGrowWhileATransferIsHeld) {
  testing::FakeAgent agent(loop_, 1);
  agent.greeting = std::string(1'000'000, 'x');
  start(with_workers(2));
  set_usual_routes(agent);
  connect(agent);
  EXPECT_EQ(of_route("pass.test"), Traffic{});
  net::ByteStream& socket = keep(tcp());
  const Bytes hello = testing::client_hello("pass.test");
  send(socket, hello);
  testing::Received& answer = read(socket);
  const uint64_t down = agent.greeting.size() + hello.size();
  wait([&] { return of_route("pass.test").bytes_out == down; });
  const Traffic before = of_route("pass.test");
  EXPECT_EQ(before.open, 1u);
  EXPECT_EQ(before.begun, 1u);
  EXPECT_GT(before.bytes_in, hello.size()) << "and the stream's header";
  send(socket, Bytes(50'000, 'y'));
  wait([&] { return of_route("pass.test").bytes_in == before.bytes_in + 50'000; });
  wait([&] { return of_route("pass.test").bytes_out == down + 50'000; });
  EXPECT_FALSE(answer.ended());
  EXPECT_EQ(of(TrafficBy::kAgent, agent.id().to_string()), of_route("pass.test"));
  EXPECT_EQ(of_route("term.test"), Traffic{});
  socket.close();
  wait([&] { return of_route("pass.test").open == 0; });
  EXPECT_EQ(of_route("pass.test").bytes_in, before.bytes_in + 50'000) << "the end adds nothing";
}

// Whichever worker accepts them, those that have the tunnels carry them, and each counts its own.
TEST_F(LiveTrafficTest, AddsUpOverTheWorkers) {
  testing::FakeAgent one(loop_, 1), two(loop_, 2), three(loop_, 3);
  start(with_workers(2));
  set_routes({route("pass.test", route::TlsMode::kPassthrough, {one.id(), two.id(), three.id()})});
  for (testing::FakeAgent* agent : {&one, &two, &three}) connect(*agent);
  constexpr size_t kClients = 24;
  for (size_t i = 0; i < kClients; ++i) open_client("pass.test");
  const Traffic all = of_route("pass.test");
  EXPECT_EQ(all.open, kClients);
  EXPECT_EQ(all.begun, kClients);
  EXPECT_EQ(all.bytes_out, kClients * testing::client_hello("pass.test").size());
  EXPECT_EQ(all.bytes_in + all.bytes_out, edge_->moved().to_stream + edge_->moved().to_socket);
  const route::TrafficSums agents = sums(TrafficBy::kAgent);
  Traffic together;
  for (const route::TrafficSum& sum : agents.named) together += sum.traffic;
  EXPECT_EQ(together, all);
  EXPECT_EQ(edge_->tunnels().size(), 3u);
  for (const route::TunnelState& tunnel : edge_->tunnels()) {
    EXPECT_EQ(tunnel.remote.ip_text(), "127.0.0.1");
    EXPECT_EQ(tunnel.connections, of(TrafficBy::kAgent, tunnel.agent.to_string()).open);
  }
}

TEST_F(LiveTrafficTest, OfATenantThatIsRevokedNothingIsOpenAndNothingLost) {
  testing::FakeAgent agent(loop_, 1), other(loop_, 2);
  start(config());
  route::Route theirs = route("their.test", route::TlsMode::kPassthrough, {other.id()});
  theirs.tenant = testing::key(42).public_key();
  set_routes({route("pass.test", route::TlsMode::kPassthrough, {agent.id()}), theirs});
  connect(agent);
  connect(other);
  testing::Received& kept = open_client("pass.test").answer;
  testing::Received& cut = open_client("their.test").answer;
  const Traffic before = of(TrafficBy::kTenant, theirs.tenant.to_string());
  EXPECT_EQ(before.open, 1u);
  apply_routes({.from = version_, .to = version_ + 1, .upserts = {}, .removals = {theirs.id()}});
  wait([&] { return cut.ended(); });
  wait([&] { return of(TrafficBy::kTenant, theirs.tenant.to_string()).open == 0; });
  EXPECT_EQ(of(TrafficBy::kTenant, theirs.tenant.to_string()).bytes(), before.bytes());
  EXPECT_EQ(of_route("pass.test").open, 1u);
  EXPECT_FALSE(kept.ended());
}

TEST_F(LiveTrafficTest, CountsWhatNobodyServed) {
  testing::FakeAgent agent(loop_, 1);
  start(config());
  set_usual_routes(agent);
  EXPECT_EQ(say_hello("pass.test").bytes, testing::kInternalError);
  wait([&] { return of_route("pass.test").refused == 1; });
  EXPECT_EQ(of_route("pass.test").begun, 0u);
  agent.refuse_with = tunnel::kStreamOriginUnreachable;
  connect(agent);
  EXPECT_TRUE(say_hello("pass.test").ended());
  wait([&] { return of_route("pass.test").refused == 2; });
  EXPECT_EQ(of_route("pass.test").begun, 1u);
  EXPECT_THAT(sums(TrafficBy::kTenant).named, SizeIs(1));
}

TEST_F(LiveTrafficTest, CountsFlowsOfUdpPorts) {
  testing::FakeAgent agent(loop_, 1);
  start(with_workers(2));
  auto socket = net::bind_udp(loop_, SocketAddr::v4({127, 0, 0, 1}, 0), {}).value();
  const uint16_t port =
      net::bind_udp(loop_, SocketAddr::v4({127, 0, 0, 1}, 0), {}).value()->local_addr().port();
  set_routes({route::testing::port_route(route::PortProtocol::kUdp, port, {agent.id()})});
  connect(agent);
  size_t answers = 0;
  socket->start([&](const net::ReceivedDatagram&) { ++answers; }, [] {});
  const std::string name = fmt::format("udp/{}", port);
  for (int i = 0; i < 50 && answers == 0; ++i) {
    socket->send({.data = as_bytes("12345"),
                  .segment_size = 5,
                  .remote = SocketAddr::v4({127, 0, 0, 1}, port),
                  .local = {}});
    pause(20ms);
  }
  ASSERT_GT(answers, 0u);
  wait([&] { return of_route(name).bytes_in == of_route(name).bytes_out; });
  EXPECT_EQ(of_route(name).open, 1u);
  EXPECT_EQ(of_route(name).bytes_in % 5, 0u);
  set_routes({});
  wait([&] { return of_route(name).open == 0; });
  socket->close();
}

}  // namespace
}  // namespace culvert::edge
