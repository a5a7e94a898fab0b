// What agents say of their origins: who gets the clients, who gets those that an agent cannot serve, and what
// clients and operators are told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "edge/edge_fixture.h"

namespace culvert::edge {
namespace {

using namespace testing;
using route::PortProtocol;
using route::testing::port_route;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using tunnel::Health;

class HealthTest : public EdgeFixture {
 public:
  HealthTest() {
    one_.greeting = "one ";
    two_.greeting = "two ";
  }
  void start_with_both() {
    start(config());
    set_routes({route("pass.test", route::TlsMode::kPassthrough, {one_.id(), two_.id()}),
                route("term.test", route::TlsMode::kTerminate, {one_.id(), two_.id()})});
    connect_both();
  }
  // An agent that was not heard since the other came would get no client.
  void connect_both() {
    connect(one_);
    connect(two_);
    one_.stir();
    pause(1s);  // until the edge knows
  }
  // Returns when the edge has taken it.
  void say(FakeAgent& agent, const Health& health, uint64_t unhealthy_then) {
    agent.say(health);
    wait([&] { return counters().services_unhealthy == unhealthy_then; });
  }
  // Which agent the edge gives a client to.
  std::string served_by(std::string name = "term.test") {
    net::ByteStream& socket = keep(tls(std::move(name)).value());
    send(socket, as_bytes("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    Received& answer = read(socket);
    wait([&] { return answer.text().size() >= 3 || answer.ended(); });
    const std::string who = answer.text().substr(0, 3);
    socket.close();
    return who;
  }

  FakeAgent one_{loop_, 1};
  FakeAgent two_{loop_, 2};
};

TEST_F(HealthTest, ClientsGoToTheAgentWhoseOriginWorks) {
  start_with_both();
  say(one_, {"term.test", false, "it is down"}, 1);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(served_by(), "two");
  EXPECT_EQ(counters().services_failed, 1u);
  say(two_, {"term.test", false, "it is slow"}, 2);
  std::map<std::string, int> got;
  for (int i = 0; i < 4; ++i) ++got[served_by()];
  EXPECT_EQ(got["one"] + got["two"], 4) << "none is healthy: all of them are used";
  say(one_, {"term.test", true, ""}, 1);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(served_by(), "one");
}

TEST_F(HealthTest, AnAgentThatIsSlowToAnswerIsBetterThanOneWhoseOriginDoesNotWork) {
  start_with_both();
  say(one_, {"term.test", false, "it is down"}, 1);
  net::ByteStream& socket = keep(tls("term.test").value());
  // Nobody runs this loop, on which the agents are, for longer than an agent has to answer.
  const Bytes request = to_bytes(as_bytes("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  send(socket, request);
  std::this_thread::sleep_for(900ms);
  Received& answer = read(socket);
  wait([&] { return answer.text().size() >= 3 || answer.ended(); });
  EXPECT_EQ(answer.text().substr(0, 3), "two");
  EXPECT_EQ(counters().streams_retried, 0u);
}

TEST_F(HealthTest, ATunnelThatEndsTakesItsWordAlong) {
  start_with_both();
  say(one_, {"term.test", false, "it is down"}, 1);
  one_.leave(tunnel::kCloseGoodbye);
  wait([&] { return counters().services_unhealthy == 0; });
  EXPECT_EQ(served_by(), "two");
}

TEST_F(HealthTest, ARequestThatAnAgentCannotServeGoesToAnother) {
  start_with_both();
  one_.refuse_with = tunnel::kStreamOriginUnreachable;
  for (int i = 0; i < 6; ++i) EXPECT_EQ(served_by(), "two");
  // The turn of the other was used for what this one refused, so that it is first again.
  const uint64_t failed = counters().origins_failed;
  EXPECT_GE(failed, 5u);
  EXPECT_EQ(counters().refused_by_agent, 0u);
  // What the client sends is a hello, and the agent repeats it.
  two_.greeting.clear();
  for (int i = 0; i < 4; ++i) open_client("pass.test");
  EXPECT_GE(counters().origins_failed, failed + 3);
}

TEST_F(HealthTest, ARequestThatMustNotBeRepeatedIsAnsweredByTheEdge) {
  start_with_both();
  one_.refuse_with = two_.refuse_with = tunnel::kStreamOriginUnreachable;
  net::ByteStream& socket = keep(tls("term.test").value());
  send(socket, as_bytes("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"));
  Received& answer = read(socket);
  wait([&] { return answer.ended(); });
  EXPECT_THAT(answer.text(), StartsWith("HTTP/1.1 502"));
  EXPECT_EQ(counters().origins_failed, 0u);
}

TEST_F(HealthTest, WhereNoOriginWorksThePageSaysWhy) {
  start_with_both();
  one_.refuse_with = two_.refuse_with = tunnel::kStreamOriginUntrusted;
  EXPECT_THAT(get("term.test"), HasSubstr("does not trust the certificate"));
  EXPECT_EQ(one_.headers.size() + two_.headers.size(), 2u) << "each was asked once";
  say(one_, {"term.test", false, "its certificate\nhas expired"}, 1);
  say(two_, {"term.test", false, "its certificate\nhas expired"}, 2);
  const std::string page = get("term.test");
  EXPECT_THAT(page, StartsWith("HTTP/1.1 502"));
  EXPECT_THAT(page, HasSubstr("The agent says of it: its certificate?has expired."));
  EXPECT_EQ(counters().refused_by_agent, 2u);
}

TEST_F(HealthTest, AClientOfAPortGoesToAnotherAsWell) {
  start(config());
  auto probe = net::TcpListener::listen(loop_, SocketAddr::v4({127, 0, 0, 1}, 0), {}).value();
  const uint16_t port = probe->local_addr().port();
  probe->close();
  set_routes({port_route(PortProtocol::kTcp, port, {one_.id(), two_.id()}, "game")});
  connect_both();
  one_.refuse_with = tunnel::kStreamOriginUnreachable;
  const auto ask = [&] {
    net::ByteStream& socket =
        keep(run_task(loop_, net::tcp_connect(loop_, SocketAddr::v4({127, 0, 0, 1}, port), soon())).value());
    Received& answer = read(socket);
    wait([&] { return answer.ended() || answer.text() == "two "; });
    return answer.text();
  };
  for (int i = 0; i < 4; ++i) EXPECT_EQ(ask(), "two ");
  const uint64_t failed = counters().origins_failed;
  EXPECT_GE(failed, 3u);
  say(one_, {"tcp:game", false, "it is down"}, 1);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(ask(), "two ");
  EXPECT_EQ(counters().origins_failed, failed) << "it was not asked any more";
  two_.refuse_with = tunnel::kStreamOriginUnreachable;
  EXPECT_EQ(ask(), "");
}

}  // namespace
}  // namespace culvert::edge
