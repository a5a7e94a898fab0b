// A whole edge, its workers on their threads, over loopback; clients and agents on the test's own loop.
#include "edge/edge.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "edge/edge_fixture.h"
#include "net/network_watch.h"
#include "net/tcp.h"

namespace culvert::edge {
namespace {

using namespace std::chrono_literals;
using namespace testing;

using EdgeTest = EdgeFixture;

const Bytes kUnrecognizedName = tls::alert_record(tls::Alert::kUnrecognizedName);
const Bytes kInternalError = tls::alert_record(tls::Alert::kInternalError);

// ---- Hellos

TEST_F(EdgeTest, AnUnknownNameGetsTheAlertAndACleanEnd) {
  start(config());
  for (bool with_table : {false, true}) {
    if (with_table) set_routes({});
    Received answer = say_hello("stranger.test");
    EXPECT_TRUE(answer.clean);
    EXPECT_EQ(answer.bytes, kUnrecognizedName);
  }
  EXPECT_EQ(counters().refused_unknown_hostname, 2u);
}

TEST_F(EdgeTest, WhatIsNoTlsIsCut) {
  start(config());
  for (std::string_view garbage :
       {"-GET / HTTP/1.1\r\n\r\n", "GET\r\n", "get / HTTP/1.1\r\n", "SSH-2.0-x\r\n"}) {
    net::ByteStream& socket = keep(tcp());
    send(socket, as_bytes(garbage));
    Received& answer = read(socket);
    wait([&] { return answer.ended(); });
    EXPECT_TRUE(answer.bytes.empty());
  }
  net::ByteStream& socket = keep(tcp());
  send(socket, Bytes{22, 3, 1, 0, 4, 2, 0, 0, 0});  // a handshake record, but no ClientHello
  Received& answer = read(socket);
  wait([&] { return answer.ended(); });
  EXPECT_EQ(answer.bytes, tls::alert_record(tls::Alert::kDecodeError));
  EXPECT_EQ(counters().refused_not_tls, 5u);
  EXPECT_EQ(counters().refused_plain_http, 0u);
}

TEST_F(EdgeTest, PlainHttpIsToldToUseHttps) {
  start(config());
  ::testing::internal::CaptureStderr();
  for (std::string_view request : {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "P", "OPTIONS * HTTP/1.1\r\n\r\n",
                                   "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "M-SEARCH * HTTP/1.1\r\n\r\n",
                                   "GET http://x/ HTTP/1.1\r\n\r\n"}) {
    net::ByteStream& socket = keep(tcp());
    send(socket, as_bytes(request));
    Received& answer = read(socket);
    wait([&] { return answer.ended(); });
    EXPECT_TRUE(answer.clean) << request;
    EXPECT_TRUE(answer.text().starts_with("HTTP/1.1 400 Bad Request\r\n")) << answer.text();
    EXPECT_NE(answer.text().find("https://"), std::string::npos) << answer.text();
  }
  EXPECT_EQ(counters().refused_plain_http, 6u);
  EXPECT_EQ(counters().refused_not_tls, 0u);
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("event=plain_http client=127.0.0.1:"), std::string::npos) << log;
  EXPECT_EQ(log.find("plain_http", log.find("plain_http") + 1), std::string::npos) << "one line: " << log;
}

TEST_F(EdgeTest, ATenantHasNoMoreConnectionsThanAllowedAndTakesNoneFromOthers) {
  for (unsigned workers : {1u, 3u}) {
    Config small = config();
    small.options.workers = workers;
    small.options.max_connections_per_tenant = 2;
    start(std::move(small));
    FakeAgent agent(loop_, 1);
    route::Route other = route("other.test", route::TlsMode::kPassthrough, {agent.id()});
    other.tenant = key(51).public_key();
    set_routes({route("pass.test", route::TlsMode::kPassthrough, {agent.id()}),
                route("term.test", route::TlsMode::kTerminate, {agent.id()}), other});
    connect(agent);
    std::vector<net::ByteStream*> carried;
    for (size_t i = 0; i < 2; ++i) {
      carried.push_back(&keep(tcp()));
      send(*carried.back(), client_hello("pass.test"));
      wait([&] { return agent.headers.size() == i + 1; });
    }
    ::testing::internal::CaptureStderr();
    EXPECT_EQ(say_hello("pass.test").bytes, kInternalError);
    EXPECT_TRUE(get("term.test").starts_with("HTTP/1.1 503 "));
    EXPECT_EQ(counters().refused_tenant_full, 2u);
    const std::string log = ::testing::internal::GetCapturedStderr();
    EXPECT_NE(log.find("event=tenant_full host=\"pass.test\" cap=2 refused=1"), std::string::npos) << log;
    send(keep(tcp()), client_hello("other.test"));
    wait([&] { return agent.headers.size() == 3; });
    // A place is given back with its connection.
    carried.front()->reset();
    wait([&] { return counters().connections_active == 2; });
    send(keep(tcp()), client_hello("pass.test"));
    wait([&] { return agent.headers.size() == 4; });
    for (auto& socket : sockets_) socket->close();
    edge_.reset();
  }
}

TEST_F(EdgeTest, IPv6AndIPv4ClientsReachAListenerOnEveryAddress) {
  const SocketAddr every = net::every_address(0);
  Config open = config();
  open.options.tcp_listen = every;
  start(std::move(open));
  const uint16_t port = edge_->tcp_addr().port();
  std::array<uint8_t, 16> loopback{};
  loopback.back() = 1;
  std::vector<SocketAddr> addresses{SocketAddr::v4({127, 0, 0, 1}, port)};
  if (!every.is_v4() && net::source_address_for(SocketAddr::v6(loopback, port)))
    addresses.push_back(SocketAddr::v6(loopback, port));
  for (const SocketAddr& address : addresses) {
    net::ByteStream& socket = keep(run_task(loop_, net::tcp_connect(loop_, address, soon())).value());
    send(socket, client_hello("stranger.test"));
    Received& answer = read(socket);
    wait([&] { return answer.ended(); });
    EXPECT_EQ(answer.bytes, kUnrecognizedName) << address.to_string();
  }
}

TEST_F(EdgeTest, ASlowHelloIsCutAtItsDeadlineAndAQuickOneIsServedMeanwhile) {
  Config quick = config();
  quick.options.hello_timeout = 300ms;
  start(std::move(quick));
  net::ByteStream& silent = keep(tcp());
  net::ByteStream& slow = keep(tcp());
  send(slow, ByteView(client_hello("x.test")).first(20));
  Received& silence = read(silent);
  Received& slowness = read(slow);
  EXPECT_EQ(say_hello("stranger.test").bytes, kUnrecognizedName);
  wait([&] { return silence.ended() && slowness.ended(); });
  EXPECT_TRUE(silence.bytes.empty() && slowness.bytes.empty());
  wait([&] { return counters().refused_hello_timeout == 2u; });  // counted after the close
}

TEST_F(EdgeTest, TheHubsConnectionsAreHandedOverWithWhatWasRead) {
  start(config());
  for (std::string_view name : {"", "hub.test"}) {
    Bytes hello = client_hello(name);
    send(keep(tcp()), hello);
    wait([&] {
      std::lock_guard lock(mutex_);
      return !to_hub_.empty();
    });
    std::lock_guard lock(mutex_);
    ASSERT_EQ(to_hub_.size(), 1u);
    EXPECT_EQ(to_hub_[0].received, hello);
    EXPECT_EQ(to_hub_[0].server_name, name);
    auto socket = std::move(to_hub_[0].socket).attach(loop_);
    EXPECT_EQ(socket->remote_addr(), sockets_.back()->local_addr());
    to_hub_.clear();
  }
  EXPECT_EQ(counters().connections_to_hub, 2u);
}

TEST_F(EdgeTest, WhatTheHubHasNoRoomForIsClosedAndCounted) {
  start(config());
  refuse_for_hub_ = true;
  Received answer = say_hello("hub.test");
  EXPECT_TRUE(answer.bytes.empty());
  wait([&] { return counters().refused_hub_full == 1u; });
  EXPECT_EQ(counters().connections_to_hub, 0u);
  EXPECT_EQ(counters().connections_active, 0u);
}

TEST_F(EdgeTest, NoMoreConnectionsThanAllowed) {
  Config small = config();
  small.options.max_connections = 2;
  start(std::move(small));
  Received& first = read(keep(tcp()));
  Received& second = read(keep(tcp()));
  wait([&] { return counters().connections_active == 2; });
  ::testing::internal::CaptureStderr();
  // The reset may come before connecting is done.
  auto third = run_task(loop_, net::tcp_connect(loop_, edge_->tcp_addr(), soon()));
  if (third) {
    Received& refused = read(keep(std::move(*third)));
    wait([&] { return refused.ended(); });
  }
  wait([&] { return counters().refused_max_connections == 1; });
  std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("event=connections_full cap=2 refused=1"), std::string::npos) << log;
  EXPECT_FALSE(first.ended() || second.ended());
  sockets_[0]->close();
  wait([&] { return counters().connections_active == 1; });
  EXPECT_EQ(say_hello("stranger.test").bytes, kUnrecognizedName);
}

