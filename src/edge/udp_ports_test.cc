// UDP ports of routes: flows of clients, their agents, and what does not pass.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "edge/edge_fixture.h"
#include "net/packet_io.h"

namespace culvert::edge {
namespace {

using namespace testing;
using route::PortProtocol;
using route::testing::port_route;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A client with a socket, and what came there.
class UdpClient {
 public:
  explicit UdpClient(net::EventLoop& loop, const SocketAddr& address = SocketAddr::v4({127, 0, 0, 1}, 0)) {
    socket_ = net::bind_udp(loop, address, {.fragments = true}).value();
    socket_->start(
        [this](const net::ReceivedDatagram& datagram) {
          got.emplace_back(as_text(datagram.data));
          from = datagram.remote;
        },
        [] {});
  }
  SocketAddr addr() const { return socket_->local_addr(); }
  void send(std::string_view text, const SocketAddr& to) {
    socket_->send({.data = as_bytes(text),
                   .segment_size = std::max<size_t>(text.size(), 1),
                   .remote = to,
                   .local = {}});
  }

  std::vector<std::string> got;
  SocketAddr from;

 private:
  std::unique_ptr<net::PacketIo> socket_;
};

class UdpPortsTest : public EdgeFixture {
 public:
  static SocketAddr local(uint16_t port) { return SocketAddr::v4({127, 0, 0, 1}, port); }
  uint16_t free_port() {
    auto socket = net::bind_udp(loop_, local(0), {}).value();
    return socket->local_addr().port();
  }
  void serve(const std::vector<EndpointId>& agents, std::string service = "game") {
    set_routes({port_route(PortProtocol::kUdp, port_, agents, std::move(service))});
  }
  // Sends until it is answered: the edge may be about to bind the port.
  void expect_echo(UdpClient& client, const std::string& text) {
    client.got.clear();
    client.send(text, local(port_));
    wait([&] { return !client.got.empty(); });
    EXPECT_THAT(client.got, ElementsAre(text));
  }
  // Of five clients the two that came last keep their flows.
  void expect_two_flows_of_five() {
    std::vector<std::unique_ptr<UdpClient>> clients;
    for (int i = 0; i < 5; ++i) {
      clients.push_back(std::make_unique<UdpClient>(loop_));
      expect_echo(*clients.back(), "x");
    }
    wait([&] { return counters().udp_flows_active == 2u; });
    wait([&] { return counters().udp_flows_evicted == 3u; });
  }
  // The one with the youngest tunnel gets everything until the others were heard after it came.
  void let_be_heard(const std::vector<FakeAgent*>& agents) {
    for (FakeAgent* agent : agents) agent->stir();
    const TimePoint heard = loop_.now() + 400ms;
    wait([&] { return loop_.now() >= heard; });
  }
  void start_with_port(const std::vector<FakeAgent*>& agents, Config config) {
    start(std::move(config));
    port_ = free_port();
    std::vector<EndpointId> ids;
    for (const FakeAgent* agent : agents) ids.push_back(agent->id());
    serve(ids);
    for (FakeAgent* agent : agents) connect(*agent);
  }

