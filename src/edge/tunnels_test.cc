// The tunnels of agents at a whole edge: which are let in and picked, how they drain and end.
#include <gtest/gtest.h>

#include <algorithm>

#include "edge/edge_fixture.h"
#include "net/tcp.h"

namespace culvert::edge {
namespace {

using namespace std::chrono_literals;
using namespace testing;

using EdgeTest = EdgeFixture;

TEST_F(EdgeTest, ATunnelWithoutALeaseIsRefused) {
  FakeAgent agent(loop_, 1);
  start(config());
  set_routes({});
  dial(agent);
  wait([&] { return agent.closed.has_value(); });
  EXPECT_EQ(agent.closed->kind, endpoint::CloseReason::Kind::kApplication);
  EXPECT_EQ(agent.closed->code, tunnel::kCloseNoLease);
  EXPECT_FALSE(agent.welcome());
  EXPECT_EQ(counters().refused_tunnel_no_lease, 1u);
}

TEST_F(EdgeTest, ATunnelWaitsForARouteThatIsAboutToCome) {
  FakeAgent agent(loop_, 1);
  start(config());
  dial(agent);
  pause(200ms);
  EXPECT_FALSE(agent.welcome() || agent.closed);
  set_usual_routes(agent);
  wait([&] { return agent.welcome(); });
  const auto& welcome = std::get<tunnel::Welcome>(agent.heard.front());
  EXPECT_EQ(welcome, (tunnel::Welcome{tunnel::kControlProtocol, "test", "hub.test:443"}));
}

TEST_F(EdgeTest, BadFirstWordsCloseATunnelAndNameWhatIsWrong) {
  start(config());
  struct Case {
    Bytes words;
    std::string_view reason;
  };
  Bytes not_json{0, 0, 0, 2, '{', '{'};
  Bytes too_long{0xff, 0, 0, 0};
  for (const Case& each : {Case{encode(tunnel::ControlMessage(tunnel::Hello{7, "9.9"})), "protocol 7"},
                           Case{encode(tunnel::ControlMessage(tunnel::Drain{})), "no hello"},
                           Case{not_json, "invalid JSON"}, Case{too_long, "at most"}}) {
    FakeAgent agent(loop_, 1);
    agent.dial_badly(edge_->udp_addr(), key(9).public_key(), each.words);
    wait([&] { return agent.closed.has_value(); });
    EXPECT_EQ(agent.closed->code, tunnel::kCloseProtocol);
    EXPECT_NE(agent.closed->message.find(each.reason), std::string::npos) << agent.closed->message;
  }
  EXPECT_EQ(counters().refused_tunnel_hello, 4u);
}

TEST_F(EdgeTest, ATunnelThatSaysNothingOrHalfAHelloIsCutAtItsDeadline) {
  Config quick = config();
  quick.tunnel_hello_timeout = 3s;
  start(std::move(quick));
  FakeAgent silent(loop_, 1), slow(loop_, 2), served(loop_, 3);
  silent.dial_silently(edge_->udp_addr(), key(9).public_key());
  slow.dial_badly(edge_->udp_addr(), key(9).public_key(), Bytes{0, 0, 0, 50, '{'});
  set_usual_routes(served);
  connect(served);
  wait([&] { return silent.closed && slow.closed; });
  EXPECT_EQ(silent.closed->code, tunnel::kCloseProtocol);
  EXPECT_EQ(slow.closed->code, tunnel::kCloseProtocol);
  EXPECT_EQ(silent.closed->message, "no hello in time");
  wait([&] { return counters().refused_tunnel_hello == 2; });
  EXPECT_FALSE(served.closed) << "an agent that was welcomed has no such deadline";
}

TEST_F(EdgeTest, ATunnelSendsLittleUntilItIsWelcomed) {
  constexpr uint64_t kLittle = 150'000;
  Config quick = config();
  quick.tunnel_hello_timeout = 2s;
  start(std::move(quick));
  FakeAgent unwelcomed(loop_, 1), served(loop_, 3);
  set_usual_routes(served);
  connect(served);
  unwelcomed.dial_silently(edge_->udp_addr(), key(9).public_key());
  wait([&] { return unwelcomed.connected(); });
  unwelcomed.flood();
  uint64_t sent = 0;
  wait([&] {
    sent = std::max(sent, unwelcomed.bytes_sent());
    return unwelcomed.closed.has_value();
  });
  EXPECT_LT(sent, kLittle);
  served.flood();
  wait([&] { return served.bytes_sent() > 2 * kLittle; });
}

TEST_F(EdgeTest, NoMoreUnwelcomedTunnelsThanAllowed) {
  Config small = config();
  small.max_unwelcomed = 2;
  small.tunnel_hello_timeout = 3s;
  start(std::move(small));
  FakeAgent served(loop_, 3), silent(loop_, 1), silent_too(loop_, 2), late(loop_, 4);
  set_usual_routes(served);
  connect(served);
  ::testing::internal::CaptureStderr();
  for (FakeAgent* each : {&silent, &silent_too}) {
    each->dial_silently(edge_->udp_addr(), key(9).public_key());
    wait([&] { return each->connected(); });
  }
  for (int i = 0; i < 2; ++i) {
    FakeAgent refused(loop_, static_cast<uint8_t>(10 + i));
    dial(refused);
    wait([&] { return refused.closed || refused.dial_error; });
    if (refused.closed) EXPECT_EQ(refused.closed->code, tunnel::kCloseLimit);
    const std::string reason = refused.closed ? refused.closed->message : refused.dial_error->message;
    EXPECT_NE(reason.find("too many tunnels"), std::string::npos) << reason;
  }
  std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("event=tunnels_full cap=2 refused=1"), std::string::npos) << log;
  EXPECT_EQ(log.find("tunnels_full", log.find("tunnels_full") + 1), std::string::npos) << "one line: " << log;
  EXPECT_EQ(counters().refused_tunnel_limit, 2u);
  EXPECT_FALSE(served.closed);