TEST_F(EdgeTest, NoMoreHellosThanHalfOfAllConnections) {
  Config small = config();
  small.options.max_connections = 140;
  small.options.max_unserved_per_source = 140;
  small.options.hello_timeout = 1h;
  start(std::move(small));
  FakeAgent agent(loop_, 1);
  set_usual_routes(agent);
  connect(agent);
  ::testing::internal::CaptureStderr();
  for (int i = 0; i < 70; ++i) keep(tcp());
  wait([&] { return counters().connections_active == 70; });
  for (uint64_t i = 0; i < 3; ++i) {
    // The reset may come before connecting is done.
    auto late = run_task(loop_, net::tcp_connect(loop_, edge_->tcp_addr(), soon()));
    if (late) {
      Received& refused = read(keep(std::move(*late)));
      wait([&] { return refused.ended(); });
      EXPECT_TRUE(refused.broken);
    }
    wait([&] { return counters().refused_max_hellos == i + 1; });
  }
  std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("event=hellos_full cap=70 refused=1"), std::string::npos) << log;
  EXPECT_EQ(log.find("hellos_full", log.find("hellos_full") + 1), std::string::npos) << "one line: " << log;

  // One that has greeted leaves its place to the next.
  send(*sockets_.front(), client_hello("pass.test"));
  Received& answer = read(*sockets_.front());
  wait([&] { return !answer.bytes.empty(); });
  EXPECT_EQ(say_hello("stranger.test").bytes, kUnrecognizedName);
  EXPECT_EQ(counters().refused_max_connections, 0u);
}