  uint16_t port_ = 0;
};

TEST_F(UdpPortsTest, ADatagramGoesToTheAgentAndItsAnswerBack) {
  FakeAgent agent(loop_, 1);
  start(config());
  port_ = free_port();
  serve({agent.id()}, "WireGuard at home");
  connect(agent);
  UdpClient client(loop_);
  expect_echo(client, "first");
  EXPECT_EQ(client.from, local(port_));
  ASSERT_EQ(agent.udp.size(), 1u);
  const EchoChannel& channel = *agent.udp[0];
  EXPECT_EQ(channel.header.authority, "WireGuard at home");
  EXPECT_EQ(channel.header.client, SocketAddr());
  EXPECT_EQ(channel.header.public_addr, local(port_));
  ASSERT_TRUE(channel.got[0].client);
  EXPECT_EQ(channel.got[0].client->client, client.addr());
  EXPECT_EQ(channel.got[0].client->edge, local(0));
  // The agent answered: it knows the client.
  expect_echo(client, "second");
  EXPECT_EQ(channel.got[1].flow, channel.got[0].flow);
  EXPECT_FALSE(channel.got[1].client);
  // Another client is another flow of the same channel.
  UdpClient other(loop_);
  expect_echo(other, "of another");
  EXPECT_NE(channel.got[2].flow, channel.got[0].flow);
  EXPECT_EQ(agent.udp.size(), 1u);
  wait([&] { return counters().udp_flows_active == 2u; });
  wait([&] { return counters().udp_datagrams_to_client == 3u; });
  expect_echo(client, "");
  expect_echo(client, std::string(65507, 'x'));

  set_routes({route("pass.test", route::TlsMode::kPassthrough, {agent.id()})});
  wait([&] { return agent.udp[0]->channel == nullptr; });
  wait([&] { return counters().udp_flows_active == 0u; });
  wait([&] { return counters().ports_open == 0u; });
  EXPECT_TRUE(net::bind_udp(loop_, local(port_), {}));
}

TEST_F(UdpPortsTest, AnswersComeFromTheAddressThatTheClientUsed) {
  FakeAgent agent(loop_, 1);
  Config dual = config();
  dual.options.tcp_listen = SocketAddr::parse("[::]:0").value();
  dual.options.udp_listen = local(0);
  start_with_port({&agent}, std::move(dual));
  UdpClient four(loop_), six(loop_, SocketAddr::parse("[::1]:0").value());
  const auto expect_from = [&](UdpClient& client, const SocketAddr& address) {
    client.got.clear();
    client.send("x", address);
    wait([&] { return client.got.size() == 1; });
    EXPECT_EQ(client.from, address);
  };
  expect_from(four, SocketAddr::v4({127, 0, 0, 5}, port_));
  expect_from(four, SocketAddr::v4({127, 0, 0, 9}, port_));
  expect_from(six, SocketAddr::parse("[::1]:0").value().with_port(port_));
  wait([&] { return counters().udp_flows_active == 3u; });
}

TEST_F(UdpPortsTest, AnAgentThatForgotAFlowIsToldTheClientAgain) {
  FakeAgent agent(loop_, 1);
  start_with_port({&agent}, config());
  UdpClient client(loop_);
  expect_echo(client, "1");
  expect_echo(client, "2");
  EchoChannel& channel = *agent.udp[0];
  EXPECT_FALSE(channel.got[1].client);
  channel.is_dumb = true;
  channel.channel->send_forgotten(channel.got[0].flow);
  wait([&] {
    client.send("3", local(port_));
    return channel.got.back().client.has_value();
  });
}

TEST_F(UdpPortsTest, EveryPortWorksFromEveryWorkerToEveryWorker) {
  FakeAgent agent(loop_, 1), other(loop_, 2);
  Config many = config();
  many.options.workers = 3;
  start(std::move(many));
  std::vector<uint16_t> ports;
  std::vector<route::Route> routes;
  for (int i = 0; i < 6; ++i) {
    do {
      port_ = free_port();
    } while (std::ranges::find(ports, port_) != ports.end() || port_ % 3 != i % 3);
    ports.push_back(port_);
    routes.push_back(port_route(PortProtocol::kUdp, port_, {agent.id(), other.id()}));
  }
  set_routes(std::move(routes));
  connect(agent);
  connect(other);
  let_be_heard({&agent, &other});
  std::vector<std::unique_ptr<UdpClient>> clients;
  for (int i = 0; i < 4; ++i) clients.push_back(std::make_unique<UdpClient>(loop_));
  for (const uint16_t each : ports) {
    port_ = each;
    for (auto& client : clients) {
      expect_echo(*client, fmt::format("to {}", each));
      expect_echo(*client, std::string(30'000, 'x'));
    }
  }
  wait([&] { return counters().udp_flows_active == 24u; });
  EXPECT_EQ(agent.udp.size(), 6u) << "both have their turns";
  EXPECT_EQ(other.udp.size(), 6u);
}

TEST_F(UdpPortsTest, AFlowMovesToAnotherAgentOnlyWhenItsOwnGoes) {
  FakeAgent first(loop_, 1), second(loop_, 2);
  start_with_port({&first}, config());
  UdpClient client(loop_);
  expect_echo(client, "to the first");
  serve({first.id(), second.id()});
  connect(second);
  for (int i = 0; i < 4; ++i) expect_echo(client, "still to the first");
  EXPECT_THAT(second.udp, IsEmpty());
  first.leave(tunnel::kCloseGoodbye);
  wait([&] { return counters().tunnels_active == 1; });
  wait([&] {
    client.send("to the second", local(port_));
    return second.udp.size() == 1 && !second.udp[0]->got.empty();
  });
  EXPECT_TRUE(second.udp[0]->got[0].client);
  wait([&] { return client.got.back() == "to the second"; });
  wait([&] { return counters().udp_flows_moved == 1u; });
  wait([&] { return counters().udp_flows == 1u; });
}

TEST_F(UdpPortsTest, AFlowLeavesAnAgentThatStopsAndStaysWhereThereIsNoOther) {
  FakeAgent first(loop_, 1), second(loop_, 2);
  start_with_port({&first}, config());
  UdpClient client(loop_);
  expect_echo(client, "to the first");
  first.say(tunnel::Drain{});
  wait([&] { return first.drained(); });
  expect_echo(client, "there is no other");
  wait([&] { return counters().udp_flows_moved == 0u; });
  serve({first.id(), second.id()});
  connect(second);
  UdpClient fresh(loop_);
  expect_echo(fresh, "to the second");
  EXPECT_EQ(second.udp.size(), 1u);
}

TEST_F(UdpPortsTest, AnAgentCannotAnswerTheClientsOfAnother) {
  FakeAgent one(loop_, 1), other(loop_, 2);
  start_with_port({&one, &other}, config());
  let_be_heard({&one, &other});
  UdpClient first(loop_), second(loop_);
  expect_echo(first, "a");
  expect_echo(second, "b");
  ASSERT_EQ(one.udp.size() + other.udp.size(), 2u);
  const uint64_t of_one = one.udp[0]->got[0].flow;
  first.got.clear();
  second.got.clear();
  other.udp[0]->channel->send({.flow = of_one, .payload = as_bytes("forged")});
  one.udp[0]->channel->send({.flow = 4711, .payload = as_bytes("to nobody")});
  wait([&] { return counters().udp_dropped_unknown_flow == 2; });
  EXPECT_THAT(first.got, IsEmpty());
  EXPECT_THAT(second.got, IsEmpty());
}

TEST_F(UdpPortsTest, AFloodEvictsNoFlowThatIsInUse) {
  FakeAgent agent(loop_, 1);
  Config small = config();
  small.options.max_udp_flows_per_port = 20;
  small.options.max_new_udp_flows = 1'000'000;
  start_with_port({&agent}, std::move(small));
  UdpClient player(loop_);
  expect_echo(player, "1");
  expect_echo(player, "2");
  const uint64_t flow = agent.udp[0]->got[0].flow;
  agent.udp[0]->is_dumb = true;
  std::vector<std::unique_ptr<UdpClient>> flood;
  for (int i = 0; i < 200; ++i) {
    flood.push_back(std::make_unique<UdpClient>(loop_));
    flood.back()->send("x", local(port_));
  }
  wait([&] { return counters().udp_flows == 201; });
  wait([&] { return counters().udp_flows_active == 20u; });
  wait([&] { return counters().udp_flows_evicted == 181u; });
  agent.udp[0]->is_dumb = false;
  expect_echo(player, "still there");
  EXPECT_EQ(agent.udp[0]->got.back().flow, flow);
}

TEST_F(UdpPortsTest, TheRateOfNewFlowsOfATenantIsLimitedAndNoOthers) {
  FakeAgent agent(loop_, 1);
  Config slow = config();
  slow.options.max_new_udp_flows = 10;
  start(std::move(slow));
  port_ = free_port();
  const uint16_t others_port = free_port();
  route::Route others = port_route(PortProtocol::kUdp, others_port, {agent.id()}, "other");
  others.tenant = route::testing::id(201);
  set_routes({port_route(PortProtocol::kUdp, port_, {agent.id()}), others});
  connect(agent);
  std::vector<std::unique_ptr<UdpClient>> flood;
  for (int i = 0; i < 100; ++i) {
    flood.push_back(std::make_unique<UdpClient>(loop_));
    flood.back()->send("x", local(port_));
  }
  wait([&] { return counters().udp_flows + counters().udp_dropped_rate == 100; });
  EXPECT_GE(counters().udp_flows, 10u);
  EXPECT_LT(counters().udp_flows, 50u);
  port_ = others_port;
  UdpClient client(loop_);
  expect_echo(client, "another tenant");
}

TEST_F(UdpPortsTest, ATenantsOwnFlowsMakeRoomAtItsLimit) {
  FakeAgent agent(loop_, 1);
  Config small = config();
  small.options.max_udp_flows_per_tenant = 2;
  start_with_port({&agent}, std::move(small));
  expect_two_flows_of_five();
}

TEST_F(UdpPortsTest, TheHubMayAllowATenantFewerFlows) {
  FakeAgent agent(loop_, 1);
  start_with_port({&agent}, config());
  route::Route served = port_route(PortProtocol::kUdp, port_, {agent.id()}, "game");
  served.own_limits.udp_flows = 2;
  set_routes({served});
  expect_two_flows_of_five();
}

TEST_F(UdpPortsTest, WhatCannotBeCarriedIsDroppedAndCounted) {
  FakeAgent agent(loop_, 1);
  start(config());
  port_ = free_port();
  route::Route served = port_route(PortProtocol::kUdp, port_, {agent.id()});
  set_routes({served});
  UdpClient client(loop_);
  client.send("x", local(port_));
  wait([&] { return counters().udp_dropped_no_agent == 1; });
  agent.refuse_with = tunnel::kStreamUnknownService;
  connect(agent);
  wait([&] {
    client.send("x", local(port_));  // the first may come before the edge has taken the tunnel
    return !agent.headers.empty();
  });
  wait([&] {
    client.send("x", local(port_));
    return counters().udp_dropped_no_channel > 0;
  });
  EXPECT_LE(agent.headers.size(), 2u) << "it is not asked again for each datagram";
  served.is_suspended = true;
  set_routes({served});
  wait([&] { return counters().udp_flows_active == 0u; });
  client.send("x", local(port_));
  wait([&] { return counters().udp_dropped_suspended > 0; });
}

// Two ports would answer each other for ever.
TEST_F(UdpPortsTest, DatagramsOfTheEdgesOwnPortsAreDropped) {
  FakeAgent agent(loop_, 1);
  start(config());
  port_ = free_port();
  UdpClient spoofer(loop_);
  // As if they came from another port of a route, which cannot be bound.
  set_routes({port_route(PortProtocol::kUdp, port_, {agent.id()}),
              port_route(PortProtocol::kUdp, spoofer.addr().port(), {agent.id()})});
  connect(agent);
  spoofer.send("x", local(port_));
  wait([&] { return counters().udp_dropped_spoofed == 1; });
  EXPECT_EQ(counters().ports_failed, 1u) << "UDP ports have faults as TCP ports have";
  UdpClient client(loop_);
  expect_echo(client, "others are served");
}

TEST_F(UdpPortsTest, IdleFlowsEnd) {
  FakeAgent agent(loop_, 1);
  Config quick = config();
  quick.options.udp_idle_timeout = 200ms;
  start_with_port({&agent}, std::move(quick));
  UdpClient client(loop_);
  expect_echo(client, "x");
  wait([&] { return counters().udp_flows_active == 1u; });
  wait([&] { return counters().udp_flows_active == 0; });
  expect_echo(client, "again");
}

TEST_F(UdpPortsTest, ADrainKeepsTheFlowsThatAreThere) {
  FakeAgent agent(loop_, 1);
  start_with_port({&agent}, config());
  net::ByteStream& open = keep(tcp());  // the drain waits for it
  (void)open;
  UdpClient client(loop_), late(loop_);
  expect_echo(client, "before");
  edge_->stop();
  wait_for_workers();
  late.send("too late", local(port_));
  wait([&] { return counters().udp_dropped_no_agent == 1; });
}

TEST_F(UdpPortsTest, ARangeIsServedAtEachOfItsPortsAndFollowsItsRoute) {
  FakeAgent agent(loop_, 1);
  Config many = config();
  many.options.workers = 3;
  start(std::move(many));
  constexpr uint16_t kFirst = 21500, kLast = 21511;
  const auto serve_until = [&](uint16_t last) {
    set_routes({route::testing::range_route(PortProtocol::kUdp, kFirst, last, {agent.id()})});
  };
  serve_until(kLast);
  connect(agent);
  wait([&] { return counters().ports_open == 12u; });
  std::vector<std::unique_ptr<UdpClient>> clients;
  for (uint16_t port = kFirst; port <= kLast; ++port) {
    port_ = port;
    clients.push_back(std::make_unique<UdpClient>(loop_));
    expect_echo(*clients.back(), fmt::format("at {}", port));
    EXPECT_EQ(clients.back()->from, local(port));
  }
  // The agent knows of each channel which port it is.
  ASSERT_EQ(agent.udp.size(), 12u);
  std::set<uint16_t> told;
  for (const auto& channel : agent.udp) {
    told.insert(channel->header.public_addr.port());
    EXPECT_EQ(channel->header.authority, "relay");
  }
  EXPECT_EQ(told.size(), 12u);
  wait([&] { return counters().udp_flows_active == 12u; });
  // A range that grows touches nothing of the ports that it had.
  serve_until(kLast + 2);
  wait([&] { return counters().ports_open == 14u; });
  EXPECT_EQ(counters().udp_flows_active, 12u);
  port_ = kFirst;
  expect_echo(*clients.front(), "still the same flow");
  EXPECT_EQ(agent.udp.size(), 12u);
  // What it loses is released.
  serve_until(kFirst + 1);
  wait([&] { return counters().ports_open == 2u; });
  set_routes({});
  wait([&] { return counters().ports_open == 0u; });
}

TEST_F(UdpPortsTest, APortOfARangeThatIsTakenIsToldAndTheOthersWork) {
  FakeAgent agent(loop_, 1), late(loop_, 2);
  start(config());
  constexpr uint16_t kFirst = 21520;
  auto holder = net::bind_udp(loop_, local(kFirst + 1), {}).value();
  set_routes({route::testing::range_route(PortProtocol::kUdp, kFirst, kFirst + 2, {agent.id(), late.id()})});
  connect(agent);
  wait([&] { return counters().ports_open == 2u; });
  const route::PublicPort taken{PortProtocol::kUdp, kFirst + 1};
  EXPECT_EQ(edge_->port_faults().size(), 1u);
  EXPECT_TRUE(edge_->port_faults().contains(taken));
  const auto is_told = [&](FakeAgent& who) {
    return std::ranges::any_of(who.heard, [&](const tunnel::ControlMessage& message) {
      const auto* state = std::get_if<tunnel::PortState>(&message);
      return state != nullptr && state->port == taken && !state->is_bound;
    });
  };
  wait([&] { return is_told(agent); });
  connect(late);
  wait([&] { return is_told(late); });
  UdpClient client(loop_);
  for (const uint16_t port : {kFirst, static_cast<uint16_t>(kFirst + 2)}) {
    port_ = port;
    expect_echo(client, "served");
  }
  holder.reset();
  wait([&] { return counters().ports_open == 3u; });
  EXPECT_THAT(edge_->port_faults(), IsEmpty());
}

}  // namespace
}  // namespace culvert::edge
