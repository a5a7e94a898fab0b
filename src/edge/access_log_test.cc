#include "edge/access_log.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "edge/edge_fixture.h"

namespace culvert::edge {
namespace {

using namespace testing;
namespace json = boost::json;

TEST(CloseReason, EachHasATextOfItsOwnAndASideAtFault) {
  std::set<std::string_view> texts;
  for (size_t i = 0; i < kCloseReasons; ++i) {
    const auto reason = static_cast<CloseReason>(i);
    EXPECT_TRUE(texts.insert(to_string(reason)).second) << to_string(reason);
    EXPECT_FALSE(to_string(fault_of(reason)).empty());
  }
}

TEST(CloseReason, FollowsFromHowAPumpEnded) {
  struct Case {
    tunnel::PumpEnd end;
    quic::AppCode code;
    CloseReason expected;
    bool given_up = false;
    bool was_delivered = false;
    bool is_draining = false;
  };
  using End = tunnel::PumpEnd;
  using enum CloseReason;
  for (const Case& each :
       std::initializer_list<Case>{{End::kFinished, 0, CloseReason::kFinished},
                                   {End::kSocketReset, tunnel::kStreamClientGone, kClientReset},
                                   {End::kSocketReset, tunnel::kStreamClientGone, kClientClosed, false, true},
                                   {End::kStreamReset, tunnel::kStreamOriginReset, kOriginReset},
                                   {End::kStreamReset, tunnel::kStreamOriginUnreachable, kOriginUnreachable},
                                   {End::kStreamReset, tunnel::kStreamOriginTimeout, kOriginTimeout},
                                   {End::kStreamReset, tunnel::kStreamOriginUntrusted, kOriginUntrusted},
                                   {End::kStreamReset, tunnel::kStreamUnknownService, kAgentRefused},
                                   {End::kStreamReset, tunnel::kStreamBadHeader, kAgentRefused},
                                   {End::kStreamReset, tunnel::kStreamLimit, kStreamLimit},
                                   {End::kStreamReset, tunnel::kStreamIdle, CloseReason::kIdle},
                                   {End::kStreamReset, tunnel::kStreamOk, kAgentReset},
                                   {End::kStreamReset, 4711, kAgentReset},
                                   {End::kStreamReset, tunnel::kStreamLimit, kClientStalled, true},
                                   {End::kConnectionLost, 0, kTunnelLost},
                                   {End::kConnectionLost, 0, kDrained, false, false, true},
                                   {End::kIdle, tunnel::kStreamIdle, CloseReason::kIdle},
                                   {End::kCut, tunnel::kStreamUnknownService, kWithdrawn}}) {
    const tunnel::PumpResult result{.end = each.end,
                                    .code = each.code,
                                    .bytes = {},
                                    .given_up = each.given_up,
                                    .was_delivered = each.was_delivered,
                                    .refused_socket = nullptr,
                                    .unanswered_socket = nullptr,
                                    .initial = {}};
    EXPECT_EQ(to_string(reason_of(result, each.is_draining)), to_string(each.expected));
  }
}

class AccessLogTest : public EdgeFixture {
 protected:
  AccessLogTest()
      : path_(std::filesystem::temp_directory_path() / fmt::format("access-{}.json", ::getpid())) {
    std::filesystem::remove(path_);
  }
  ~AccessLogTest() override {
    edge_.reset();
    std::filesystem::remove(path_);
  }

  Config recorded() {
    Config wanted = config();
    wanted.options.access_log = path_;
    return wanted;
  }
  // With the usual routes of one agent.
  void start_recorded(FakeAgent& agent, Config wanted) {
    start(std::move(wanted));
    set_usual_routes(agent);
    connect(agent);
  }
  // All that were written, once there are so many.
  std::vector<json::object> records(size_t count) {
    wait([&] { return edge_->access_log().writer().written() >= count; });
    const Bytes content = read_file(path_, 1024 * 1024).value();
    std::vector<json::object> all;
    std::string_view rest = as_text(content);
    while (!rest.empty()) {
      const size_t end = rest.find('\n');
      all.push_back(json::parse(rest.substr(0, end)).as_object());
      rest.remove_prefix(end + 1);
    }
    EXPECT_EQ(all.size(), count);
    return all;
  }
  json::object only_record() { return records(1).at(0); }
  void expect_end(std::string_view reason, std::string_view fault) {
    const json::object record = only_record();
    EXPECT_EQ(record.at("reason").as_string(), reason) << json::serialize(record);
    EXPECT_EQ(record.at("fault").as_string(), fault);
  }
  void expect_refusal(endpoint::AppCode code, std::string_view reason, std::string_view fault) {
    FakeAgent agent(loop_, 1);
    agent.refuse_with = code;
    start_recorded(agent, recorded());
    say_hello("pass.test");
    expect_end(reason, fault);
    EXPECT_EQ(only_record().at("agent").as_string(), agent.id().to_string());
    edge_.reset();
    std::filesystem::remove(path_);
  }