TEST_F(EdgeTest, TheCapOnHellosIsOneForAllWorkers) {
  Config small = config();
  small.options.workers = 2;
  small.options.max_connections = 140;
  small.options.max_unserved_per_source = 140;
  small.options.hello_timeout = 1h;
  start(std::move(small));
  for (int i = 0; i < 140; ++i) {
    // The reset may come before connecting is done.
    auto socket = run_task(loop_, net::tcp_connect(loop_, edge_->tcp_addr(), soon()));
    if (socket) keep(std::move(*socket));
  }
  wait([&] { return counters().refused_max_hellos == 70; });
  wait([&] { return counters().connections_active == 70; });
  EXPECT_EQ(counters().connections_accepted, 140u);
  EXPECT_EQ(counters().refused_max_connections, 0u);
}

TEST_F(EdgeTest, AFullSourceLosesItsOldestUnservedConnection) {
  Config small = config();
  small.options.workers = 2;
  small.options.max_unserved_per_source = 6;
  small.options.hello_timeout = 1h;
  start(std::move(small));
  FakeAgent agent(loop_, 1);
  set_usual_routes(agent);
  connect(agent);
  ::testing::internal::CaptureStderr();
  const Bytes hello = openssl_hello("term.test");
  std::vector<Received*> silent;
  for (uint64_t i = 0; i < 6; ++i) {
    net::ByteStream& socket = keep(tcp());
    wait([&] { return counters().connections_accepted == i + 1; });
    // Some are stuck in their TLS handshake, which is no better.
    if (i % 2 == 1) send(socket, hello);
    silent.push_back(&read(socket));
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(say_hello("stranger.test").bytes, kUnrecognizedName) << "a newcomer is served";
    wait([&] { return silent[0]->ended(); });
    EXPECT_TRUE(silent[0]->broken);
  }
  EXPECT_EQ(counters().dropped_source_full, 1u) << "the others found the place that this one left";
  std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("event=source_full cap=6 refused=1"), std::string::npos) << log;
  const uint64_t before = counters().connections_accepted;
  for (int i = 0; i < 7; ++i) keep(tcp());
  // The workers admit in an order of their own: the last has to be the newest for both.
  wait([&] { return counters().connections_accepted == before + 7; });
  keep(tcp());
  for (Received* each : silent) wait([&] { return each->ended(); });
  // Carried ones do not count.
  send(*sockets_.back(), client_hello("pass.test"));
  Received& carried = read(*sockets_.back());
  wait([&] { return !carried.bytes.empty(); });
  for (int i = 0; i < 12; ++i) keep(tcp());
  wait([&] { return counters().dropped_source_full >= 12u; });
  EXPECT_FALSE(carried.ended());
}

