// A whole edge, its workers on their threads, over loopback; clients and agents on the test's own loop.
#include "edge/edge.h"

#include <gtest/gtest.h>

#include "base/metrics_testing.h"
#include "edge/edge_fixture.h"
#include "net/network_watch.h"
#include "net/tcp.h"
#include "wire/proxy_protocol.h"

namespace culvert::edge {
namespace {

using namespace std::chrono_literals;
using namespace testing;

using EdgeTest = EdgeFixture;

// ---- Hellos

TEST_F(EdgeTest, AnUnknownNameGetsTheAlertAndACleanEnd) {
  start(config());
  for (bool told : {false, true}) {
    if (told) set_routes({});
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
    other.own_limits.connections = 1;
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
    EXPECT_EQ(say_hello("other.test").bytes, kInternalError) << "its own limit is lower";
    EXPECT_EQ(counters().refused_tenant_full, 3u);
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
  if (!every.is_v4() && net::source_address_for(loop_, SocketAddr::v6(loopback, port)))
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
    wait_for_call(to_hub_);
    std::lock_guard lock(mutex_);
    ASSERT_EQ(to_hub_.size(), 1u);
    EXPECT_EQ(to_hub_[0].received, hello);
    EXPECT_EQ(to_hub_[0].host, name);
    to_hub_[0].attach(loop_);
    auto socket = std::move(to_hub_[0].socket);
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
  small.options.max_connections_per_source = 140;
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
  small.options.max_connections_per_source = 140;
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

// ---- After a hand-over

TEST_F(EdgeTest, ClientsWaitForAgentsThatAreExpected) {
  Config expecting = config();
  expecting.options.workers = 2;
  expecting.options.hello_timeout = 20s;
  expecting.agents_grace = 20s;
  start(std::move(expecting));
  FakeAgent agent(loop_, 1);
  set_usual_routes(agent);
  net::ByteStream& early = keep(tcp());
  const Bytes hello = client_hello("pass.test");
  send(early, hello);
  Received& answer = read(early);
  wait([&] { return edge_->waiting_clients() == 1; });
  EXPECT_EQ(say_hello("stranger.test").bytes, kUnrecognizedName) << "no agent will come for this one";
  EXPECT_FALSE(answer.ended());
  connect(agent);
  wait([&] { return answer.bytes == hello; });
  EXPECT_EQ(edge_->waiting_clients(), 0u);
}

TEST_F(EdgeTest, ClientsOfAgentsThatDoNotComeAreRefusedInTime) {
  Config expecting = config();
  expecting.options.hello_timeout = 100ms;
  expecting.agents_grace = 20s;
  start(std::move(expecting));
  FakeAgent agent(loop_, 1);
  set_usual_routes(agent);
  EXPECT_EQ(say_hello("pass.test").bytes, kInternalError);
  EXPECT_EQ(edge_->waiting_clients(), 0u);
}

TEST_F(EdgeTest, WhatIsOpenGoesOnAfterAHandOverUntilItEnds) {
  Config handed = config();
  handed.options.drain_timeout = 1ms;
  start(std::move(handed));
  FakeAgent agent(loop_, 1);
  set_usual_routes(agent);
  connect(agent);
  Client client = open_client("pass.test");
  edge_->hand_over();
  wait([&] { return !run_task(loop_, net::tcp_connect(loop_, edge_->tcp_addr(), soon())); });
  pause(1200ms);
  send(client.socket, as_bytes("still"));
  const size_t before = client.answer.bytes.size();
  wait([&] { return client.answer.bytes.size() == before + 5; });
  EXPECT_FALSE(stopped_);
  client.socket.close();
  wait([&] { return stopped_.load(); });
}

TEST_F(EdgeTest, AStopShortensTheTimeAfterAHandOver) {
  Config handed = config();
  handed.options.drain_timeout = 50ms;
  start(std::move(handed));
  FakeAgent agent(loop_, 1);
  set_usual_routes(agent);
  connect(agent);
  Client client = open_client("pass.test");
  edge_->hand_over();
  edge_->stop();
  wait([&] { return client.answer.ended(); });
  wait([&] { return stopped_.load(); });
}

TEST_F(EdgeTest, AnEdgeEndsAfterTheProcessesWhoseDatagramsComeThroughIt) {
  start(config());
  edge_->set_predecessors(1);
  edge_->stop();
  pause(200ms);
  EXPECT_FALSE(stopped_);
  edge_->set_predecessors(0);
  wait([&] { return stopped_.load(); });
}

// ---- Behind proxies

Bytes proxied(std::string_view line, ByteView hello) {
  Bytes bytes = to_bytes(as_bytes(line));
  bytes.insert(bytes.end(), hello.begin(), hello.end());
  return bytes;
}

TEST_F(EdgeTest, ATrustedProxyTellsTheClientsAddress) {
  Config behind = config();
  behind.options.trusted_proxies = {*IpPrefix::parse("127.0.0.0/8")};
  start(std::move(behind));
  const Bytes hello = client_hello("hub.test");
  const wire::ProxyHeader header{.local = false,
                                 .source = *SocketAddr::parse("203.0.113.7:51234"),
                                 .destination = *SocketAddr::parse("198.51.100.1:443"),
                                 .tlvs = {}};
  const Bytes second = *wire::encode_proxy_v2(header);
  const Bytes local = *wire::encode_proxy_v2({.local = true, .source = {}, .destination = {}, .tlvs = {}});
  for (const Bytes& whole : {proxied("PROXY TCP4 203.0.113.7 198.51.100.1 51234 443\r\n", hello),
                             proxied(as_text(second), hello), proxied(as_text(local), hello)}) {
    const bool is_local = whole.size() == local.size() + hello.size();
    net::ByteStream& socket = keep(tcp());
    send(socket, ByteView(whole).first(9));  // in two pieces, and the hello with the rest
    send(socket, ByteView(whole).subspan(9));
    wait_for_call(to_hub_);
    std::lock_guard lock(mutex_);
    EXPECT_EQ(to_hub_[0].received, hello);
    EXPECT_EQ(to_hub_[0].client, is_local ? socket.local_addr() : header.source);
    EXPECT_EQ(to_hub_[0].public_addr, is_local ? edge_->tcp_addr() : header.destination);
    to_hub_.clear();
  }
}

TEST_F(EdgeTest, WhatATrustedProxySaysBesidesGoesOnToTheAgent) {
  FakeAgent agent(loop_, 1);
  Config behind = config();
  behind.options.trusted_proxies = {*IpPrefix::parse("127.0.0.1")};
  behind.options.workers = 2;
  start(std::move(behind));
  set_usual_routes(agent);
  connect(agent);
  const std::vector<wire::ProxyTlv> said = {{0x05, {7}}, {0x20, Bytes(300)}, {0xea, {1, 'v'}}};
  wire::ProxyHeader header{.local = false,
                           .source = *SocketAddr::parse("203.0.113.7:51234"),
                           .destination = *SocketAddr::parse("198.51.100.1:443"),
                           .tlvs = said};
  // Both workers accept some; those of one move to the other, which has the tunnel.
  for (size_t i = 0; i < 8; ++i) {
    send(keep(tcp()), proxied(as_text(*wire::encode_proxy_v2(header)), client_hello("pass.test")));
    wait([&] { return agent.headers.size() == i + 1; });
    EXPECT_EQ(agent.headers.back().client, header.source);
    EXPECT_EQ(agent.headers.back().proxy_tlvs, said);
  }
  EXPECT_EQ(counters().proxy_tlvs_cut, 0u);

  ::testing::internal::CaptureStderr();
  header.tlvs.push_back({0xee, Bytes(300)});
  send(keep(tcp()), proxied(as_text(*wire::encode_proxy_v2(header)), client_hello("pass.test")));
  wait([&] { return agent.headers.size() == 9; });
  EXPECT_EQ(agent.headers.back().proxy_tlvs, said);
  EXPECT_EQ(counters().proxy_tlvs_cut, 1u);
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("event=proxy_tlvs_cut proxy=127.0.0.1:"), std::string::npos) << log;

  send(keep(tcp()), proxied("PROXY TCP4 203.0.113.7 198.51.100.1 51234 443\r\n", client_hello("pass.test")));
  wait([&] { return agent.headers.size() == 10; });
  EXPECT_TRUE(agent.headers.back().proxy_tlvs.empty()) << "version 1 has none";
}

TEST_F(EdgeTest, AWrongChecksumOfATrustedProxyIsRefused) {
  Config behind = config();
  behind.options.trusted_proxies = {*IpPrefix::parse("127.0.0.1")};
  start(std::move(behind));
  Bytes header = *wire::encode_proxy_v2({.local = false,
                                         .source = *SocketAddr::parse("203.0.113.7:51234"),
                                         .destination = *SocketAddr::parse("198.51.100.1:443"),
                                         .tlvs = {{wire::kProxyTlvNoop, Bytes(4, 1)}}});
  header[header.size() - 7] = wire::kProxyTlvCrc32c;
  net::ByteStream& socket = keep(tcp());
  send(socket, proxied(as_text(header), client_hello("hub.test")));
  Received& answer = read(socket);
  wait([&] { return answer.ended(); });
  EXPECT_EQ(counters().refused_proxy_header, 1u);
  EXPECT_EQ(counters().connections_to_hub, 0u);
}

TEST_F(EdgeTest, ATrustedProxyWithoutAHeaderIsCutAndSaid) {
  Config behind = config();
  behind.options.trusted_proxies = {*IpPrefix::parse("127.0.0.1")};
  behind.options.hello_timeout = 500ms;
  start(std::move(behind));
  ::testing::internal::CaptureStderr();
  for (int i = 0; i < 3; ++i) {
    net::ByteStream& socket = keep(tcp());
    send(socket, client_hello("hub.test"));
    Received& answer = read(socket);
    wait([&] { return answer.ended(); });
    EXPECT_TRUE(answer.bytes.empty());
  }
  EXPECT_EQ(counters().refused_proxy_header, 3u);
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("event=proxy_header_missing proxy=127.0.0.1:"), std::string::npos) << log;
  EXPECT_EQ(log.find("proxy_header_missing", log.find("proxy_header_missing") + 1), std::string::npos) << log;
  net::ByteStream& slow = keep(tcp());
  send(slow, as_bytes("PROXY TCP4 203.0.113.7"));
  Received& cut = read(slow);
  wait([&] { return cut.ended(); });
  wait([&] { return counters().refused_hello_timeout == 1u; });
}

TEST_F(EdgeTest, OthersMayNotSayWhoTheyAre) {
  Config behind = config();
  behind.options.trusted_proxies = {*IpPrefix::parse("192.0.2.0/24")};
  start(std::move(behind));
  net::ByteStream& socket = keep(tcp());
  send(socket, proxied("PROXY TCP4 203.0.113.7 198.51.100.1 51234 443\r\n", client_hello("hub.test")));
  Received& answer = read(socket);
  wait([&] { return answer.ended(); });
  EXPECT_EQ(counters().refused_not_tls, 1u);
  EXPECT_EQ(counters().connections_to_hub, 0u);
}

// The cap of a source is the client's, not the proxy's.
TEST_F(EdgeTest, ClientsBehindAProxyDoNotShareACap) {
  Config behind = config();
  behind.options.trusted_proxies = {*IpPrefix::parse("127.0.0.1")};
  behind.options.max_unserved_per_source = 2;
  behind.options.hello_timeout = 1h;
  start(std::move(behind));
  std::vector<Received*> calm;
  for (int i = 0; i < 8; ++i) {
    net::ByteStream& socket = keep(tcp());
    send(socket, as_bytes(fmt::format("PROXY TCP4 203.0.113.{} 198.51.100.1 51234 443\r\n", i)));
    calm.push_back(&read(socket));
  }
  for (int i = 0; i < 4; ++i) {
    net::ByteStream& socket = keep(tcp());
    send(socket, as_bytes("PROXY TCP4 203.0.113.200 198.51.100.1 51234 443\r\n"));
  }
  wait([&] { return counters().dropped_source_full == 2u; });
  for (Received* each : calm) EXPECT_FALSE(each->ended());
}

// ---- Options that change

TEST_F(EdgeTest, LimitsMayChangeWhileItRuns) {
  Config first = config();
  first.options.hello_timeout = 1h;
  start(std::move(first));
  read(keep(tcp()));
  wait([&] { return counters().connections_active == 1; });
  wait_for_workers();  // it is counted before its deadline is set
  Options wanted;
  wanted.max_connections = 1;
  wanted.hello_timeout = 200ms;
  wanted.workers = 7;
  edge_->reconfigure(wanted);
  auto second = run_task(loop_, net::tcp_connect(loop_, edge_->tcp_addr(), soon()));
  if (second) {
    Received& refused = read(keep(std::move(*second)));
    wait([&] { return refused.ended(); });
  }
  wait([&] { return counters().refused_max_connections == 1; });
  EXPECT_FALSE(received_.front()->ended()) << "what is there keeps what it has";
  EXPECT_EQ(edge_->workers(), 1u) << "what cannot change stays";
  wanted.max_connections = 10;
  edge_->reconfigure(wanted);
  Received& slow = read(keep(tcp()));
  wait([&] { return slow.ended(); });
  wait([&] { return counters().refused_hello_timeout == 1u; });
  wanted.trusted_proxies = {*IpPrefix::parse("127.0.0.1")};
  edge_->reconfigure(wanted);
  send(keep(tcp()), proxied("PROXY TCP4 203.0.113.7 198.51.100.1 51234 443\r\n", client_hello("hub.test")));
  wait_for_call(to_hub_);
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
  EXPECT_EQ(agent.headers[0].kind, tunnel::StreamKind::kPassthrough);
  EXPECT_EQ(agent.headers[0].client, socket.local_addr());
  EXPECT_EQ(agent.headers[0].public_addr, edge_->tcp_addr());

  send(socket, as_bytes("and more"));
  EXPECT_TRUE(run_task(loop_, net::finish(socket, soon())));
  wait([&] { return answer.ended(); });
  EXPECT_TRUE(answer.clean);
  EXPECT_EQ(as_text(ByteView(answer.bytes).subspan(hello.size())), "and more");
  wait([&] { return counters().connections_active == 0; });
  EXPECT_EQ(counters().streams_carried, 1u);
  EXPECT_GT(edge_->moved().to_stream, hello.size() + 8);  // and the stream header
  EXPECT_EQ(edge_->moved().to_socket, hello.size() + 8);
}

TEST_F(EdgeTest, BytesAreCountedWhileADownloadRuns) {
  FakeAgent agent(loop_, 1);
  agent.greeting = std::string(3'000'000, 'x');
  Config two = config();
  two.options.workers = 2;
  start(std::move(two));
  set_usual_routes(agent);
  connect(agent);
  const auto bytes = [this](std::string_view direction) {
    Metrics metrics;
    edge_->report(metrics);
    const std::string series = fmt::format("culvert_edge_bytes_total{{direction=\"{}\"}}", direction);
    return Exposition(metrics.to_text()).value(series).value();
  };
  EXPECT_EQ(bytes("to_client"), 0);
  net::ByteStream& socket = keep(tcp());
  const Bytes hello = client_hello("pass.test");
  send(socket, hello);
  Received& answer = read(socket);
  const double all = static_cast<double>(agent.greeting.size() + hello.size());
  wait([&] { return bytes("to_client") == all; });
  EXPECT_FALSE(answer.ended());
  const double uploaded = bytes("to_origin");
  EXPECT_GT(uploaded, static_cast<double>(hello.size()));  // and the stream header
  send(socket, Bytes(100'000, 'y'));
  wait([&] { return bytes("to_origin") == uploaded + 100'000 && bytes("to_client") == all + 100'000; });
  EXPECT_EQ(counters().connections_active, 1u) << "it still runs";
  EXPECT_FALSE(answer.ended());
  wait([&] { return answer.bytes.size() == agent.greeting.size() + hello.size() + 100'000; });
  socket.close();
  wait([&] { return counters().connections_active == 0; });
  EXPECT_EQ(bytes("to_origin"), uploaded + 100'000) << "the end adds nothing";
  EXPECT_EQ(bytes("to_client"), all + 100'000);
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
    EXPECT_EQ(agent.headers.back().kind, tunnel::StreamKind::kTerminate);
  }
  EXPECT_EQ(certificates_->size(), 2u) << "strangers' names under a wildcard must not fill the cache";
}

TEST_F(EdgeTest, AClientThatConnectsAheadCostsItsAgentNothing) {
  FakeAgent agent(loop_, 1);
  start_with(agent);
  net::ByteStream& ahead = https("term.test");
  net::ByteStream& leaves = https("term.test");
  net::ByteStream& asks = https("term.test");
  send(asks, as_bytes("GET /1"));
  Received& first = read(asks);
  wait([&] { return first.text() == "GET /1"; });
  EXPECT_EQ(agent.headers.size(), 1u);
  EXPECT_EQ(counters().streams_carried, 1u);
  leaves.close();
  wait([&] { return counters().connections_active == 2; });
  send(ahead, as_bytes("GET /2"));
  Received& second = read(ahead);
  wait([&] { return second.text() == "GET /2"; });
}

// Its request may come when the new process has the agent.
TEST_F(EdgeTest, AClientThatConnectedAheadIsServedByTheProcessThatHasIt) {
  FakeAgent agent(loop_, 1);
  start_with(agent);
  net::ByteStream& ahead = https("term.test");
  pause(20ms);
  EXPECT_EQ(agent.headers.size(), 0u);
  edge_->hand_over();
  wait([&] { return agent.headers.size() == 1; });
  send(ahead, as_bytes("GET /1"));
  Received& answer = read(ahead);
  wait([&] { return answer.text() == "GET /1"; });
  ahead.close();
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

// ---- The end

TEST_F(EdgeTest, DrainTellsAgentsLetsStreamsEndAndRefusesNewOnes) {
  FakeAgent agent(loop_, 1);
  start_with(agent);
  const auto [socket, answer] = open_client("pass.test");
  const size_t echoed = answer.bytes.size();

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
  EXPECT_EQ(answer.bytes.size(), echoed + 10);
  EXPECT_EQ(agent.closed->code, tunnel::kCloseDraining);
}

TEST_F(EdgeTest, ASecondStopCutsWhatIsStillOpen) {
  FakeAgent agent(loop_, 1);
  Config patient = config();
  patient.options.drain_timeout = 1h;
  start(std::move(patient));
  set_usual_routes(agent);
  connect(agent);
  Received& silence = read(keep(tcp()));
  Received& answer = open_client("pass.test").answer;
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
  Received& answer = open_client("pass.test").answer;
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