  const std::filesystem::path path_;
};

TEST_F(AccessLogTest, ARecordSaysWhatAConnectionWas) {
  FakeAgent agent(loop_, 1);
  start_recorded(agent, recorded());
  const Bytes hello = client_hello("pass.test");
  net::ByteStream& socket = open_client("pass.test").socket;
  const std::string client = socket.local_addr().to_string();
  EXPECT_EQ(edge_->access_log().writer().written(), 0u);
  EXPECT_TRUE(run_task(loop_, net::finish(socket, soon())));
  const json::object record = only_record();
  EXPECT_EQ(record.at("kind").as_string(), "connection");
  EXPECT_EQ(record.at("edge").as_string(), key(9).public_key().to_string());
  EXPECT_EQ(record.at("id").as_string(), fmt::format("{:x}", agent.headers.at(0).connection_id));
  EXPECT_EQ(record.at("client").as_string(), client);
  EXPECT_TRUE(record.at("proxy").is_null());
  EXPECT_EQ(record.at("public").as_string(), edge_->tcp_addr().to_string());
  EXPECT_EQ(record.at("host").as_string(), "pass.test");
  EXPECT_EQ(record.at("route").as_string(), "pass.test");
  EXPECT_EQ(record.at("tenant").as_string(), route::testing::id(200).to_string());
  EXPECT_EQ(record.at("agent").as_string(), agent.id().to_string());
  EXPECT_EQ(record.at("mode").as_string(), "passthrough");
  EXPECT_TRUE(record.at("tls").is_null());
  EXPECT_EQ(record.at("attempts").as_int64(), 1);
  EXPECT_EQ(record.at("bytes_in").as_int64(), static_cast<int64_t>(hello.size()));
  EXPECT_EQ(record.at("bytes_out").as_int64(), static_cast<int64_t>(hello.size()));
  EXPECT_LE(record.at("taken_ms").as_int64(), record.at("duration_ms").as_int64());
  EXPECT_EQ(record.at("reason").as_string(), "finished");
  EXPECT_EQ(record.at("fault").as_string(), "nobody");
  EXPECT_EQ(edge_->access_log().ended(CloseReason::kFinished), 1u);
}

TEST_F(AccessLogTest, OfTerminatedTlsItHasVersionAndProtocol) {
  FakeAgent agent(loop_, 1);
  agent.refuse_with = tunnel::kStreamOriginTimeout;
  start_recorded(agent, recorded());
  EXPECT_NE(get("x.w.test").find("504"), std::string::npos);
  const json::object record = only_record();
  EXPECT_EQ(record.at("tls").as_string(), "TLSv1.3");
  EXPECT_EQ(record.at("mode").as_string(), "terminate");
  EXPECT_EQ(record.at("route").as_string(), "*.w.test");
  EXPECT_EQ(record.at("reason").as_string(), "origin_timeout");
}

TEST_F(AccessLogTest, WhatAgentsRefuseIsTheirsOrTheirOrigins) {
  expect_refusal(tunnel::kStreamOriginUnreachable, "origin_unreachable", "origin");
  expect_refusal(tunnel::kStreamOriginUntrusted, "origin_untrusted", "origin");
  expect_refusal(tunnel::kStreamUnknownService, "agent_refused", "agent");
  expect_refusal(tunnel::kStreamLimit, "stream_limit", "agent");
}

TEST_F(AccessLogTest, AConnectionThatIsGivenToAnotherAgentHasOneRecord) {
  FakeAgent first(loop_, 1), second(loop_, 2);
  first.dumb = true;
  start(recorded());
  set_routes({route("pass.test", route::TlsMode::kPassthrough, {first.id(), second.id()})});
  connect(first);
  const Bytes hello = client_hello("pass.test");
  net::ByteStream& socket = keep(tcp());
  send(socket, hello);
  Received& answer = read(socket);
  wait([&] { return first.headers.size() == 1 && counters().streams_carried == 1; });
  connect(second);
  first.leave(tunnel::kCloseDraining);
  wait([&] { return answer.bytes == hello; });
  socket.reset();
  expect_end("client_reset", "client");
  EXPECT_EQ(only_record().at("attempts").as_int64(), 2);
  EXPECT_EQ(only_record().at("agent").as_string(), second.id().to_string());
}

TEST_F(AccessLogTest, WhatNeverSaysWhatItWantsIsTheClients) {
  Config wanted = recorded();
  wanted.options.hello_timeout = 100ms;
  start(std::move(wanted));
  Received& silent = read(keep(tcp()));
  wait([&] { return silent.ended(); });
  expect_end("hello_timeout", "client");
  keep(tcp()).reset();
  EXPECT_EQ(records(2).at(1).at("reason").as_string(), "client_gone");
  send(keep(tcp()), as_bytes("\x16\x03garbage that is no hello at all"));
  EXPECT_EQ(records(3).at(2).at("reason").as_string(), "not_tls");
  net::ByteStream& http = keep(tcp());
  send(http, as_bytes("GET / HTTP/1.1\r\n\r\n"));
  http.try_finish();
  EXPECT_EQ(records(4).at(3).at("reason").as_string(), "plain_http");
}

TEST_F(AccessLogTest, HostileNamesAreValidJson) {
  AccessLog log(net::system_platform(), "edge");
  ASSERT_TRUE(log.open(path_));
  ConnectionFacts connection;
  connection.host = "a\"\\\n\xff\xed\xa0\x80\u202e";
  log.ended(connection, CloseReason::kUnknownHostname);
  wait([&] { return log.writer().written() == 1; });
  const Bytes content = read_file(path_, 4096).value();
  const json::value parsed = json::parse(as_text(content).substr(0, content.size() - 1));
  EXPECT_EQ(parsed.at("host").as_string(), "a\"\\\\x0a\\xff\\xed\\xa0\\x80\\u202e");
}

TEST_F(AccessLogTest, WhatHasNoRouteOrNoAgent) {
  FakeAgent agent(loop_, 1);
  start(recorded());
  say_hello("unknown.test");
  expect_end("unknown_hostname", "client");
  set_usual_routes(agent);
  say_hello("pass.test");
  const json::object record = records(2).at(1);
  EXPECT_EQ(record.at("reason").as_string(), "no_agent");
  EXPECT_EQ(record.at("fault").as_string(), "agent");
  EXPECT_TRUE(record.at("agent").is_null());
  EXPECT_EQ(record.at("route").as_string(), "pass.test");
  route::Route suspended = route("pass.test", route::TlsMode::kPassthrough, {agent.id()});
  suspended.is_suspended = true;
  set_routes({suspended});
  say_hello("pass.test");
  EXPECT_EQ(records(3).at(2).at("reason").as_string(), "suspended");
  send(keep(tcp()), client_hello("hub.test"));
  EXPECT_EQ(records(4).at(3).at("reason").as_string(), "hub");
}

TEST_F(AccessLogTest, WhatIsOverALimitIsRecorded) {
  Config wanted = recorded();
  wanted.options.max_connections = 1;
  start(std::move(wanted));
  read(keep(tcp()));
  wait([&] { return counters().connections_active == 1; });
  auto second = run_task(loop_, net::tcp_connect(loop_, edge_->tcp_addr(), soon()));
  expect_end("max_connections", "edge");
}

TEST_F(AccessLogTest, WhoMakesRoomForAnotherIsRecorded) {
  Config wanted = recorded();
  wanted.options.max_unserved_per_source = 1;
  start(std::move(wanted));
  Received& first = read(keep(tcp()));
  wait([&] { return counters().connections_active == 1; });
  read(keep(tcp()));
  wait([&] { return first.ended(); });
  expect_end("source_full", "client");
}

TEST_F(AccessLogTest, ALostTunnelAndAWithdrawnRouteAreNotTheClients) {
  FakeAgent agent(loop_, 1);
  start_recorded(agent, recorded());
  Received& cut = open_client("pass.test").answer;
  set_routes({route("term.test", route::TlsMode::kTerminate, {agent.id()})});
  wait([&] { return cut.ended(); });
  expect_end("route_withdrawn", "nobody");
  set_usual_routes(agent);
  Received& lost = open_client("pass.test").answer;
  agent.leave(tunnel::kCloseOk);
  wait([&] { return lost.ended(); });
  const json::object record = records(2).at(1);
  EXPECT_EQ(record.at("reason").as_string(), "tunnel_lost");
  EXPECT_EQ(record.at("fault").as_string(), "agent");
}

TEST_F(AccessLogTest, AStopThatDoesNotWaitIsTheEdges) {
  FakeAgent agent(loop_, 1);
  start_recorded(agent, recorded());
  Received& open = open_client("pass.test").answer;
  read(keep(tcp()));
  wait([&] { return counters().connections_active == 2; });
  edge_->stop();
  edge_->stop();
  wait([&] { return open.ended(); });
  for (const json::object& each : records(2)) EXPECT_EQ(each.at("reason").as_string(), "drained");
}

TEST_F(AccessLogTest, AFileThatCannotBeOpenedIsSaidAtTheStart) {
  Config wanted = recorded();
  wanted.options.access_log = "/nonexistent/access.json";
  auto edge = Edge::bind(std::move(wanted), nullptr);
  ASSERT_FALSE(edge);
  EXPECT_EQ(edge.error().code, ErrorCode::kIo);
}

}  // namespace
}  // namespace culvert::edge