// ---- Carrying

TEST_F(EdgeTest, PassthroughCarriesTheHelloAndAllThatFollows) {
  FakeAgent agent(loop_, 1);
  start_with(agent);
  net::ByteStream& socket = keep(tcp());
  Bytes hello = client_hello("PASS.test");
  for (uint8_t byte : hello) send(socket, ByteView(&byte, 1));
  Received& answer = read(socket);
  wait([&] { return answer.bytes == hello; });  // echoed
  ASSERT_EQ(agent.headers.size(), 1u);
  EXPECT_EQ(agent.headers[0].authority, "pass.test");
  EXPECT_EQ(agent.headers[0].tls_mode, route::TlsMode::kPassthrough);
  EXPECT_EQ(agent.headers[0].client, socket.local_addr());
  EXPECT_EQ(agent.headers[0].public_addr, edge_->tcp_addr());

  send(socket, as_bytes("and more"));
  EXPECT_TRUE(run_task(loop_, net::finish(socket, soon())));
  wait([&] { return answer.ended(); });
  EXPECT_TRUE(answer.clean);
  EXPECT_EQ(as_text(ByteView(answer.bytes).subspan(hello.size())), "and more");
  wait([&] { return counters().connections_active == 0; });
  EXPECT_EQ(counters().streams_carried, 1u);
  EXPECT_GT(counters().bytes_to_origin, hello.size() + 8);  // and the stream header
  EXPECT_EQ(counters().bytes_to_client, hello.size() + 8);
}

TEST_F(EdgeTest, TerminateShowsOurCertificateAndCarriesPlaintext) {
  FakeAgent agent(loop_, 1);
  agent.greeting = "HTTP/1.1 200 OK\r\n\r\n";
  start_with(agent);
  for (std::string name : {"term.test", "any.w.test", "other.w.test"}) {
    auto stream = tls(name);
    ASSERT_TRUE(stream) << stream.error().message;
    net::ByteStream& socket = keep(std::move(*stream));
    send(socket, as_bytes("GET /" + name));
    Received& answer = read(socket);
    EXPECT_TRUE(run_task(loop_, net::finish(socket, soon())));
    wait([&] { return answer.ended(); });
    EXPECT_TRUE(answer.clean);
    EXPECT_EQ(answer.text(), agent.greeting + "GET /" + name);
    EXPECT_EQ(agent.headers.back().authority, name);
    EXPECT_EQ(agent.headers.back().tls_mode, route::TlsMode::kTerminate);
  }
  EXPECT_EQ(certificates_->size(), 2u) << "strangers' names under a wildcard must not fill the cache";
}

