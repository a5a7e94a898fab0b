#include "edge/access_log.h"

#include <gtest/gtest.h>

#include "edge/edge_fixture.h"

namespace culvert::edge {
namespace {

using namespace testing;

size_t count_of(std::string_view text, std::string_view part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++found;
  return found;
}

CarriedConnection carried() {
  const route::Route route = route::testing::route("a.test", {route::testing::id(1)});
  PublicConnection connection{.socket = nullptr};
  connection.host = "a.test";
  connection.client = SocketAddr::v4({192, 0, 2, 1}, 4711);
  connection.id = 0xabc;
  connection.accepted = TimePoint(10s);
  connection.pick.emplace(route::testing::id(1), 0, 1, TunnelRegistry::Load());
  return {std::move(connection), route.id(), route.tenant, 70, nullptr};
}

std::string lines_of(AccessLog& log, size_t connections, TimePoint now,
                     tunnel::PumpCounters bytes = {.to_stream = 170, .to_socket = 3000},
                     bool was_delivered = false) {
  const CarriedConnection each = carried();
  const tunnel::PumpResult result{.end = tunnel::PumpEnd::kSocketReset,
                                  .code = tunnel::kStreamClientGone,
                                  .bytes = bytes,
                                  .was_delivered = was_delivered,
                                  .refused_socket = nullptr,
                                  .unanswered_socket = nullptr,
                                  .initial = {}};
  ::testing::internal::CaptureStderr();
  for (size_t i = 0; i < connections; ++i) log.ended(each, result, now);
  return ::testing::internal::GetCapturedStderr();
}

TEST(AccessLog, ALineSaysWhatAConnectionWas) {
  AccessLog log(1);
  const std::string line = lines_of(log, 1, TimePoint(12'345ms));
  const std::string expected = fmt::format(
      "level=info event=connection id=abc host=\"a.test\" tenant={} agent={} client=192.0.2.1:4711 "
      "bytes_in=100 "
      "bytes_out=3000 duration_ms=2345 reason=socket_reset code=client_gone suppressed=0\n",
      route::testing::id(200).short_text(), route::testing::id(1).short_text());
  EXPECT_TRUE(line.ends_with(expected)) << line;
  EXPECT_NE(lines_of(log, 1, TimePoint(12s), {}, true).find(" reason=client_closed "), std::string::npos);
  // The stream was lost inside of its header.
  EXPECT_NE(lines_of(log, 1, TimePoint(12s), {.to_stream = 30}).find(" bytes_in=0 bytes_out=0 "),
            std::string::npos);
}

TEST(AccessLog, ItsRateIsLimitedAndWhatIsLeftOutIsCounted) {
  for (const unsigned workers : {1u, 4u}) {
    AccessLog log(workers);
    const size_t burst = AccessLog::kBurst / workers;
    const size_t per_second = AccessLog::kPerSecond / workers;
    const std::string first = lines_of(log, burst + 7, TimePoint(1000s));
    EXPECT_EQ(count_of(first, "event=connection "), burst);
    EXPECT_EQ(count_of(first, "suppressed=0\n"), burst);
    const std::string later = lines_of(log, burst, TimePoint(1001s));
    EXPECT_EQ(count_of(later, "event=connection "), per_second);
    EXPECT_EQ(count_of(later, "suppressed=7\n"), 1u);
  }
}

class AccessLogOfAnEdge : public EdgeFixture {};

TEST_F(AccessLogOfAnEdge, EachFinishedConnectionHasALineWhereItIsWanted) {
  FakeAgent agent(loop_, 1);
  start_with(agent);
  const size_t hello = client_hello("pass.test").size();
  const auto log_of_a_client = [&] {
    ::testing::internal::CaptureStderr();
    net::ByteStream& socket = open_client("pass.test").socket;
    EXPECT_EQ(counters().connections_active, 1u);
    EXPECT_TRUE(run_task(loop_, net::finish(socket, soon())));
    wait([&] { return counters().connections_active == 0; });
    return ::testing::internal::GetCapturedStderr();
  };
  EXPECT_EQ(log_of_a_client().find("event=connection "), std::string::npos) << "not unless it is wanted";
  Options wanted = config().options;
  wanted.access_log = true;
  edge_->reconfigure(wanted);
  const std::string log = log_of_a_client();
  EXPECT_EQ(count_of(log, "event=connection "), 1u) << log;
  EXPECT_NE(log.find(fmt::format(" host=\"pass.test\" tenant={} agent={} client=127.0.0.1:",
                                 route::testing::id(200).short_text(), agent.id().short_text())),
            std::string::npos)
      << log;
  EXPECT_NE(log.find(fmt::format(" bytes_in={} bytes_out={} duration_ms=", hello, hello)), std::string::npos)
      << log;
  EXPECT_NE(log.find(" reason=finished code=ok suppressed=0\n"), std::string::npos) << log;
}

TEST_F(AccessLogOfAnEdge, AConnectionThatIsGivenToAnotherAgentHasOneLine) {
  FakeAgent first(loop_, 1), second(loop_, 2);
  first.dumb = true;
  Config wanted = config();
  wanted.options.access_log = true;
  start(std::move(wanted));
  set_routes({route("pass.test", route::TlsMode::kPassthrough, {first.id(), second.id()})});
  connect(first);
  ::testing::internal::CaptureStderr();
  const Bytes hello = client_hello("pass.test");
  net::ByteStream& socket = keep(tcp());
  send(socket, hello);
  Received& answer = read(socket);
  wait([&] { return first.headers.size() == 1 && counters().streams_carried == 1; });
  connect(second);
  first.leave(tunnel::kCloseDraining);
  wait([&] { return answer.bytes == hello; });
  EXPECT_EQ(counters().streams_carried, 2u);
  socket.reset();
  wait([&] { return counters().connections_active == 0; });
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(count_of(log, "event=connection "), 1u) << log;
  EXPECT_NE(log.find(fmt::format(" agent={} client=", second.id().short_text())), std::string::npos) << log;
  EXPECT_NE(log.find(" reason=socket_reset code=client_gone "), std::string::npos) << log;
}

}  // namespace
}  // namespace culvert::edge
