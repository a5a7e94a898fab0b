// TCP ports of routes: bound while a route has them, told when they cannot be, and carried like hostnames.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "edge/edge_fixture.h"

namespace culvert::edge {
namespace {

using namespace testing;
using route::PortProtocol;
using route::PublicPort;
using route::testing::port_route;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class PortsTest : public EdgeFixture {
 public:
  static SocketAddr local(uint16_t port) { return SocketAddr::v4({127, 0, 0, 1}, port); }
  std::unique_ptr<net::TcpListener> occupy(uint16_t port) {
    return net::TcpListener::listen(loop_, local(port), {}).value();
  }
  // One that nobody has now.
  uint16_t free_port() {
    // Below those that the system gives to clients.
    constexpr uint16_t kFirst = 20'000, kCount = 12'000;
    while (true) {
      const auto port = static_cast<uint16_t>(kFirst + loop_.random().below(kCount));
      auto listener = net::TcpListener::listen(loop_, local(port), {});
      if (!listener) continue;
      (*listener)->close();
      return port;
    }
  }
  Result<std::unique_ptr<net::ByteStream>> try_connect(uint16_t port) {
    return run_task(loop_, net::tcp_connect(loop_, local(port), soon()));
  }
  net::ByteStream& connect_to(uint16_t port) { return keep(try_connect(port).value()); }
  void serve(uint16_t port, const std::vector<EndpointId>& agents, std::string service = "game") {
    set_routes({port_route(PortProtocol::kTcp, port, agents, std::move(service))});
  }
  // What an agent was told of ports, "tcp/1 in use" or "tcp/1 bound".
  static std::vector<std::string> told(const FakeAgent& agent) {
    std::vector<std::string> all;
    for (const tunnel::ControlMessage& message : agent.heard) {
      if (const auto* state = std::get_if<tunnel::PortState>(&message))
        all.push_back(state->port.text() + (state->is_bound ? " bound" : " " + state->reason));
    }
    return all;
  }
  void expect_reset(uint16_t port) {
    auto socket = try_connect(port);
    if (!socket) return;  // the reset came before the connection was seen to stand
    Received& answer = read(keep(std::move(*socket)));
    wait([&] { return answer.ended(); });
    EXPECT_TRUE(answer.broken);
    EXPECT_THAT(answer.bytes, IsEmpty());
  }
  void expect_echo(net::ByteStream& socket, std::string_view text) {
    send(socket, as_bytes(text));
    Received& answer = read(socket);
    wait([&] { return answer.text().ends_with(text); });
  }
};

TEST_F(PortsTest, APortIsServedWhileARouteHasIt) {
  FakeAgent agent(loop_, 1);
  agent.greeting = "hello ";
  start(config());
  const uint16_t port = free_port();
  serve(port, {agent.id()}, "Git over SSH");
  connect(agent);
  // The server speaks first.
  net::ByteStream& socket = connect_to(port);
  Received& answer = read(socket);
  wait([&] { return answer.text() == "hello "; });
  ASSERT_EQ(agent.headers.size(), 1u);
  EXPECT_EQ(agent.headers[0].kind, tunnel::StreamKind::kTcpPort);
  EXPECT_EQ(agent.headers[0].authority, "Git over SSH");
  EXPECT_EQ(agent.headers[0].client, socket.local_addr());
  EXPECT_EQ(agent.headers[0].public_addr, local(port));
  wait([&] { return counters().ports_open == 1u; });
  send(socket, as_bytes("and back"));
  wait([&] { return answer.text() == "hello and back"; });
  EXPECT_EQ(run_task(loop_, net::finish(socket, soon())).has_value(), true);
  wait([&] { return answer.ended(); });
  EXPECT_TRUE(answer.clean) << "half-close is carried";

  net::ByteStream& open = connect_to(port);
  Received& cut = read(open);
  wait([&] { return cut.text() == "hello "; });
  const route::Route other = route("pass.test", route::TlsMode::kPassthrough, {agent.id()});
  set_routes({other});
  wait([&] { return cut.ended(); });
  EXPECT_TRUE(cut.broken);
  EXPECT_FALSE(try_connect(port)) << "it is released";
  wait([&] { return counters().ports_open == 0u; });
  EXPECT_TRUE(occupy(port));
}

TEST_F(PortsTest, TheClientsFirstBytesAreNotLostWithOneAgentOrWithMore) {
  FakeAgent agent(loop_, 1), other(loop_, 2);
  start(config());
  const uint16_t port = free_port();
  serve(port, {agent.id()});
  connect(agent);
  expect_echo(connect_to(port), "first bytes");
  serve(port, {agent.id(), other.id()});
  connect(other);
  for (int i = 0; i < 4; ++i) expect_echo(connect_to(port), "more first bytes");
  EXPECT_EQ(agent.headers.size() + other.headers.size(), 5u);
  EXPECT_GE(other.headers.size(), 1u);
}

TEST_F(PortsTest, APortThatIsTakenIsToldAndTriedAgain) {
  FakeAgent agent(loop_, 1), late(loop_, 2), later(loop_, 3);
  start(config());
  auto holder = occupy(0);
  const uint16_t port = holder->local_addr().port();
  const std::string name = PublicPort{PortProtocol::kTcp, port}.text();
  set_routes({port_route(PortProtocol::kTcp, port, {agent.id(), late.id()}),
              route("pass.test", route::TlsMode::kPassthrough, {later.id()})});
  connect(agent);
  wait([&] { return told(agent).size() == 1; });
  EXPECT_THAT(told(agent)[0], HasSubstr(name));
  EXPECT_THAT(told(agent)[0], HasSubstr("in use"));
  wait([&] { return counters().ports_failed == 1u; });
  EXPECT_EQ(edge_->port_faults().size(), 1u);
  connect(late);
  wait([&] { return told(late).size() == 1; });
  connect(later);
  set_routes({port_route(PortProtocol::kTcp, port, {agent.id(), late.id(), later.id()})});
  wait([&] { return told(later).size() == 1; });

  holder->close();
  holder.reset();
  for (FakeAgent* each : {&agent, &late, &later}) wait([&] { return told(*each).back() == name + " bound"; });
  expect_echo(connect_to(port), "served now");
  EXPECT_THAT(edge_->port_faults(), IsEmpty());
  wait([&] { return counters().ports_failed == 0u; });
}

TEST_F(PortsTest, APortThatIsGivenBackWhileItIsTakenIsNoFaultAnyMore) {
  FakeAgent agent(loop_, 1);
  start(config());
  auto holder = occupy(0);
  serve(holder->local_addr().port(), {agent.id()});
  wait([&] { return counters().ports_failed == 1; });
  set_routes({});
  wait([&] { return counters().ports_failed == 0u; });
  EXPECT_THAT(edge_->port_faults(), IsEmpty());
}

TEST_F(PortsTest, EveryPortIsServedByOneOfTheWorkers) {
  FakeAgent agent(loop_, 1);
  Config many = config();
  many.options.workers = 3;
  start(std::move(many));
  std::vector<uint16_t> ports;
  std::vector<route::Route> routes;
  while (ports.size() < 12) {
    const uint16_t port = free_port();
    if (std::ranges::find(ports, port) != ports.end()) continue;
    ports.push_back(port);
    routes.push_back(port_route(PortProtocol::kTcp, port, {agent.id()}));
  }
  set_routes(std::move(routes));
  connect(agent);
  for (const uint16_t port : ports) expect_echo(connect_to(port), fmt::format("to {}", port));
  wait([&] { return counters().ports_open == 12u; });
}

TEST_F(PortsTest, WhatCannotBeCarriedIsResetAndCounted) {
  FakeAgent agent(loop_, 1);
  Config small = config();
  small.options.max_connections_per_tenant = 1;
  start(std::move(small));
  const uint16_t port = free_port();
  route::Route served = port_route(PortProtocol::kTcp, port, {agent.id()});
  set_routes({served});
  expect_reset(port);
  wait([&] { return counters().refused_no_agent == 1u; });
  connect(agent);
  net::ByteStream& first = connect_to(port);
  expect_echo(first, "within the limit");
  expect_reset(port);
  wait([&] { return counters().refused_tenant_full == 1u; });
  first.reset();
  wait([&] { return counters().connections_active == 0; });

  agent.refuse_with = tunnel::kStreamOriginUnreachable;
  expect_reset(port);
  wait([&] { return counters().refused_by_agent == 1u; });
  served.is_suspended = true;
  set_routes({served});
  expect_reset(port);
  wait([&] { return counters().refused_suspended == 1u; });
}

TEST_F(PortsTest, TrustedProxiesTellTheClientOfAPort) {
  FakeAgent agent(loop_, 1);
  Config behind_proxy = config();
  behind_proxy.options.trusted_proxies = {IpPrefix::parse("127.0.0.0/8").value()};
  behind_proxy.options.hello_timeout = 100ms;
  start(std::move(behind_proxy));
  const uint16_t port = free_port();
  serve(port, {agent.id()});
  connect(agent);
  net::ByteStream& client = connect_to(port);
  send(client, as_bytes("PROXY TCP4 192.0.2.7 198.51.100.1 4711 2222\r\nfirst"));
  Received& echo = read(client);
  wait([&] { return echo.text() == "first"; });
  ASSERT_EQ(agent.headers.size(), 1u);
  EXPECT_EQ(agent.headers[0].client.to_string(), "192.0.2.7:4711");
  EXPECT_EQ(as_text(agent.after_header), "first");
  net::ByteStream& silent = connect_to(port);
  Received& answer = read(silent);
  wait([&] { return answer.ended(); });
  wait([&] { return counters().refused_hello_timeout == 1u; });
  send(connect_to(port), as_bytes("SSH-2.0-client\r\n"));
  wait([&] { return counters().refused_proxy_header == 1; });
  EXPECT_EQ(agent.headers.size(), 1u);
}

TEST_F(PortsTest, AnotherAgentGetsTheClientOfOneThatDoesNotAnswer) {
  net::EventLoop silent_loop;
  {
    FakeAgent live(loop_, 1), silent(silent_loop, 2);
    start(config());
    const uint16_t port = free_port();
    serve(port, {live.id(), silent.id()});
    connect(live);
    // The youngest: its turn comes first.
    silent.dial(edge_->udp_addr(), key(9).public_key());
    run_until(silent_loop, [&] { return silent.welcome() && counters().tunnels_active == 2; });
    expect_echo(connect_to(port), "whole and once");
    EXPECT_EQ(as_text(live.after_header), "whole and once");
    wait([&] { return counters().streams_retried == 1u; });
    edge_.reset();
    run_until(silent_loop, [&] { return silent.closed.has_value(); });
  }
}

TEST_F(PortsTest, ADrainReleasesThePortsAndKeepsWhatIsOpen) {
  FakeAgent agent(loop_, 1);
  start(config());
  const uint16_t port = free_port();
  serve(port, {agent.id()});
  connect(agent);
  net::ByteStream& open = connect_to(port);
  expect_echo(open, "before");
  edge_->stop();
  wait([&] { return counters().ports_open == 0; });
  EXPECT_FALSE(try_connect(port));
  send(open, as_bytes("after"));
  wait([&] { return as_text(agent.after_header) == "beforeafter"; });
  EXPECT_FALSE(stopped_);
  open.close();
  wait([&] { return stopped_.load(); });
}

}  // namespace
}  // namespace culvert::edge