  wait([&] { return silent.closed && silent_too.closed; });
  set_routes({route("late.test", route::TlsMode::kPassthrough, {late.id()}),
              route("pass.test", route::TlsMode::kPassthrough, {served.id()})});
  connect(late);
}

TEST_F(EdgeTest, TheSameAgentAgainReplacesItsTunnel) {
  start(config());
  FakeAgent first(loop_, 1);
  set_usual_routes(first);
  connect(first);
  std::vector<std::unique_ptr<FakeAgent>> later;
  for (int i = 0; i < 4; ++i) {
    FakeAgent& old = later.empty() ? first : *later.back();
    later.push_back(std::make_unique<FakeAgent>(loop_, 1));
    connect(*later.back());
    wait([&] { return old.closed.has_value(); });
    EXPECT_EQ(old.closed->code, tunnel::kCloseReplaced);
  }
  net::ByteStream& socket = keep(tcp());
  send(socket, client_hello("pass.test"));
  wait([&] { return later.back()->headers.size() == 1; });
  std::lock_guard lock(mutex_);
  EXPECT_TRUE(left_.empty()) << "a replaced tunnel is no goodbye";
  EXPECT_TRUE(closed_.empty()) << "nor an end without one";
}

TEST_F(EdgeTest, AnAgentHasATunnelOnEachWorkerAndNothingMovesThen) {
  constexpr size_t kWorkers = 3;
  Config several = config();
  several.options.workers = kWorkers;
  start(std::move(several));
  FakeAgent first(loop_, 1);
  set_usual_routes(first);
  std::vector<std::unique_ptr<FakeAgent>> tunnels;
  const auto open = [&] {
    const auto is_open = [](const auto& each) { return !each->closed; };
    return static_cast<size_t>(std::ranges::count_if(tunnels, is_open));
  };
  // The kernel spreads them; that one of the workers gets none of 60 has a chance of 10^-10. One that meets
  // another on its worker takes its place, and that one learns of it a little later.
  size_t dialled = 0;
  while (open() < kWorkers && dialled < 60) {
    while (open() < kWorkers && dialled < 60) {
      tunnels.push_back(std::make_unique<FakeAgent>(loop_, 1));
      tunnels.back()->greeting = "hi";
      connect(*tunnels.back());
      wait([&] { return counters().tunnels_accepted == dialled + 1; });
      ++dialled;
    }
    pause(1s);
  }
  ASSERT_EQ(open(), kWorkers);
  std::erase_if(tunnels, [](const auto& each) {
    if (each->closed) EXPECT_EQ(each->closed->code, tunnel::kCloseReplaced);
    return each->closed.has_value();
  });
  // Until every worker has heard every tunnel since the last came.
  for (auto& each : tunnels) each->stir();
  pause(1s);
  for (int i = 0; i < 30; ++i) {
    net::ByteStream& socket = keep(tcp());
    send(socket, client_hello("pass.test"));
    Received& answer = read(socket);
    wait([&] { return answer.text().starts_with("hi"); });
  }
  EXPECT_EQ(counters().connections_moved, 0u);

  // The control plane hears of the agent when its last tunnel has ended.
  for (size_t left = kWorkers; left > 0; --left) {
    {
      std::lock_guard lock(mutex_);
      EXPECT_TRUE(closed_.empty());
    }
    tunnels[left - 1]->leave(tunnel::kCloseOk);
    wait([&] { return counters().tunnels_active == left - 1; });
  }
  wait_for_call(closed_);
  std::lock_guard lock(mutex_);
  EXPECT_EQ(closed_, std::vector<EndpointId>{first.id()});
  EXPECT_TRUE(left_.empty());
}

TEST_F(EdgeTest, AGoodbyeIsToldToTheControlPlane) {
  FakeAgent polite(loop_, 1), rude(loop_, 2), dropped(loop_, 3), elsewhere(loop_, 4);
  start(config());
  set_routes({route("a.test", route::TlsMode::kPassthrough,
                    {polite.id(), rude.id(), dropped.id(), elsewhere.id()})});
  for (FakeAgent* agent : {&polite, &rude, &dropped, &elsewhere}) connect(*agent);
  rude.leave(tunnel::kCloseProtocol);
  dropped.leave(tunnel::kCloseOk);           // as a connection handle that is dropped
  elsewhere.leave(tunnel::kCloseWithdrawn);  // it serves through other edges
  wait([&] { return counters().tunnels_active == 1; });
  polite.leave(tunnel::kCloseGoodbye);
  wait_for_call(left_);
  std::lock_guard lock(mutex_);
  EXPECT_EQ(left_, std::vector<EndpointId>{polite.id()});
}

TEST_F(EdgeTest, AnEndWithoutAGoodbyeIsToldToo) {
  FakeAgent agent(loop_, 1);
  start_with(agent);
  agent.leave(tunnel::kCloseOk);
  wait_for_call(closed_);
  std::lock_guard lock(mutex_);
  EXPECT_EQ(closed_, std::vector<EndpointId>{agent.id()});
  EXPECT_TRUE(left_.empty());
}

TEST_F(EdgeTest, OneReportTellsWhichAgentsWereHeard) {
  FakeAgent one(loop_, 1), two(loop_, 2), silent(loop_, 3);
  const TimePoint begun = monotonic_now();
  start(config());
  set_routes({route("a.test", route::TlsMode::kPassthrough, {one.id(), two.id(), silent.id()})});
  for (FakeAgent* each : {&one, &two, &silent}) connect(*each);
  TimePoint next = begun;
  const auto wait_for_report = [&](std::vector<FakeAgent*> speakers) {
    wait([&] {
      if (monotonic_now() >= next) {
        for (FakeAgent* each : speakers) each->say(tunnel::Hello{});
        next = monotonic_now() + 20ms;
      }
      std::lock_guard lock(mutex_);
      return !reports_.empty() && reports_.back().size() == speakers.size();
    });
  };
  wait_for_report({&one, &two, &silent});
  const TimePoint from_here = monotonic_now();
  wait_for_report({&one, &two});
  const Duration elapsed = monotonic_now() - begun;
  std::lock_guard lock(mutex_);
  EXPECT_LE(reports_.size(), static_cast<size_t>(elapsed / kReportInterval) + 1) << "whatever the traffic";
  for (const route::AgentHeard& heard : reports_.back()) {
    EXPECT_NE(heard.agent, silent.id());
    EXPECT_GE(heard.when, from_here);
  }
}

TEST_F(EdgeTest, SeveralAgentsShareARoute) {
  FakeAgent one(loop_, 1), two(loop_, 2);
  start(config());
  set_routes({route("a.test", route::TlsMode::kPassthrough, {one.id(), two.id()})});
  connect(one);
  connect(two);
  one.stir();
  wait([&] {
    send(keep(tcp()), client_hello("a.test"));
    return !one.headers.empty();
  });
  one.headers.clear();
  two.headers.clear();
  for (int i = 0; i < 6; ++i) send(keep(tcp()), client_hello("a.test"));
  wait([&] { return one.headers.size() >= 3 && two.headers.size() >= 3; });
  two.headers.clear();
  one.leave(tunnel::kCloseOk);
  wait([&] { return counters().tunnels_active == 1; });
  for (int i = 0; i < 3; ++i) send(keep(tcp()), client_hello("a.test"));
  wait([&] { return two.headers.size() >= 3; });
}

TEST_F(EdgeTest, SeveralAgentsShareSeveralNamesEvenly) {
  for (unsigned workers : {1u, 3u}) {
    for (uint8_t count = 2; count <= 3; ++count) {
      Config several = config();
      several.options.workers = workers;
      edge_.reset();
      start(std::move(several));
      std::vector<std::unique_ptr<FakeAgent>> agents;
      std::vector<EndpointId> ids;
      for (uint8_t i = 1; i <= count; ++i) {
        agents.push_back(std::make_unique<FakeAgent>(loop_, i));
        agents.back()->greeting = "hi";
        ids.push_back(agents.back()->id());
      }
      set_routes({route("a.test", route::TlsMode::kPassthrough, ids),
                  route("b.test", route::TlsMode::kPassthrough, ids),
                  route("c.test", route::TlsMode::kTerminate, ids),
                  route("d.test", route::TlsMode::kTerminate, ids)});
      for (auto& agent : agents) connect(*agent);
      for (auto& agent : agents) agent->stir();
      pause(1s);  // until every worker knows
      const auto ask = [&](const std::string& name, bool terminated) {
        net::ByteStream* socket = nullptr;
        if (terminated) {
          auto stream = tls(name);
          ASSERT_TRUE(stream) << stream.error().message;
          socket = &keep(std::move(*stream));
        } else {
          socket = &keep(tcp());
          send(*socket, client_hello(name));
        }
        Received& answer = read(*socket);
        wait([&] { return answer.text().starts_with("hi"); });
        socket->close();
        wait([&] { return answer.ended(); });
      };
      constexpr int kEach = 24;
      for (int i = 0; i < kEach; ++i) {
        for (const char* name : {"a.test", "b.test"}) ask(name, false);
        for (const char* name : {"c.test", "d.test"}) ask(name, true);
      }
      for (const char* name : {"a.test", "b.test", "c.test", "d.test"}) {
        for (auto& agent : agents) {
          auto got = std::ranges::count(agent->headers, name, &tunnel::StreamHeader::authority);
          EXPECT_EQ(got, kEach / count) << name << ", " << workers << " workers";
        }
      }
    }
  }
}

TEST_F(EdgeTest, LeastConnectionsGivesTheIdleAgentWhatComes) {
  Config levelled = config();
  levelled.options.balance = route::Balance::kLeastConnections;
  levelled.options.workers = 2;
  start(std::move(levelled));
  FakeAgent one(loop_, 1), two(loop_, 2);
  set_routes({route("a.test", route::TlsMode::kPassthrough, {one.id(), two.id()})});
  const auto open = [&](int count) {
    for (int i = 0; i < count; ++i) open_client("a.test");
  };
  connect(one);
  open(4);
  connect(two);
  one.stir();
  pause(1s);  // until the edge knows
  open(4);
  EXPECT_EQ(two.headers.size(), 4u) << "turns would be two each";
  EXPECT_EQ(one.headers.size(), 4u);
  open(6);
  EXPECT_EQ(two.headers.size(), 7u);
  // Those that end count no more.
  for (size_t i = 0; i < sockets_.size(); ++i) {
    if (i < 4) sockets_[i]->reset();
  }
  wait([&] { return counters().connections_active == 10; });
  open(3);
  EXPECT_EQ(one.headers.size(), 10u);
}

TEST_F(EdgeTest, AgentsThatJoinAndLeaveDuringHandshakesCostNobodyAFalseAnswer) {
  Config several = config();
  several.options.workers = 4;
  start(std::move(several));
  FakeAgent stays(loop_, 1);
  stays.greeting = "HTTP/1.1 200 OK\r\n\r\n";
  const EndpointId other = key(2).public_key();
  set_routes({route("term.test", route::TlsMode::kTerminate, {stays.id(), other})});
  connect(stays);
  const auto get_many = [&](int count) {
    for (int i = 0; i < count; ++i) {
      tasks_.spawn([](EdgeTest& test) -> net::Task<> {
        auto socket = co_await net::tcp_connect(test.loop_, test.edge_->tcp_addr(), soon());
        if (!socket) co_return;
        tls::ClientTrust trust;
        trust.root_pem = test.root_;
        auto tls = co_await tls::connect(std::move(*socket), "term.test", std::move(trust), soon());
        EXPECT_TRUE(tls);
        if (!tls) co_return;
        auto sent = co_await net::write_all(**tls, as_bytes("GET / HTTP/1.1\r\n\r\n"), soon());
        Bytes chunk(4096);
        if (sent) (void)co_await net::read_some(**tls, chunk, soon());
      }(*this));
    }
  };
  for (int round = 0; round < 8; ++round) {
    FakeAgent comes(loop_, 2);
    comes.greeting = stays.greeting;
    dial(comes);
    get_many(10);
    wait([&] { return comes.welcome(); });
    get_many(10);
    net::testing::drain(loop_);
    comes.leave(tunnel::kCloseOk);
    get_many(10);
    wait([&] { return tasks_.size() == 0; });
  }
  EXPECT_EQ(counters().refused_no_agent, 0u);
  EXPECT_GT(counters().connections_moved, 0u);
}

TEST_F(EdgeTest, ConnectionsMoveToTheWorkerThatHasTheTunnel) {
  Config several = config();
  several.options.workers = 3;
  start(std::move(several));
  FakeAgent agent(loop_, 1);
  agent.greeting = "hi";
  set_usual_routes(agent);
  connect(agent);
  // The kernel spreads these over three listeners; the chance that all meet the tunnel's own is 3^-29.
  for (int i = 0; i < 30; ++i) {
    net::ByteStream& socket = keep(tcp());
    send(socket, client_hello("pass.test"));
    Received& answer = read(socket);
    wait([&] { return answer.text().starts_with("hi"); });
    EXPECT_EQ(agent.headers.back().client, socket.local_addr());
  }
  EXPECT_EQ(agent.headers.size(), 30u);
  EXPECT_GT(counters().connections_moved, 0u);
  EXPECT_EQ(counters().streams_carried, 30u);
  // Terminated ones too.
  auto stream = tls("term.test");
  ASSERT_TRUE(stream) << stream.error().message;
  Received& answer = read(keep(std::move(*stream)));
  wait([&] { return answer.text() == "hi"; });
}

TEST_F(EdgeTest, AnAgentThatDrainsGetsNothingNewAndIsToldWhenAllHasEnded) {
  FakeAgent one(loop_, 1), two(loop_, 2);
  start(config());
  set_routes({route("a.test", route::TlsMode::kPassthrough, {one.id(), two.id()}),
              route("b.test", route::TlsMode::kPassthrough, {one.id()})});
  connect(one);
  const auto [before, answer] = open_client("a.test");
  connect(two);
  one.say(tunnel::Drain{});
  one.say(tunnel::Drain{});  // no more than one
  // Until the edge has read it, it still opens streams.
  const auto wait_until_refused = [&](std::string_view name) {
    const Bytes asked = client_hello(name);
    wait([&] {
      net::ByteStream& socket = keep(tcp());
      send(socket, asked);
      Received& got = read(socket);
      wait([&] { return got.bytes == asked || got.ended(); });
      const bool refused = got.bytes == kInternalError;
      socket.close();
      return refused;
    });
  };
  wait_until_refused("b.test");
  const size_t opened = one.headers.size();
  for (int i = 0; i < 6; ++i) send(keep(tcp()), client_hello("a.test"));
  wait([&] { return two.headers.size() == 6; });
  EXPECT_EQ(one.headers.size(), opened);
  EXPECT_FALSE(one.drained());
  send(before, as_bytes("goes on"));
  wait([&] { return answer.text().ends_with("goes on"); });
  EXPECT_TRUE(run_task(loop_, net::finish(before, soon())));
  wait([&] { return one.drained(); });
  wait([&] { return answer.ended(); });
  EXPECT_TRUE(answer.clean);
  EXPECT_FALSE(one.closed) << "it is the agent that leaves";
  two.say(tunnel::Drain{});
  wait_until_refused("a.test");
  EXPECT_EQ(std::ranges::count_if(one.heard,
                                  [](const tunnel::ControlMessage& message) {
                                    return std::holds_alternative<tunnel::Drained>(message);
                                  }),
            1);
}

TEST_F(EdgeTest, GracefulStopsUnderLoadCostNoConnection) {
  Config several = config();
  several.options.workers = 4;
  start(std::move(several));
  FakeAgent stays(loop_, 1);
  stays.greeting = "HTTP/1.1 200 OK\r\n\r\n";
  const EndpointId other = key(2).public_key();
  set_routes({route("term.test", route::TlsMode::kTerminate, {stays.id(), other}),
              route("pass.test", route::TlsMode::kPassthrough, {stays.id(), other})});
  connect(stays);
  size_t asked = 0, answered = 0;
  bool loading = true;
  const auto ask = [](EdgeTest& test, bool& goes_on, size_t& begun, size_t& good) -> net::Task<> {
    unsigned turn = 0;
    while (goes_on) {
      ++begun;
      ++turn;
      auto socket = co_await net::tcp_connect(test.loop_, test.edge_->tcp_addr(), soon());
      if (!socket) continue;
      Bytes chunk(4096);
      std::unique_ptr<net::ByteStream> stream = std::move(*socket);
      Bytes request = client_hello("pass.test");
      if (turn % 2 == 0) {
        tls::ClientTrust trust;
        trust.root_pem = test.root_;
        auto tls = co_await tls::connect(std::move(stream), "term.test", std::move(trust), soon());
        if (!tls) continue;
        stream = std::move(*tls);
        request = to_bytes(as_bytes("GET / HTTP/1.1\r\n\r\n"));
      }
      auto sent = co_await net::write_all(*stream, request, soon());
      if (!sent) continue;
      auto got = co_await net::read_some(*stream, chunk, soon());
      if (got && as_text(ByteView(chunk).first(*got)).starts_with("HTTP/1.1 200")) ++good;
      stream->close();
    }
  };
  for (int i = 0; i < 16; ++i) tasks_.spawn(ask(*this, loading, asked, answered));
  for (int round = 0; round < 8; ++round) {
    FakeAgent stops(loop_, 2);
    stops.greeting = stays.greeting;
    connect(stops);
    wait([&] { return stops.headers.size() >= 10; });
    stops.say(tunnel::Drain{});
    wait([&] { return stops.drained(); });
    stops.leave(tunnel::kCloseGoodbye);
  }
  loading = false;
  wait([&] { return tasks_.size() == 0; });
  EXPECT_GE(asked, 80u);
  EXPECT_EQ(answered, asked);
  EXPECT_GT(counters().connections_moved, 0u);
}

}  // namespace
}  // namespace culvert::edge
