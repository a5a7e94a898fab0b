// What an edge refuses and slows down so that nobody takes all of it.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "edge/edge_fixture.h"

namespace culvert::edge {
namespace {

using namespace testing;
using route::TlsMode;

class LimitsTest : public EdgeFixture {
 public:
  static Config with(const std::function<void(Options&)>& choose) {
    Config chosen = config();
    choose(chosen.options);
    return chosen;
  }
  // As a client whose connection the edge resets before it serves it.
  void expect_reset() {
    auto socket = run_task(loop_, net::tcp_connect(loop_, edge_->tcp_addr(), soon()));
    if (!socket) return;  // the reset came before connecting was done
    Received& answer = read(keep(std::move(*socket)));
    wait([&] { return answer.ended(); });
    EXPECT_TRUE(answer.bytes.empty());
  }
  // A connection that a trusted proxy opened for this client.
  net::ByteStream& open_from(std::string_view client) {
    net::ByteStream& socket = keep(tcp());
    const std::string header = fmt::format("PROXY TCP4 {} 198.51.100.1 5000 443\r\n", client);
    send(socket, as_bytes(header));
    return socket;
  }
  // An edge whose memory the test sets, of 100, with two tenants: that of pass.test and that of other.test.
  void start_with_memory(FakeAgent& agent) {
    Config chosen = with([](Options& options) {
      options.max_memory = 100;
      options.hello_timeout = 1h;
    });
    chosen.memory_in_use = [memory = memory_] { return memory->load(); };
    start(std::move(chosen));
    route::Route other = route("other.test", TlsMode::kPassthrough, {agent.id()});
    other.tenant = key(51).public_key();
    set_routes({route("pass.test", TlsMode::kPassthrough, {agent.id()}), other});
    connect(agent);
  }
  void use_memory(uint64_t used, OverloadState expected) {
    *memory_ = used;
    wait([&] { return edge_->overload_state() == expected; });
  }

  // Outlives the edge.
  std::shared_ptr<std::atomic<uint64_t>> memory_ = std::make_shared<std::atomic<uint64_t>>(0);
};

TEST_F(LimitsTest, AClientHasNoMoreConnectionsThanAllowed) {
  start(with([](Options& options) {
    options.max_connections_per_source = 2;
    options.trusted_proxies = {*IpPrefix::parse("127.0.0.1")};
  }));
  ::testing::internal::CaptureStderr();
  open_from("203.0.113.7");
  open_from("203.0.113.7");
  Received& third = read(open_from("203.0.113.7"));
  wait([&] { return third.ended(); });
  EXPECT_EQ(counters().refused_client_full, 1u);
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("event=client_full client=203.0.113.7:5000 cap=2 refused=1"), std::string::npos) << log;
  Received& other = read(open_from("203.0.113.8"));
  wait_for_workers();
  EXPECT_FALSE(other.ended());
  sockets_.front()->close();
  wait([&] { return counters().connections_active == 2; });
  Received& again = read(open_from("203.0.113.7"));
  wait_for_workers();
  EXPECT_FALSE(again.ended()) << "a place is given back";
}

TEST_F(LimitsTest, AClientBeginsNoMoreInASecondThanAllowed) {
  start(with([](Options& options) { options.max_new_connections_per_source = 3; }));
  ::testing::internal::CaptureStderr();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(say_hello("stranger.test").bytes, kUnrecognizedName);
  expect_reset();
  wait([&] { return counters().refused_client_rate >= 1u; });
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("event=client_rate client=127.0.0.1:"), std::string::npos) << log;
  EXPECT_NE(log.find("per_second=3 refused=1"), std::string::npos) << log;
  pause(400ms);
  EXPECT_EQ(say_hello("stranger.test").bytes, kUnrecognizedName);
}

TEST_F(LimitsTest, TheEdgeBeginsNoMoreInASecondThanAllowed) {
  start(with([](Options& options) {
    options.max_new_connections = 2;
    options.trusted_proxies = {*IpPrefix::parse("127.0.0.1")};
  }));
  ::testing::internal::CaptureStderr();
  open_from("203.0.113.7");
  open_from("203.0.113.8");
  Received& third = read(open_from("203.0.113.9"));
  wait([&] { return third.ended(); });
  EXPECT_EQ(counters().refused_connection_rate, 1u);
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("event=connection_rate cap=2 refused=1"), std::string::npos) << log;
}