TEST_F(EdgeTest, ARefusedTerminatedRequestIsAnsweredWithWhoseFaultItIs) {
  FakeAgent agent(loop_, 1);
  start_with(agent);
  struct Case {
    endpoint::AppCode code;
    std::string_view status, words;
  };
  for (const Case& each : {Case{tunnel::kStreamOriginUnreachable, "502", "cannot reach the origin"},
                           Case{tunnel::kStreamOriginTimeout, "504", "in time"},
                           Case{tunnel::kStreamUnknownService, "502", "does not serve this name"},
                           Case{tunnel::kStreamLimit, "503", "as many connections"},
                           Case{tunnel::kStreamOriginReset, "502", "before it answered"}}) {
    agent.refuse_with = each.code;
    std::string answer = get("term.test");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 " + std::string(each.status))) << answer;
    EXPECT_NE(answer.find(each.words), std::string::npos) << answer;
  }
  EXPECT_EQ(say_hello("pass.test").bytes, kInternalError);
  EXPECT_EQ(counters().refused_by_agent, 6u);
  wait([&] { return counters().connections_active == 0; });
}

TEST_F(EdgeTest, AKnownNameWithoutItsAgentSaysSo) {
  FakeAgent agent(loop_, 1);
  start(config());
  set_usual_routes(agent);
  std::string answer = get("term.test");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 502")) << answer;
  EXPECT_NE(answer.find("agent is not connected"), std::string::npos);
  Received refused = say_hello("pass.test");
  EXPECT_EQ(refused.bytes, kInternalError);
  EXPECT_EQ(counters().refused_no_agent, 2u);
}

TEST_F(EdgeTest, AClientThatResetsIsSeenByTheAgent) {
  FakeAgent agent(loop_, 1);
  start_with(agent);
  net::ByteStream& socket = keep(tcp());
  Bytes hello = client_hello("pass.test");
  send(socket, hello);
  wait([&] { return agent.after_header == hello; });
  socket.reset();
  wait([&] { return agent.resets_seen == 1; });
}

// ---- Tunnels

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

TEST_F(EdgeTest, ATunnelWaitsForATableThatIsAboutToCome) {
  FakeAgent agent(loop_, 1);
  start(config());
  dial(agent);
  tasks_.spawn(net::sleep_for(loop_, 200ms));
  wait([&] { return tasks_.size() == 0; });
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
  EXPECT_FALSE(served.closed) << "who was welcomed has no such deadline";
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
    wait([&] { return refused.closed.has_value(); });
    EXPECT_EQ(refused.closed->code, tunnel::kCloseLimit);
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
  for (unsigned workers : {1u, 3u}) {
    Config several = config();
    several.options.workers = workers;
    edge_.reset();
    start(std::move(several));
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
  }
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
  wait([&] {
    std::lock_guard lock(mutex_);
    return !left_.empty();
  });
  std::lock_guard lock(mutex_);
  EXPECT_EQ(left_, std::vector<EndpointId>{polite.id()});
}

