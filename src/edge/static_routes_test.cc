// An edge with origins beside it, and agents for other names.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "edge/edge_fixture.h"
#include "net/unix_fixture.h"
#include "wire/proxy_protocol.h"

namespace culvert::edge {
namespace {

using namespace testing;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class StaticRoutesTest : public EdgeFixture {
 protected:
  StaticRoutesTest() { std::signal(SIGPIPE, SIG_IGN); }
  ~StaticRoutesTest() override {
    for (auto& origin : origins_) origin->listener->close();
  }

  // An origin that answers everything with what it got, after `name`.
  struct Origin {
    std::shared_ptr<net::TcpListener> listener;
    std::string name;
    int clients = 0;
    std::string got = {};
  };
  Origin& origin(std::string name) {
    std::shared_ptr<net::TcpListener> listener =
        net::TcpListener::listen(loop_, SocketAddr::v4({127, 0, 0, 1}, 0), {}).value();
    origins_.push_back(std::make_unique<Origin>(listener, std::move(name)));
    tasks_.spawn(accept_all(*origins_.back()));
    return *origins_.back();
  }
  net::Task<> accept_all(Origin& origin) {
    while (true) {
      auto accepted = co_await origin.listener->accept();
      if (!accepted) co_return;
      ++origin.clients;
      tasks_.spawn(serve(origin, std::move(*accepted)));
    }
  }
  net::Task<> serve(Origin& origin, std::unique_ptr<net::ByteStream> socket) {
    Bytes chunk(64 * 1024);
    auto greeted = co_await net::write_all(*socket, as_bytes(origin.name), soon());
    if (!greeted) co_return;
    while (true) {
      auto got = co_await net::read_some(*socket, chunk, soon());
      if (!got || *got == 0) co_return;
      const ByteView data = ByteView(chunk).first(*got);
      origin.got += as_text(data);
      auto sent = co_await net::write_all(*socket, data, soon());
      if (!sent) co_return;
    }
  }
  static std::string place(const Origin& origin) { return origin.listener->local_addr().to_string(); }
  static StaticRoute static_route(const std::string& text) {
    auto parsed = origin::parse_route(text);
    EXPECT_TRUE(parsed) << parsed.error().message;
    return {parsed->service, parsed->share};
  }
  static std::vector<StaticRoute> routes(const std::vector<std::string>& texts) {
    std::vector<StaticRoute> all;
    for (const std::string& text : texts) all.push_back(static_route(text));
    return all;
  }
  void start_with_routes(const std::vector<std::string>& texts) {
    Config made = config();
    made.options.routes = routes(texts);
    start(std::move(made));
    wait_for_workers();
  }
  void change_routes(const std::vector<std::string>& texts) {
    Options wanted = config().options;
    wanted.routes = routes(texts);
    edge_->reconfigure(wanted);
    wait_for_workers();
  }
  // The first words of the origin that got a passthrough client of the name.
  std::string who_serves(std::string_view name) {
    net::ByteStream& socket = keep(tcp());
    send(socket, client_hello(name));
    Received& answer = read(socket);
    wait([&] { return answer.ended() || answer.bytes.size() >= 3; });
    socket.close();
    return answer.text().substr(0, 3);
  }

  std::vector<std::unique_ptr<Origin>> origins_;
};

TEST_F(StaticRoutesTest, PassthroughGetsTheHelloAfterAProxyHeader) {
  Origin& one = origin("one");
  start_with_routes({"app.test=" + place(one), "raw.test=" + place(one) + ",proxy=none"});
  EXPECT_EQ(who_serves("raw.test"), "one");
  EXPECT_EQ(to_bytes(as_bytes(one.got)), client_hello("raw.test"));
  one.got.clear();
  EXPECT_EQ(who_serves("app.test"), "one");
  wait([&] { return one.got.size() > client_hello("app.test").size(); });
  const Bytes got = to_bytes(as_bytes(one.got));
  const auto header = wire::decode_proxy(got);
  ASSERT_TRUE(header && *header);
  EXPECT_EQ((*header)->header.source.ip_text(), "127.0.0.1");
  EXPECT_EQ(to_bytes(ByteView(got).subspan((*header)->consumed)), client_hello("app.test"));
}

TEST_F(StaticRoutesTest, TheOriginIsToldWhatATrustedProxySays) {
  Origin& one = origin("one");
  Config made = config();
  made.options.trusted_proxies = {*IpPrefix::parse("127.0.0.1")};
  made.options.routes = routes({"app.test=" + place(one)});
  start(std::move(made));
  wait_for_workers();
  const wire::ProxyTlv id{0x05, {7}}, of_a_cloud{0xe0, {8}}, own{wire::kProxyTlvAuthority, {'x'}};
  Bytes all = *wire::encode_proxy_v2({.local = false,
                                      .source = *SocketAddr::parse("203.0.113.7:51234"),
                                      .destination = *SocketAddr::parse("198.51.100.1:443"),
                                      .tlvs = {own, id, {wire::kProxyTlvNoop, Bytes(9)}, of_a_cloud, id}});
  const Bytes hello = client_hello("app.test");
  all.insert(all.end(), hello.begin(), hello.end());
  send(keep(tcp()), all);
  wait([&] { return one.got.size() > hello.size(); });
  const Bytes got = to_bytes(as_bytes(one.got));
  const auto header = wire::decode_proxy(got);
  ASSERT_TRUE(header && *header);
  EXPECT_EQ((*header)->header.source.to_string(), "203.0.113.7:51234");
  EXPECT_EQ((*header)->header.tlvs,
            (std::vector<wire::ProxyTlv>{
                {wire::kProxyTlvAuthority, to_bytes(as_bytes("app.test"))}, id, of_a_cloud}));
}

TEST_F(StaticRoutesTest, TerminatedOnesGetPlaintext) {
  Origin& one = origin("");
  start_with_routes({"app.test=" + place(one) + ",terminate"});
  auto stream = tls("app.test");
  ASSERT_TRUE(stream) << stream.error().message;
  net::ByteStream& socket = keep(std::move(*stream));
  send(socket, as_bytes("GET / HTTP/1.1\r\n\r\n"));
  Received& answer = read(socket);
  wait([&] { return answer.text() == "GET / HTTP/1.1\r\n\r\n"; });
  EXPECT_EQ(one.got, "GET / HTTP/1.1\r\n\r\n");
}

// The port for plain HTTP is not always its origin's 80th.
TEST_F(StaticRoutesTest, ChallengesOfPassthroughNamesGoToTheirOrigin) {
  const Origin& one = origin("");
  Origin& http = origin("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nkey");
  Config made = config();
  made.options.http_listen = SocketAddr::v4({127, 0, 0, 1}, 0);
  made.options.routes =
      routes({"app.test=" + place(one) + ",http=" + place(http), "none.test=" + place(one) + ",http=none",
              "gone.test=" + place(one) + ",http=127.0.0.1:1", "ended.test=" + place(one) + ",terminate"});
  start(std::move(made));
  wait_for_workers();
  const auto get = [&](std::string_view host, std::string_view target) {
    net::ByteStream& socket =
        keep(run_task(loop_, net::tcp_connect(loop_, *edge_->http_addr(), soon())).value());
    send(socket, as_bytes(fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\nCookie: a=b\r\n\r\nGET / HTTP/1.1\r\n",
                                      target, host)));
    Received& answer = read(socket);
    wait([&] { return answer.ended() || answer.text().contains("308"); });
    return answer.text();
  };
  const std::string path = "/.well-known/acme-challenge/token_1";
  EXPECT_THAT(get("app.test", path), AllOf(StartsWith("HTTP/1.1 200"), EndsWith("\r\n\r\nkey")));
  EXPECT_EQ(http.got, fmt::format("GET {} HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n", path))
      << "one request, and nothing else of the client's";
  EXPECT_EQ(one.clients, 0);
  EXPECT_THAT(get("none.test", path), StartsWith("HTTP/1.1 502"));
  EXPECT_THAT(get("gone.test", path), StartsWith("HTTP/1.1 502"));
  EXPECT_THAT(get("ended.test", path), StartsWith("HTTP/1.1 308")) << "its certificate is the edge's concern";
  EXPECT_THAT(get("app.test", "/other"), StartsWith("HTTP/1.1 308"));
  EXPECT_EQ(counters().streams_carried, 0u);
  wait([&] { return edge_->access_log().ended(CloseReason::kFinished) == 1u; });
}

TEST_F(StaticRoutesTest, APortsOriginMaySpeakFirst) {
  Origin& one = origin("220 ready");
  const uint16_t port =
      net::TcpListener::listen(loop_, SocketAddr::v4({127, 0, 0, 1}, 0), {}).value()->local_addr().port();
  start_with_routes({fmt::format("tcp/{}={}", port, place(one))});
  wait([&] { return counters().ports_open == 1; });
  auto socket =
      run_task(loop_, net::tcp_connect(loop_, SocketAddr::v4({127, 0, 0, 1}, port), soon())).value();
  Received& answer = read(keep(std::move(socket)));
  wait([&] { return answer.text() == "220 ready"; });
  change_routes({});
  wait([&] { return counters().ports_open == 0 && answer.ended(); });
  EXPECT_TRUE(answer.broken) << "its route is gone";
}

TEST_F(StaticRoutesTest, OriginsOfOneNameTakeTurnsAndTheOtherGetsThemWhenOneIsDown) {
  Origin& one = origin("one");
  Origin& two = origin("two");
  start_with_routes({"app.test=" + place(one), "app.test=" + place(two)});
  for (int i = 0; i < 10; ++i) who_serves("app.test");
  EXPECT_EQ(one.clients, 5);
  EXPECT_EQ(two.clients, 5);
  one.listener->close();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(who_serves("app.test"), "two");
  wait([&] { return !edge_->origins().front().fault.empty() || !edge_->origins().back().fault.empty(); });
}

TEST_F(StaticRoutesTest, PriorityAndWeightAreObeyed) {
  Origin& one = origin("one");
  Origin& two = origin("two");
  Origin& spare = origin("spa");
  start_with_routes({"app.test=" + place(one) + ",weight=3", "app.test=" + place(two),
                     "app.test=" + place(spare) + ",priority=1"});
  for (int i = 0; i < 12; ++i) who_serves("app.test");
  EXPECT_EQ(one.clients, 9);
  EXPECT_EQ(two.clients, 3);
  EXPECT_EQ(spare.clients, 0);
}

TEST_F(StaticRoutesTest, AnOriginThatIsDownIsToldToTheClient) {
  start_with_routes({"app.test=127.0.0.1:1,terminate", "raw.test=127.0.0.1:1"});
  EXPECT_THAT(get("app.test"), HasSubstr("cannot be reached"));
  EXPECT_EQ(say_hello("raw.test").bytes, kInternalError);
}

TEST_F(StaticRoutesTest, TakesThePlaceOfATenantsRouteAndGivesItBack) {
  Origin& one = origin("one");
  FakeAgent agent(loop_, 1);
  start_with_routes({"app.test=" + place(one)});
  set_routes({route("app.test", route::TlsMode::kPassthrough, {agent.id()}),
              route("other.test", route::TlsMode::kPassthrough, {agent.id()})});
  connect(agent);
  EXPECT_EQ(who_serves("app.test"), "one");
  open_client("other.test");
  apply_routes({.from = version_,
                .to = version_ + 1,
                .upserts = {},
                .removals = {route::RouteId(route::HostPattern::parse("app.test").value())}});
  EXPECT_EQ(who_serves("app.test"), "one") << "a change of the tenant's is none of it";
  apply_routes({.from = version_,
                .to = version_ + 1,
                .upserts = {route("app.test", route::TlsMode::kPassthrough, {agent.id()})},
                .removals = {}});
  change_routes({});
  open_client("app.test");
  EXPECT_EQ(one.clients, 2);
}

TEST_F(StaticRoutesTest, AChangeTouchesNoOtherConnection) {
  Origin& one = origin("");
  Origin& two = origin("");
  start_with_routes({"app.test=" + place(one) + ",proxy=none", "b.test=" + place(two) + ",proxy=none"});
  Client stays = open_client("app.test");
  Client goes = open_client("b.test");
  change_routes({"app.test=" + place(one) + ",proxy=none", "c.test=" + place(two) + ",proxy=none"});
  wait([&] { return goes.answer.ended(); });
  EXPECT_TRUE(goes.answer.broken);
  open_client("c.test");
  send(stays.socket, as_bytes("more"));
  wait([&] { return stays.answer.text().ends_with("more"); });
}

TEST_F(StaticRoutesTest, AStopWaitsForThem) {
  Origin& one = origin("");
  start_with_routes({"app.test=" + place(one) + ",proxy=none"});
  Client client = open_client("app.test");
  edge_->stop();
  pause(200ms);
  EXPECT_FALSE(stopped_);
  send(client.socket, as_bytes("more"));
  wait([&] { return client.answer.text().ends_with("more"); });
  client.socket.close();
  wait([&] { return stopped_.load(); });
}

TEST(StaticRoute, TextsThatAreRefused) {
  for (const auto& [text, reason] : {std::pair<std::string, std::string>{"app.test", "has no '='"},
                                     {"app.test=nonsense", "nonsense"},
                                     {"udp/53=127.0.0.1:53", "--udp-service"},
                                     {"tcp/0=127.0.0.1:53", "neither a hostname nor a port"},
                                     {"tcp/22=127.0.0.1:22,terminate", "unknown or given twice"},
                                     {"app.test=x:1,weight=0", "weight"},
                                     {"app.test=x:1,priority=many", "priority"},
                                     {"app.test=x:1,weight=2,weight=2", "given twice"},
                                     {"app.test=x:1,terminate,http=x:80", "http"},
                                     {"app.test=x:1,nonsense", "unknown"}}) {
    const auto parsed = origin::parse_route(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_THAT(parsed.error().message, HasSubstr(reason)) << text;
  }
}

TEST(StaticRoute, SeveralOfOneNameHaveToAgree) {
  const auto routes = [](const std::vector<std::string>& texts) {
    std::vector<StaticRoute> all;
    for (const std::string& text : texts) {
      auto parsed = origin::parse_route(text).value();
      all.push_back({parsed.service, parsed.share});
    }
    return all;
  };
  EXPECT_TRUE(check_static_routes(routes({"a.test=x:1", "a.test=x:2", "tcp/22=x:1"})));
  EXPECT_FALSE(check_static_routes(routes({"a.test=x:1", "a.test=x:1"})));
  EXPECT_FALSE(check_static_routes(routes({"a.test=x:1", "a.test=x:2,terminate"})));
  const auto made = routes_of(routes({"a.test=x:1", "b.test=x:2", "a.test=x:3"}), key(9).public_key());
  ASSERT_EQ(made.size(), 2u);
  EXPECT_EQ(made[0].targets.size(), 2u);
  EXPECT_TRUE(made[0].is_static());
}

}  // namespace
}  // namespace culvert::edge