TEST_F(LimitsTest, ATenantBeginsNoMoreInASecondThanAllowedAndIsTold) {
  start(with([](Options& options) { options.max_new_connections_per_tenant = 2; }));
  FakeAgent agent(loop_, 1);
  route::Route other = route("other.test", TlsMode::kPassthrough, {agent.id()});
  other.tenant = key(51).public_key();
  set_routes({route("pass.test", TlsMode::kPassthrough, {agent.id()}), other});
  connect(agent);
  ::testing::internal::CaptureStderr();
  open_client("pass.test");
  open_client("pass.test");
  EXPECT_EQ(say_hello("pass.test").bytes, kInternalError);
  EXPECT_EQ(counters().refused_tenant_rate, 1u);
  open_client("other.test");
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("event=tenant_rate host=\"pass.test\" per_second=2 refused=1"), std::string::npos)
      << log;
}

TEST_F(LimitsTest, NoLimitOfARateIsNone) {
  start(with([](Options& options) {
    options.max_new_connections = 0;
    options.max_new_connections_per_source = 0;
  }));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(say_hello("stranger.test").bytes, kUnrecognizedName);
}

TEST_F(LimitsTest, BytesAreSlowedDownToTheBandwidthOfTheTenantAndOfTheEdge) {
  for (const bool of_tenant : {true, false}) {
    start(with([&](Options& options) {
      (of_tenant ? options.max_bandwidth_per_tenant : options.max_bandwidth) = 400'000;
    }));
    FakeAgent agent(loop_, 1);
    set_usual_routes(agent);
    connect(agent);
    Client first = open_client("pass.test");
    Client second = open_client("pass.test");
    const TimePoint start = loop_.now();
    const Bytes block(60'000, 'x');
    send(first.socket, block);
    send(second.socket, block);
    const size_t hello = client_hello("pass.test").size();
    wait([&] {
      return first.answer.bytes.size() == hello + block.size() &&
             second.answer.bytes.size() == hello + block.size();
    });
    // Twice two blocks, of which the burst is free and the last read of each is not waited for.
    EXPECT_GE(loop_.now() - start, 240ms) << "120,000 bytes each way at 400,000 a second";
    first.socket.close();
    second.socket.close();
    edge_.reset();
  }
}

TEST_F(LimitsTest, ATenantsOwnBandwidthHoldsForWhatIsOpenAndForNoOther) {
  FakeAgent agent(loop_, 1);
  start(with([](Options& options) { options.workers = 2; }));
  route::Route limited = route("pass.test", TlsMode::kPassthrough, {agent.id()});
  route::Route other = route("other.test", TlsMode::kPassthrough, {agent.id()});
  other.tenant = key(51).public_key();
  set_routes({limited, other});
  connect(agent);
  Client slow = open_client("pass.test");
  Client free = open_client("other.test");
  const auto takes = [&](Client& client, size_t size) {
    const size_t expected = client.answer.bytes.size() + size;
    const TimePoint began = loop_.now();
    send(client.socket, Bytes(size, 'x'));
    wait([&] { return client.answer.bytes.size() == expected; });
    return loop_.now() - began;
  };
  EXPECT_LT(takes(slow, 100'000), 200ms);
  limited.own_limits.bytes_per_second = 400'000;
  set_routes({limited, other});
  (void)takes(slow, 30'000);  // the burst, and what is not waited for
  EXPECT_GE(takes(slow, 60'000), 200ms) << "120,000 bytes at 400,000 a second";
  EXPECT_LT(takes(free, 100'000), 200ms);
  // As slow as a modem, and back: what waits does not wait for the old rate.
  limited.own_limits.bytes_per_second = 1'000;
  set_routes({limited, other});
  const size_t all = slow.answer.bytes.size() + 200'000;
  send(slow.socket, Bytes(200'000, 'x'));
  pause(300ms);
  EXPECT_LT(slow.answer.bytes.size(), all);
  limited.own_limits = {};
  set_routes({limited, other});
  const TimePoint raised = loop_.now();
  wait([&] { return slow.answer.bytes.size() == all; });
  EXPECT_LT(loop_.now() - raised, 3s);
}

TEST_F(LimitsTest, ATenantsOwnRateIsToldToItsClientsAndToNoOthers) {
  FakeAgent agent(loop_, 1);
  start(config());
  route::Route limited = route("pass.test", TlsMode::kPassthrough, {agent.id()});
  limited.own_limits.connections_per_second = 2;
  route::Route other = route("other.test", TlsMode::kPassthrough, {agent.id()});
  other.tenant = key(51).public_key();
  set_routes({limited, other});
  connect(agent);
  ::testing::internal::CaptureStderr();
  open_client("pass.test");
  open_client("pass.test");
  EXPECT_EQ(say_hello("pass.test").bytes, kInternalError);
  EXPECT_EQ(counters().refused_tenant_rate, 1u);
  for (int i = 0; i < 5; ++i) open_client("other.test");
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("event=tenant_rate host=\"pass.test\" per_second=2 refused=1"), std::string::npos)
      << log;
  limited.own_limits.connections_per_second = 50;
  set_routes({limited, other});
  for (int i = 0; i < 5; ++i) open_client("pass.test");
}

TEST_F(LimitsTest, WhereItIsBusySilentClientsAreCutSooner) {
  FakeAgent agent(loop_, 1);
  start_with_memory(agent);
  use_memory(80, OverloadState::kBusy);
  Received& silent = read(keep(tcp()));
  wait([&] { return silent.ended(); });  // and not after an hour
  wait([&] { return counters().refused_hello_timeout == 1u; });
  open_client("pass.test");
}

TEST_F(LimitsTest, WhereItShedsNoTenantGetsMoreThanItsPart) {
  FakeAgent agent(loop_, 1);
  start_with_memory(agent);
  for (int i = 0; i < 3; ++i) open_client("pass.test");
  open_client("other.test");
  use_memory(95, OverloadState::kShedding);
  EXPECT_EQ(say_hello("pass.test").bytes, kInternalError) << "it has three of four";
  EXPECT_EQ(counters().refused_tenant_full, 1u);
  open_client("other.test");
  use_memory(10, OverloadState::kNormal);
  open_client("pass.test");
}

TEST_F(LimitsTest, WhereItIsFullNothingBeginsAndWhatIsOpenGoesOn) {
  FakeAgent agent(loop_, 1), second(loop_, 2);
  start_with_memory(agent);
  Client open = open_client("pass.test");
  ::testing::internal::CaptureStderr();
  use_memory(101, OverloadState::kFull);
  expect_reset();
  expect_reset();
  wait([&] { return counters().refused_overload == 2u; });
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("event=overload state=full"), std::string::npos) << log;
  EXPECT_NE(log.find("scarcest=memory used_percent=101 used=101 most=100"), std::string::npos) << log;
  EXPECT_EQ(log.find("overload_refused", log.find("overload_refused") + 1), std::string::npos)
      << "one line: " << log;
  send(open.socket, as_bytes("still here"));
  wait([&] { return open.answer.text().ends_with("still here"); });
  use_memory(0, OverloadState::kNormal);
  open_client("pass.test");
}

TEST_F(LimitsTest, ConnectionsBringEachState) {
  start(with([](Options& options) {
    options.max_connections = 40;
    options.max_unserved = 1'000;
    options.max_unserved_per_source = 1'000;
    options.hello_timeout = 1h;
  }));
  const auto open = [&](size_t count, OverloadState expected) {
    while (sockets_.size() < count) keep(tcp());
    wait([&] { return edge_->overload_state() == expected; });
  };
  open(29, OverloadState::kNormal);
  open(30, OverloadState::kBusy);
  open(36, OverloadState::kShedding);
  open(40, OverloadState::kFull);
  expect_reset();
  EXPECT_EQ(counters().refused_max_connections, 1u);
  for (auto& socket : sockets_) socket->close();
  wait([&] { return edge_->overload_state() == OverloadState::kNormal; });
  EXPECT_EQ(say_hello("stranger.test").bytes, kUnrecognizedName);
}

TEST_F(LimitsTest, HandshakesBringEachState) {
  start(with([](Options& options) {
    options.max_unserved = 40;
    options.max_unserved_per_source = 1'000;
    options.hello_timeout = 1h;
  }));
  const auto open = [&](size_t count, OverloadState expected) {
    while (sockets_.size() < count) keep(tcp());
    wait([&] { return edge_->overload_state() == expected; });
  };
  open(30, OverloadState::kBusy);
  open(36, OverloadState::kShedding);
  open(40, OverloadState::kFull);
  expect_reset();
  EXPECT_EQ(counters().refused_max_hellos, 1u);
}

TEST_F(LimitsTest, AProxyHasTwoSecondsHoweverLongAHelloMayTake) {
  start(with([](Options& options) {
    options.hello_timeout = 1h;
    options.trusted_proxies = {*IpPrefix::parse("127.0.0.1")};
  }));
  Received& silent = read(keep(tcp()));
  wait([&] { return silent.ended(); });
  wait([&] { return counters().refused_hello_timeout == 1u; });
}

}  // namespace
}  // namespace culvert::edge
