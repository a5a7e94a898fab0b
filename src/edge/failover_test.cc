// What clients see of agents that stop answering: their loop is not run any more, as after SIGSTOP or SIGKILL
// or when their network is gone.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "edge/edge_fixture.h"

namespace culvert::edge {
namespace {

using namespace testing;

const std::string kGet = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const std::string kPost = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";

class FailoverTest : public EdgeFixture {
 public:
  // Both serve both names; `silent_` is not run any more.
  void start_both(Config config) {
    start(std::move(config));
    set_routes({route("pass.test", route::TlsMode::kPassthrough, {silent_.id(), live_.id()}),
                route("term.test", route::TlsMode::kTerminate, {silent_.id(), live_.id()})});
    connect(live_);
    wait([&] { return counters().tunnels_active == 1; });
    // The youngest: its turn comes first.
    silent_.dial(edge_->udp_addr(), key(9).public_key());
    run_until(silent_loop_, [&] { return silent_.welcome() && counters().tunnels_active == 2; });
  }
  static Config with_workers(unsigned workers) {
    Config many = config();
    many.options.workers = workers;
    return many;
  }
  Received& passthrough() {
    net::ByteStream& socket = keep(tcp());
    send(socket, client_hello("pass.test"));
    return read(socket);
  }
  Received& terminated(std::string_view request) {
    net::ByteStream& socket = keep(tls("term.test").value());
    send(socket, as_bytes(request));
    return read(socket);
  }
  void run_silent() {
    const TimePoint end = silent_loop_.now() + 5ms;
    while (silent_loop_.now() < end && silent_loop_.run_once(end)) {
    }
  }
  void make_suspect() {
    for (int i = 0; i < 2; ++i) {
      Received& answer = passthrough();
      wait([&] { return !answer.bytes.empty(); });
    }
    wait([&] { return counters().tunnels_suspected > 0; });
  }