TEST_F(EdgeTest, AnEndWithoutAGoodbyeIsToldToo) {
  FakeAgent agent(loop_, 1);
  start_with(agent);
  agent.leave(tunnel::kCloseOk);
  wait([&] {
    std::lock_guard lock(mutex_);
    return !closed_.empty();
  });
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

TEST_F(EdgeTest, AnAgentWhoseLastRouteGoesIsCutWithItsStreams) {
  FakeAgent agent(loop_, 1);
  start_with(agent);
  net::ByteStream& socket = keep(tcp());
  Bytes hello = client_hello("pass.test");
  send(socket, hello);
  Received& answer = read(socket);
  wait([&] { return answer.bytes == hello; });
  set_routes({});
  wait([&] { return agent.closed.has_value() && answer.ended(); });
  EXPECT_EQ(agent.closed->code, tunnel::kCloseRevoked);
  EXPECT_TRUE(answer.broken) << "a cut must not look like an end";
  EXPECT_EQ(say_hello("pass.test").bytes, kUnrecognizedName);
}

TEST_F(EdgeTest, ARouteThatGoesTakesOnlyItsOwnStreams) {
  FakeAgent agent(loop_, 1);
  start_with(agent);
  set_routes({route("pass.test", route::TlsMode::kPassthrough, {agent.id()}),
              route("also.test", route::TlsMode::kPassthrough, {agent.id()})});
  net::ByteStream& goes = keep(tcp());
  net::ByteStream& stays = keep(tcp());
  send(goes, client_hello("pass.test"));
  Received& cut = read(goes);
  wait([&] { return !cut.bytes.empty(); });
  send(stays, client_hello("also.test"));
  Received& kept = read(stays);
  wait([&] { return !kept.bytes.empty(); });
  set_routes({route("also.test", route::TlsMode::kPassthrough, {agent.id()})});
  wait([&] { return cut.ended(); });
  EXPECT_TRUE(cut.broken);
  size_t before = kept.bytes.size();
  send(stays, as_bytes("still here"));
  wait([&] { return kept.bytes.size() == before + 10; });
  EXPECT_FALSE(agent.closed);
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
      tasks_.spawn(net::sleep_for(loop_, 1s));  // until every worker knows
      wait([&] { return tasks_.size() == 0; });
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
  const Bytes hello = client_hello("a.test");
  net::ByteStream& before = keep(tcp());
  send(before, hello);
  Received& answer = read(before);
  wait([&] { return answer.bytes == hello; });
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
  for (int i = 0; i < 6; ++i) send(keep(tcp()), hello);
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

// ---- The end

TEST_F(EdgeTest, DrainTellsAgentsLetsStreamsEndAndRefusesNewOnes) {
  FakeAgent agent(loop_, 1);
  start_with(agent);
  net::ByteStream& socket = keep(tcp());
  Bytes hello = client_hello("pass.test");
  send(socket, hello);
  Received& answer = read(socket);
  wait([&] { return answer.bytes == hello; });

  SocketAddr address = edge_->tcp_addr();
  edge_->stop();
  wait([&] { return agent.heard.size() == 2; });
  EXPECT_TRUE(std::holds_alternative<tunnel::Drain>(agent.heard[1]));
  auto refused = run_task(loop_, net::tcp_connect(loop_, address, soon()));
  EXPECT_FALSE(refused);

  send(socket, as_bytes("last words"));
  EXPECT_TRUE(run_task(loop_, net::finish(socket, soon())));
  wait([&] { return answer.ended() && stopped_ && agent.closed; });
  EXPECT_TRUE(answer.clean);
  EXPECT_EQ(answer.bytes.size(), hello.size() + 10);
  EXPECT_EQ(agent.closed->code, tunnel::kCloseDraining);
}

TEST_F(EdgeTest, ASecondStopCutsWhatIsStillOpen) {
  FakeAgent agent(loop_, 1);
  Config patient = config();
  patient.options.drain_timeout = 1h;
  start(std::move(patient));
  set_usual_routes(agent);
  connect(agent);
  net::ByteStream& socket = keep(tcp());
  net::ByteStream& greeting = keep(tcp());
  send(socket, client_hello("pass.test"));
  Received& answer = read(socket);
  Received& silence = read(greeting);
  wait([&] { return !answer.bytes.empty(); });
  edge_->stop();
  wait([&] { return agent.heard.size() == 2; });
  EXPECT_FALSE(stopped_ || answer.ended());
  edge_->stop();
  wait([&] { return stopped_ && answer.ended() && silence.ended(); });
  EXPECT_TRUE(answer.broken);
}

TEST_F(EdgeTest, TheDrainHasAnEnd) {
  FakeAgent agent(loop_, 1);
  Config hasty = config();
  hasty.options.drain_timeout = 200ms;
  start(std::move(hasty));
  set_usual_routes(agent);
  connect(agent);
  net::ByteStream& socket = keep(tcp());
  send(socket, client_hello("pass.test"));
  Received& answer = read(socket);
  wait([&] { return !answer.bytes.empty(); });
  edge_->stop();
  wait([&] { return stopped_ && answer.ended(); });
  EXPECT_TRUE(answer.broken);
}

TEST_F(EdgeTest, AnAddressInUseIsSaidAtOnce) {
  start(config());
  Config same = config();
  same.options.tcp_listen = edge_->tcp_addr();
  auto second = Edge::bind(std::move(same), certificates_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
  EXPECT_NE(second.error().message.find(edge_->tcp_addr().to_string()), std::string::npos);
}

}  // namespace
}  // namespace culvert::edge