  net::EventLoop silent_loop_;
  FakeAgent silent_{silent_loop_, 1};
  FakeAgent live_{loop_, 2};
};

// By the number of workers: with two, the agents' tunnels and the clients meet on either.
class FailoverOnWorkers : public FailoverTest, public ::testing::WithParamInterface<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, FailoverOnWorkers, ::testing::Values(1u, 2u));

TEST_P(FailoverOnWorkers, NoClientNoticesAnAgentThatStoppedAnswering) {
  start_both(with_workers(GetParam()));
  const Bytes hello = client_hello("pass.test");
  for (int i = 0; i < 4; ++i) {
    Received& passed = passthrough();
    wait([&] { return passed.bytes.size() >= hello.size(); });
    EXPECT_EQ(passed.bytes, hello);
    for (const std::string& request : {kGet, kPost}) {
      Received& got = terminated(request);
      wait([&] { return got.bytes.size() >= request.size(); });
      EXPECT_EQ(got.text(), request);
    }
  }
  EXPECT_EQ(live_.headers.size(), 12u) << "each request came to it once";
  EXPECT_GE(counters().streams_retried, 1u);
  EXPECT_EQ(counters().refused_no_agent, 0u);
}

TEST_P(FailoverOnWorkers, ASuspectGetsNothingWhileAnotherAnswersAndItsTurnsAgainLater) {
  start_both(with_workers(GetParam()));
  make_suspect();
  const uint64_t retried = counters().streams_retried;
  for (int i = 0; i < 6; ++i) {
    Received& answer = passthrough();
    wait([&] { return !answer.bytes.empty(); });
  }
  EXPECT_EQ(counters().streams_retried, retried) << "it was not even asked";
  const size_t before = live_.headers.size();
  std::atomic<bool> enough = false;
  std::thread back([&] {
    while (!enough) silent_loop_.run_once(silent_loop_.now() + 5ms);
  });
  size_t asked = 0;
  while (live_.headers.size() == before + asked && asked < 200) {
    Received& answer = passthrough();
    wait([&] { return !answer.bytes.empty(); });
    ++asked;
  }
  enough = true;
  back.join();
  EXPECT_LT(live_.headers.size(), before + asked) << "it has its turns again";
}

TEST_P(FailoverOnWorkers, ATunnelThatAnswersNothingIsClosedAndWhatItNeverAnsweredMoves) {
  silent_.dumb = true;
  start_both(with_workers(GetParam()));
  // Connections that the silent agent acknowledges, and to which its origin says nothing yet.
  std::vector<Received*> moved;
  for (std::string_view request : {std::string_view(), std::string_view(kGet)}) {
    const size_t before = silent_.headers.size();
    while (silent_.headers.size() == before) {
      Received& answer = request.empty() ? passthrough() : terminated(request);
      wait([&] {
        run_silent();
        return !answer.bytes.empty() || silent_.headers.size() > before;
      });
      if (silent_.headers.size() > before) moved.push_back(&answer);
    }
  }
  // Their acknowledgements reach the edge, and then it is silent.
  wait([&] {
    run_silent();
    return counters().streams_carried == silent_.headers.size() + live_.headers.size();
  });
  make_suspect();
  for (Received* answer : moved) EXPECT_TRUE(answer->bytes.empty());
  wait([&] { return counters().tunnels_closed_silent == 1 && counters().tunnels_active == 1; });
  wait([&] { return !moved[0]->bytes.empty() && !moved[1]->bytes.empty(); });
  EXPECT_EQ(moved[0]->bytes, client_hello("pass.test"));
  EXPECT_EQ(moved[1]->text(), kGet);
}

TEST_F(FailoverTest, WhatMayHaveReachedTheOriginIsNotRepeated) {
  silent_.dumb = true;
  start_both(config());
  Received* cut = nullptr;
  while (silent_.headers.empty()) {
    net::ByteStream& socket = keep(tls("term.test").value());
    send(socket, as_bytes(kPost));
    cut = &read(socket);
    wait([&] {
      run_silent();
      return !cut->bytes.empty() || !silent_.after_header.empty();
    });
  }
  const size_t before = live_.headers.size();
  make_suspect();
  wait([&] { return counters().tunnels_closed_silent == 1; });
  wait([&] { return cut->ended(); });
  EXPECT_TRUE(cut->broken && cut->bytes.empty());
  for (size_t i = before; i < live_.headers.size(); ++i) EXPECT_EQ(live_.headers[i].authority, "pass.test");
}

TEST_F(FailoverTest, WhereNoAgentAnswersTheClientIsToldInTime) {
  Config hasty = config();
  hasty.open_patience = 1s;
  start(std::move(hasty));
  set_routes({route("pass.test", route::TlsMode::kPassthrough, {silent_.id()}),
              route("term.test", route::TlsMode::kTerminate, {silent_.id()})});
  silent_.dial(edge_->udp_addr(), key(9).public_key());
  run_until(silent_loop_, [&] { return silent_.welcome() && counters().tunnels_active == 1; });
  EXPECT_EQ(say_hello("pass.test").bytes, kInternalError);
  const std::string answer = get("term.test");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 502")) << answer;
  EXPECT_EQ(counters().refused_no_agent, 2u);
  EXPECT_EQ(counters().tunnels_active, 1u) << "its network may come back";
}

TEST_F(FailoverTest, AnAgentThatPausesAndHasNoSubstituteLosesNobody) {
  start(config());
  set_routes({route("pass.test", route::TlsMode::kPassthrough, {silent_.id()})});
  silent_.dial(edge_->udp_addr(), key(9).public_key());
  run_until(silent_loop_, [&] { return silent_.welcome() && counters().tunnels_active == 1; });
  Received& waiting = passthrough();
  wait([&] { return counters().tunnels_suspected == 1; });
  run_until(silent_loop_, [&] { return silent_.headers.size() == 1; });
  wait([&] {
    run_silent();
    return !waiting.bytes.empty();
  });
  EXPECT_EQ(waiting.bytes, client_hello("pass.test"));
  EXPECT_EQ(counters().streams_retried, 0u);
}

TEST_F(FailoverTest, ADrainWaitsForStreamsThatAreBeingOpened) {
  start(config());
  set_routes({route("pass.test", route::TlsMode::kPassthrough, {silent_.id()})});
  silent_.dial(edge_->udp_addr(), key(9).public_key());
  run_until(silent_loop_, [&] { return silent_.welcome() && counters().tunnels_active == 1; });
  Received& waiting = passthrough();
  wait([&] { return counters().tunnels_suspected == 1; });  // its stream is open, and not acknowledged
  silent_.say(tunnel::Drain{});
  wait([&] {
    run_silent();
    return !waiting.bytes.empty();
  });
  EXPECT_EQ(waiting.bytes, client_hello("pass.test"));
  EXPECT_FALSE(silent_.drained());
  EXPECT_TRUE(run_task(loop_, net::finish(*sockets_.back(), soon())));
  wait([&] {
    run_silent();
    return silent_.drained();
  });
}

TEST_F(FailoverTest, ANewAgentGetsWhoWaitsForTheOldOne) {
  Config patient = config();
  patient.open_patience = 20s;
  start(std::move(patient));
  set_routes({route("pass.test", route::TlsMode::kPassthrough, {silent_.id(), live_.id()})});
  silent_.dial(edge_->udp_addr(), key(9).public_key());
  run_until(silent_loop_, [&] { return silent_.welcome() && counters().tunnels_active == 1; });
  Received& waiting = passthrough();
  wait([&] { return counters().tunnels_suspected == 1; });
  connect(live_);
  wait([&] { return !waiting.bytes.empty(); });
  EXPECT_EQ(live_.headers.size(), 1u);
}

TEST_F(FailoverTest, AgentsAtTheirLimitAreNotAskedInTurns) {
  FakeAgent first(loop_, 21, 1), second(loop_, 22, 1);
  start(with_workers(2));
  set_routes({route("pass.test", route::TlsMode::kPassthrough, {first.id(), second.id()})});
  connect(first);
  connect(second);
  for (int i = 0; i < 2; ++i) open_client("pass.test");
  const uint64_t moved = counters().connections_moved;
  EXPECT_EQ(say_hello("pass.test").bytes, kInternalError);
  EXPECT_EQ(counters().refused_stream_limit, 1u);
  EXPECT_EQ(counters().streams_retried, 0u);
  EXPECT_LE(counters().connections_moved, moved + 2);
}

TEST_F(FailoverTest, AClientThatLeavesWhileItWaitsIsForgotten) {
  start(config());
  set_routes({route("term.test", route::TlsMode::kTerminate, {silent_.id()})});
  silent_.dial(edge_->udp_addr(), key(9).public_key());
  run_until(silent_loop_, [&] { return silent_.welcome() && counters().tunnels_active == 1; });
  keep(tls("term.test").value()).reset();
  wait([&] { return counters().connections_active == 0; });
  EXPECT_EQ(counters().refused_no_agent, 0u);
}

}  // namespace
}  // namespace culvert::edge
