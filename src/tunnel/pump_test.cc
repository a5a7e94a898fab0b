// Pumps between real sockets and real endpoints, all on one loop over loopback.
#include "tunnel/pump.h"

#include <gtest/gtest.h>

#include "endpoint/endpoint.h"
#include "net/testing.h"
#include "tunnel/protocol.h"

namespace culvert::tunnel {
namespace {

using namespace std::chrono_literals;
using endpoint::ConnectionPtr;
using endpoint::Endpoint;
using endpoint::StreamPtr;
using net::testing::read_all;
using net::testing::Received;
using net::testing::run_task;
using net::testing::run_until;
using net::testing::soon;
using net::testing::TcpPair;

SecretKey key(uint8_t fill) { return SecretKey::from_seed(Bytes(32, fill)).value(); }

Bytes pattern(size_t size) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 7 + i / 251);
  return bytes;
}

class PumpTest : public testing::Test {
 public:
  PumpTest() : tasks_(loop_) {
    const SocketAddr any = SocketAddr::v4({127, 0, 0, 1}, 0);
    edge_ = Endpoint::bind(loop_, {.key = key(1), .bind = any, .protocols = {{.alpn = "x"}}}).value();
    agent_ = Endpoint::bind(loop_, {.key = key(2), .bind = any, .limits = {}}).value();
    reconnect();
  }
  void reconnect() {
    endpoint::EndpointAddr address{.id = edge_->id(), .relay_urls = {}, .ip_addrs = {edge_->local_addr()}};
    agent_connection_ = run_task(loop_, agent_->connect(address, "x", soon())).value();
    edge_connection_ = run_task(loop_, edge_->accept("x")).value();
  }

  ~PumpTest() override {
    edge_->close(0, "test over");
    agent_->close(0, "test over");
    sockets_.clear();
    // No more than that: a pump that has ended is released even where its loop no longer runs.
    run_until(loop_, [this] { return tasks_.size() == 0; });
  }

  struct End {
    std::unique_ptr<net::ByteStream> outside;  // the client or the origin
    std::shared_ptr<Pump> pump;
    std::optional<PumpResult> result;
  };

  Pump::Config config(quic::AppCode abort_code) {
    Pump::Config config{};
    config.scratch = scratch_;
    config.abort_code = abort_code;
    return config;
  }

  // A pump between `stream` and one end of a fresh TCP connection, of which `end` gets the other.
  void start(End& end, StreamPtr stream, Pump::Config config) {
    TcpPair pair(loop_);
    end.outside = std::move(pair.client);
    config.socket = std::move(pair.server);
    config.stream = std::move(stream);
    config.on_done = [&end](PumpResult result) {
      EXPECT_FALSE(end.result) << "on_done twice";
      end.result = std::move(result);
    };
    end.pump = Pump::create(std::move(config));
    end.pump->start();
  }

  void start_client(Pump::Config config) {
    if (config.initial.empty())
      config.initial = to_bytes(as_bytes("^"));  // a stream is seen when something comes
    StreamPtr stream = edge_connection_->try_open_bidi();
    ASSERT_TRUE(stream);
    start(client_, std::move(stream), std::move(config));
  }
  void start_client() { start_client(config(kStreamClientGone)); }
  StreamPtr accept_stream() { return run_task(loop_, agent_connection_->accept_bidi()).value(); }
  void start_both() {
    start_client();
    start(origin_, accept_stream(), config(kStreamOriginReset));
  }
  // As the agent does it.
  void start_both_keeping_answers() {
    start_client();
    Pump::Config keeps = config(kStreamOriginReset);
    keeps.keep_answer = true;
    start(origin_, accept_stream(), std::move(keeps));
  }

  static net::Task<> write(net::ByteStream& socket, Bytes bytes, bool finish) {
    auto wrote = co_await net::write_all(socket, bytes, soon());
    if (wrote && finish) (void)co_await net::finish(socket, soon());
  }

  // Reads from now on; the Received outlives the test's body.
  Received& read(net::ByteStream& socket) {
    received_.push_back(std::make_unique<Received>());
    tasks_.spawn(read_all(socket, *received_.back()));
    return *received_.back();
  }
  void send(net::ByteStream& socket, std::string_view text, bool finish = false) {
    tasks_.spawn(write(socket, to_bytes(as_bytes(text)), finish));
  }
  void wait(auto condition) { run_until(loop_, condition); }

  net::EventLoop loop_;
  Bytes scratch_ = Bytes(64 * 1024);
  std::unique_ptr<Endpoint> edge_, agent_;
  ConnectionPtr edge_connection_, agent_connection_;
  std::vector<std::unique_ptr<Received>> received_;
  std::vector<std::unique_ptr<net::ByteStream>> sockets_;
  End client_, origin_;
  net::TaskGroup tasks_;
};

TEST_F(PumpTest, CarriesBothWaysAndKeepsBothHalfCloses) {
  start_both();
  Received& at_origin = read(*origin_.outside);
  Received& at_client = read(*client_.outside);
  send(*client_.outside, "question", true);
  wait([&] { return at_origin.ended(); });
  EXPECT_TRUE(at_origin.clean);
  EXPECT_EQ(at_origin.text(), "^question");
  EXPECT_FALSE(at_client.ended());
  EXPECT_FALSE(client_.result);
  EXPECT_EQ(client_.pump->counters().to_stream, 9u);

  send(*origin_.outside, "answer after your end", true);
  wait([&] { return at_client.ended() && client_.result && origin_.result; });
  EXPECT_TRUE(at_client.clean);
  EXPECT_EQ(at_client.text(), "answer after your end");
  for (const End* end : {&client_, &origin_}) EXPECT_EQ(end->result->end, PumpEnd::kFinished);
  EXPECT_EQ(client_.result->bytes.to_stream, 9u);
  EXPECT_EQ(client_.result->bytes.to_socket, 21u);
  EXPECT_EQ(origin_.result->bytes.to_stream, 21u);
}

TEST_F(PumpTest, WhatMovesEitherWayWaitsForItsBudgets) {
  ByteBudget narrow(1'000'000), wide(100'000'000), of_origin;
  Pump::Config limited = config(kStreamClientGone);
  limited.budgets = {&wide, &narrow};
  start_client(std::move(limited));
  Pump::Config free = config(kStreamOriginReset);
  free.budgets = {&of_origin};
  start(origin_, accept_stream(), std::move(free));
  Received& at_origin = read(*origin_.outside);
  Received& at_client = read(*client_.outside);
  const TimePoint began = loop_.now();
  const Bytes up = pattern(150'000), down = pattern(250'000);
  tasks_.spawn(write(*client_.outside, up, true));
  tasks_.spawn(write(*origin_.outside, down, true));
  wait([&] { return client_.result && origin_.result && at_origin.ended() && at_client.ended(); });
  // 400,000 bytes at 1,000,000 a second, of which a burst is free; the last part, of at most what a stream
  // holds, is not waited for.
  EXPECT_GE(loop_.now() - began, 100ms);
  EXPECT_GT(narrow.charge(0, began), 300ms) << "each byte was charged";
  EXPECT_TRUE(at_client.bytes == down);
  EXPECT_TRUE(std::equal(up.begin(), up.end(), at_origin.bytes.begin() + 1, at_origin.bytes.end()));
  for (const End* end : {&client_, &origin_}) EXPECT_EQ(end->result->end, PumpEnd::kFinished);
}

TEST_F(PumpTest, OneThatBeginsWaitsForWhatOthersHaveMoved) {
  ByteBudget budget(1'000'000);
  (void)budget.charge(250'000, loop_.now());
  const TimePoint began = loop_.now();
  Pump::Config limited = config(kStreamClientGone);
  limited.budgets = {&budget};
  limited.initial = to_bytes(as_bytes("^"));
  start_client(std::move(limited));
  StreamPtr stream = accept_stream();
  send(*client_.outside, "late");
  wait([&] { return stream->readable().size() == 5; });
  EXPECT_GE(loop_.now() - began, 190ms);
  client_.pump->cut(kStreamClientGone);
}

TEST_F(PumpTest, APausedPumpGoesOnSoonAfterItsBudgetChanged) {
  ByteBudget budget(1);
  Pump::Config limited = config(kStreamClientGone);
  limited.budgets = {&budget};
  start_client(std::move(limited));
  StreamPtr stream = accept_stream();
  send(*client_.outside, "paused for a minute");
  wait([&] { return budget.debt(loop_.now()) > 15s; });
  send(*client_.outside, " and not longer");
  const TimePoint began = loop_.now();
  budget.set_rate(1'000'000);
  wait([&] { return as_text(stream->readable()).ends_with("longer"); });
  EXPECT_LT(loop_.now() - began, 5s);
  client_.pump->cut(kStreamClientGone);
}

TEST_F(PumpTest, APausedPumpCanBeCutAndSeesTheEndOfItsTunnel) {
  for (const bool cut : {true, false}) {
    ByteBudget tiny(1);
    Pump::Config limited = config(kStreamClientGone);
    limited.budgets = {&tiny};
    client_ = {};
    start_client(std::move(limited));
    StreamPtr stream = accept_stream();
    send(*client_.outside, "paused from here on");
    wait([&] { return tiny.debt(loop_.now()) > 0ns; });
    if (cut) {
      client_.pump->cut(kStreamClientGone);
    } else {
      agent_connection_->close(0, "gone");
    }
    wait([&] { return client_.result.has_value(); });
    EXPECT_EQ(client_.result->end, cut ? PumpEnd::kCut : PumpEnd::kConnectionLost);
  }
}

TEST_F(PumpTest, TheOriginMayFinishFirst) {
  start_both();
  Received& at_origin = read(*origin_.outside);
  Received& at_client = read(*client_.outside);
  send(*origin_.outside, "only this", true);
  wait([&] { return at_client.ended(); });
  EXPECT_TRUE(at_client.clean);
  EXPECT_EQ(at_client.text(), "only this");
  send(*client_.outside, "more and more", true);
  wait([&] { return at_origin.ended() && client_.result && origin_.result; });
  EXPECT_TRUE(at_origin.clean);
  EXPECT_EQ(at_origin.text(), "^more and more");
  EXPECT_EQ(client_.result->end, PumpEnd::kFinished);
}

TEST_F(PumpTest, MovesMegabytesBothWaysAtOnceUnchanged) {
  start_both();
  Received& at_origin = read(*origin_.outside);
  Received& at_client = read(*client_.outside);
  Bytes up = pattern(6'000'001), down = pattern(9'000'003);
  tasks_.spawn(write(*client_.outside, up, true));
  tasks_.spawn(write(*origin_.outside, down, true));
  wait([&] { return client_.result && origin_.result && at_origin.ended() && at_client.ended(); });
  EXPECT_TRUE(at_origin.clean && at_client.clean);
  EXPECT_TRUE(at_client.bytes == down);
  ASSERT_EQ(at_origin.bytes.size(), up.size() + 1);
  EXPECT_TRUE(std::equal(up.begin(), up.end(), at_origin.bytes.begin() + 1));
}

TEST_F(PumpTest, ALargeInitialGoesFirst) {
  Pump::Config first = config(kStreamClientGone);
  first.initial = pattern(3'000'000);
  start_client(std::move(first));
  send(*client_.outside, "then the socket's", true);
  start(origin_, accept_stream(), config(kStreamOriginReset));
  Received& at_origin = read(*origin_.outside);
  wait([&] { return at_origin.ended(); });
  ASSERT_EQ(at_origin.bytes.size(), 3'000'000u + 17);
  EXPECT_TRUE(std::equal(at_origin.bytes.begin(), at_origin.bytes.end() - 17, pattern(3'000'000).begin()));
  EXPECT_EQ(as_text(ByteView(at_origin.bytes).last(17)), "then the socket's");
}

TEST_F(PumpTest, ASlowReaderStallsTheSenderAndLosesNothing) {
  start_both();
  Bytes down = pattern(24'000'000);
  tasks_.spawn(write(*origin_.outside, down, true));
  uint64_t before = 0;
  wait([&] {
    // Until nothing moves although there is more: every buffer on the way is full.
    uint64_t now = origin_.pump->counters().to_stream;
    net::testing::drain(loop_);
    net::testing::drain(loop_);
    return now > 0 && std::exchange(before, now) == now && origin_.pump->counters().to_stream == now;
  });
  EXPECT_LT(before, down.size());
  Received& at_client = read(*client_.outside);
  wait([&] { return at_client.ended(); });
  EXPECT_TRUE(at_client.clean);
  EXPECT_TRUE(at_client.bytes == down);
}

TEST_F(PumpTest, AnOriginThatResetsIsNeverACleanEnd) {
  start_both();
  Received& at_client = read(*client_.outside);
  send(*origin_.outside, "half an ans");
  wait([&] { return !at_client.bytes.empty(); });
  origin_.outside->reset();
  wait([&] { return at_client.ended() && client_.result && origin_.result; });
  EXPECT_TRUE(at_client.broken);
  EXPECT_EQ(origin_.result->end, PumpEnd::kSocketReset);
  EXPECT_EQ(client_.result->end, PumpEnd::kStreamReset);
  EXPECT_EQ(client_.result->code, kStreamOriginReset);
  EXPECT_FALSE(client_.result->refused_socket);
}

TEST_F(PumpTest, AClientThatResetsIsSeenByTheOrigin) {
  start_both();
  Received& at_origin = read(*origin_.outside);
  send(*client_.outside, "ques");
  wait([&] { return at_origin.bytes.size() == 5; });
  client_.outside->reset();
  wait([&] { return at_origin.ended() && client_.result && origin_.result; });
  EXPECT_TRUE(at_origin.broken);
  EXPECT_EQ(client_.result->end, PumpEnd::kSocketReset);
  EXPECT_EQ(origin_.result->end, PumpEnd::kStreamReset);
  EXPECT_EQ(origin_.result->code, kStreamClientGone);
}

TEST_F(PumpTest, AClientThatIsGoneStopsADownload) {
  start_both();
  Received& at_client = read(*client_.outside);
  tasks_.spawn(write(*origin_.outside, pattern(50'000'000), true));
  wait([&] { return at_client.bytes.size() > 1'000'000; });
  client_.outside->reset();
  wait([&] { return client_.result && origin_.result; });
  EXPECT_EQ(client_.result->end, PumpEnd::kSocketReset);
  EXPECT_FALSE(client_.result->was_delivered);
  EXPECT_EQ(origin_.result->end, PumpEnd::kStreamReset);
}

TEST_F(PumpTest, AClientThatResetsOnceItHasTheWholeAnswerGotIt) {
  start_both();
  Received& at_client = read(*client_.outside);
  tasks_.spawn(write(*origin_.outside, pattern(1000), true));
  wait([&] { return at_client.ended(); });
  client_.outside->reset();
  wait([&] { return client_.result.has_value(); });
  EXPECT_EQ(client_.result->end, PumpEnd::kSocketReset);
  EXPECT_TRUE(client_.result->was_delivered);
}

TEST_F(PumpTest, ARefusedSocketComesBackOnlyBeforeTheFirstByte) {
  for (bool answered : {false, true}) {
    Pump::Config with_return = config(kStreamClientGone);
    with_return.return_refused_socket = true;
    client_ = {};
    start_client(std::move(with_return));
    StreamPtr stream = accept_stream();
    if (answered) {
      stream->write(as_bytes("x"));
      wait([&] { return client_.pump->counters().to_socket == 1; });
    }
    stream->reset(kStreamOriginUnreachable);
    wait([&] { return client_.result.has_value(); });
    EXPECT_EQ(client_.result->end, PumpEnd::kStreamReset);
    EXPECT_EQ(client_.result->code, kStreamOriginUnreachable);
    ASSERT_EQ(client_.result->refused_socket == nullptr, answered);
    if (answered) continue;
    ASSERT_TRUE(client_.result->refused_socket->is_open());
    // The new owner may wait on it: nothing of the pump's is left there.
    client_.result->refused_socket->when_readable([] {});
    client_.result->refused_socket->cancel();
    // It is good for a last word.
    EXPECT_EQ(client_.result->refused_socket->try_write(as_bytes("sorry")).status, net::IoStatus::kOk);
    client_.result->refused_socket->try_finish();
    Received& at_client = read(*client_.outside);
    wait([&] { return at_client.ended(); });
    EXPECT_TRUE(at_client.clean);
    EXPECT_EQ(at_client.text(), "sorry");
  }
}

TEST_F(PumpTest, APeerThatStopsTheStreamStillGivesItsAnswer) {
  start_client();
  Received& at_client = read(*client_.outside);
  StreamPtr stream = accept_stream();
  stream->stop(kStreamOk);
  net::testing::drain(loop_);
  send(*client_.outside, "nobody reads this");
  net::testing::drain(loop_);
  EXPECT_FALSE(client_.result);
  stream->write(as_bytes("enough, thanks"));
  stream->finish();
  wait([&] { return at_client.ended() && client_.result; });
  EXPECT_TRUE(at_client.clean);
  EXPECT_EQ(at_client.text(), "enough, thanks");
  EXPECT_EQ(client_.result->end, PumpEnd::kFinished);
}

TEST_F(PumpTest, AnAnswerToAnUnreadUploadArrivesWholeAndTheClientMaySendOn) {
  // How an origin ends that has not read everything: FIN and then RST, or RST alone.
  for (bool with_fin : {true, false}) {
    for (size_t size : {size_t{40}, size_t{300'000}}) {
      client_ = {};
      origin_ = {};
      start_both_keeping_answers();
      Received& at_client = read(*client_.outside);
      tasks_.spawn(write(*client_.outside, pattern(20'000'000), true));
      wait([&] { return client_.pump->counters().to_stream > 100'000; });
      const Bytes answer = pattern(size);
      EXPECT_TRUE(run_task(loop_, net::write_all(*origin_.outside, answer, soon())));
      if (with_fin) origin_.outside->try_finish();
      origin_.outside->close();
      wait([&] { return at_client.bytes.size() >= size || at_client.ended(); });
      EXPECT_TRUE(at_client.bytes == answer) << at_client.bytes.size() << " of " << size;
      wait([&] { return at_client.ended() && client_.result && origin_.result; });
      EXPECT_EQ(at_client.clean, with_fin) << "what may not be whole never looks so";
      EXPECT_TRUE(at_client.bytes == answer);
      wait([&] { return tasks_.size() == 0; });
    }
  }
}

TEST_F(PumpTest, AnUnansweredSocketComesBackWithWhatWentIn) {
  enum Case { kNothingSaid, kHalfClosed, kAnswered, kSaidMore, kStopped, kCases };
  for (int what = kNothingSaid; what < kCases; ++what) {
    SCOPED_TRACE(what);
    if (what > 0) reconnect();
    client_ = {};
    StreamPtr stream = edge_connection_->try_open_bidi();
    Pump::Config keeps = config(kStreamClientGone);
    keeps.return_unanswered = true;
    keeps.initial = to_bytes(as_bytes("header and hello"));
    keeps.initial_sent = stream->write(ByteView(keeps.initial).first(6));
    start(client_, std::move(stream), std::move(keeps));
    StreamPtr accepted = accept_stream();
    wait([&] { return accepted->readable().size() == 16; });
    EXPECT_EQ(as_text(accepted->readable()), "header and hello");
    EXPECT_EQ(client_.pump->counters().to_stream, 16u);
    switch (what) {
      case kHalfClosed:
        client_.outside->try_finish();
        accepted->consume(16);
        wait([&] { return accepted->finished(); });
        break;
      case kAnswered:
        accepted->write(as_bytes("x"));
        wait([&] { return client_.pump->counters().to_socket == 1; });
        break;
      case kSaidMore:
        send(*client_.outside, "y");
        wait([&] { return client_.pump->counters().to_stream == 17; });
        break;
      case kStopped:
        accepted->stop(kStreamOk);
        net::testing::drain(loop_);
        break;
      default:
        break;
    }
    agent_connection_->close(0, "gone");
    wait([&] { return client_.result.has_value(); });
    EXPECT_EQ(client_.result->end, PumpEnd::kConnectionLost);
    const bool returned = what == kNothingSaid || what == kHalfClosed;
    ASSERT_EQ(client_.result->unanswered_socket != nullptr, returned);
    EXPECT_EQ(as_text(client_.result->initial), returned ? "header and hello" : "");
    if (!returned) continue;
    net::ByteStream& socket = *client_.result->unanswered_socket;
    socket.when_readable([] {});
    socket.cancel();
    if (what == kHalfClosed) {
      uint8_t byte;
      EXPECT_EQ(socket.try_read(std::span(&byte, 1)).status, net::IoStatus::kEof) << "it can be read again";
    }
    EXPECT_EQ(socket.try_write(as_bytes("from another")).status, net::IoStatus::kOk);
    socket.try_finish();
    Received& at_client = read(*client_.outside);
    wait([&] { return at_client.ended(); });
    EXPECT_EQ(at_client.text(), "from another");
  }
}

TEST_F(PumpTest, AnEarlyAnswerDoesNotLoseTheRestOfInitial) {
  StreamPtr stream = edge_connection_->try_open_bidi();
  Pump::Config keeps = config(kStreamClientGone);
  keeps.return_unanswered = true;
  keeps.initial = pattern(3'000'000);
  const Bytes sent = keeps.initial;
  start(client_, std::move(stream), std::move(keeps));
  StreamPtr accepted = accept_stream();
  accepted->write(as_bytes("x"));
  wait([&] { return client_.pump->counters().to_socket == 1; });
  EXPECT_LT(client_.pump->counters().to_stream, sent.size());
  start(origin_, std::move(accepted), config(kStreamOriginReset));
  Received& at_origin = read(*origin_.outside);
  wait([&] { return at_origin.bytes.size() == sent.size(); });
  EXPECT_TRUE(at_origin.bytes == sent);
}

TEST_F(PumpTest, ARefusalInTwoPartsGivesBackAllThatAnotherMayGet) {
  enum Case { kRepeatable, kNotRepeatable, kSaidMore, kCases };
  for (int what = kRepeatable; what < kCases; ++what) {
    SCOPED_TRACE(what);
    client_ = {};
    Pump::Config keeps = config(kStreamClientGone);
    keeps.return_refused_socket = keeps.return_unanswered = true;
    keeps.may_repeat = [](ByteView first) { return as_text(first).starts_with("GET"); };
    keeps.initial = to_bytes(as_bytes("header "));
    start_client(std::move(keeps));
    StreamPtr stream = accept_stream();
    const auto say = [&](std::string_view text) {
      const uint64_t then = client_.pump->counters().to_stream + text.size();
      send(*client_.outside, text);
      wait([&] { return client_.pump->counters().to_stream == then; });
    };
    say(what == kNotRepeatable ? "PUT" : "GET");
    if (what == kSaidMore) say(" more");
    stream->stop(kStreamOriginUnreachable);
    net::testing::drain(loop_);
    send(*client_.outside, " and what the next one reads");
    net::testing::drain(loop_);
    stream->reset(kStreamOriginUnreachable);
    wait([&] { return client_.result.has_value(); });
    EXPECT_EQ(client_.result->end, PumpEnd::kStreamReset);
    ASSERT_TRUE(client_.result->refused_socket);
    EXPECT_EQ(as_text(client_.result->initial), what == kRepeatable ? "header GET" : "");
    if (what != kRepeatable) continue;
    Bytes rest(100);
    rest.resize(run_task(loop_, net::read_some(*client_.result->refused_socket, rest, soon())).value());
    EXPECT_EQ(as_text(rest), " and what the next one reads");
  }
}

TEST_F(PumpTest, AnAnswerWithoutBytesOfItsOwnIsRefusedAtOnce) {
  Pump::Config with_return = config(kStreamClientGone);
  with_return.return_refused_socket = true;
  start_client(std::move(with_return));
  Pump::Config keeps = config(kStreamOriginReset);
  keeps.keep_answer = true;
  start(origin_, accept_stream(), std::move(keeps));
  const TimePoint started = monotonic_now();
  origin_.outside->reset();
  wait([&] { return client_.result && origin_.result; });
  EXPECT_LT(monotonic_now() - started, Pump::kAbortDelay);
  EXPECT_EQ(client_.result->code, kStreamOriginReset);
  EXPECT_TRUE(client_.result->refused_socket);
}

TEST_F(PumpTest, AnOriginThatBreaksAfterTheRequestIsNeverACleanEnd) {
  for (bool client_finished : {false, true}) {
    client_ = {};
    origin_ = {};
    start_both_keeping_answers();
    Received& at_client = read(*client_.outside);
    Received& at_origin = read(*origin_.outside);
    send(*client_.outside, "question", client_finished);
    wait([&] { return at_origin.bytes.size() == 9 && at_origin.clean == client_finished; });
    EXPECT_TRUE(run_task(loop_, net::write_all(*origin_.outside, as_bytes("half an ans"), soon())));
    origin_.outside->reset();
    wait([&] { return at_client.ended() && client_.result && origin_.result; });
    EXPECT_EQ(at_client.text(), "half an ans");
    EXPECT_TRUE(at_client.broken);
    EXPECT_EQ(origin_.result->end, PumpEnd::kSocketReset);
    EXPECT_EQ(client_.result->code, kStreamOriginReset);
    wait([&] { return tasks_.size() == 0; });
  }
}

TEST_F(PumpTest, AStoppedClientThatStaysIsNotWaitedForLong) {
  start_client();
  Received& at_client = read(*client_.outside);
  StreamPtr stream = accept_stream();
  stream->stop(kStreamOk);
  stream->write(as_bytes("answer"));
  stream->finish();
  wait([&] { return at_client.clean; });
  EXPECT_FALSE(client_.result) << "its bytes are read on";
  tasks_.spawn(write(*client_.outside, pattern(1'000'000), true));
  wait([&] { return client_.result.has_value(); });
  EXPECT_EQ(client_.result->end, PumpEnd::kFinished);
}

TEST_F(PumpTest, AClientThatFinishedAndThenResetsStopsTheDownload) {
  start_both();
  Received& at_client = read(*client_.outside);
  send(*client_.outside, "question", true);
  tasks_.spawn(write(*origin_.outside, pattern(50'000'000), true));
  wait([&] { return at_client.bytes.size() > 1'000'000; });
  client_.outside->reset();
  wait([&] { return client_.result && origin_.result; });
  EXPECT_EQ(client_.result->end, PumpEnd::kSocketReset);
}

TEST_F(PumpTest, ATunnelThatIsLostResetsTheSocket) {
  start_client();
  Received& at_client = read(*client_.outside);
  StreamPtr stream = accept_stream();
  stream->write(as_bytes("some"));
  wait([&] { return at_client.bytes.size() == 4; });
  edge_connection_->close(kCloseRevoked, "revoked");
  wait([&] { return at_client.ended() && client_.result; });
  EXPECT_TRUE(at_client.broken);
  EXPECT_EQ(client_.result->end, PumpEnd::kConnectionLost);
}

TEST_F(PumpTest, AnAnswerThatIsWholeOutlivesItsTunnel) {
  start_client();
  send(*client_.outside, "bye", true);
  StreamPtr stream = accept_stream();
  wait([&] { return stream->readable().size() == 4; });
  stream->write(as_bytes("whole"));
  stream->finish();
  Received& at_client = read(*client_.outside);
  wait([&] { return at_client.ended(); });
  agent_connection_->close(0, "leaving");
  EXPECT_TRUE(at_client.clean);
  EXPECT_EQ(client_.result->end, PumpEnd::kFinished);
}

TEST_F(PumpTest, CutEndsBothSides) {
  start_client();
  Received& at_client = read(*client_.outside);
  StreamPtr stream = accept_stream();
  client_.pump->cut(kStreamUnknownService);
  ASSERT_TRUE(client_.result);
  EXPECT_EQ(client_.result->end, PumpEnd::kCut);
  client_.pump->cut(kStreamUnknownService);  // once is enough, on_done is not called again
  wait([&] { return at_client.ended() && stream->was_reset(); });
  EXPECT_TRUE(at_client.broken);
  EXPECT_EQ(stream->reset_code(), kStreamUnknownService);
}

TEST_F(PumpTest, AHalfOpenPairThatRestsIsALeak) {
  Pump::Config fast = config(kStreamClientGone);
  fast.limits.half_open = 30ms;
  start_client(std::move(fast));
  Received& at_client = read(*client_.outside);
  StreamPtr stream = accept_stream();
  stream->finish();
  wait([&] { return client_.result.has_value() && at_client.ended() && stream->was_reset(); });
  EXPECT_EQ(client_.result->end, PumpEnd::kIdle);
  EXPECT_EQ(stream->reset_code(), kStreamIdle);
}

TEST_F(PumpTest, AnOpenPairMayRestLongerButNotForEver) {
  Pump::Config fast = config(kStreamClientGone);
  fast.limits = {.idle = 300ms, .half_open = 30ms};
  start_client(std::move(fast));
  TimePoint started = monotonic_now();
  wait([&] { return client_.result.has_value(); });
  EXPECT_EQ(client_.result->end, PumpEnd::kIdle);
  EXPECT_GE(monotonic_now() - started, 300ms);
}

// The origin takes nothing, so the client's FIN stays behind bytes that nobody reads.
TEST_F(PumpTest, AnUploadThatIsStuckBehindAStalledOriginEndsSoonAfterItsClient) {
  for (bool abrupt : {false, true}) {
    Pump::Config fast = config(kStreamClientGone);
    fast.limits = {.idle = 1h, .half_open = 30ms};
    client_ = {};
    start_client(std::move(fast));
    StreamPtr stream = accept_stream();
    // Until the stream takes no more; the socket's buffers still have room, so that a FIN gets through.
    const Bytes chunk(32 * 1024, 'x');
    for (int stalls = 0; stalls < 5; ++stalls) {
      const uint64_t moved = client_.pump->counters().to_stream;
      if (stalls == 0) {
        ASSERT_EQ(client_.outside->try_write(chunk).status, net::IoStatus::kOk);
      }
      net::testing::drain(loop_);
      if (client_.pump->counters().to_stream > moved) stalls = -1;
    }
    ASSERT_FALSE(client_.result) << "a client that is there may wait";
    if (abrupt) {
      client_.outside->reset();
    } else {
      client_.outside->close();
    }
    wait([&] { return client_.result.has_value(); });
    EXPECT_EQ(client_.result->end, PumpEnd::kIdle);
    wait([&] { return stream->was_reset(); });
  }
}

TEST_F(PumpTest, TapsSeeEveryByteOfTheirDirection) {
  std::string up, down;
  Pump::Config tapped = config(kStreamOriginReset);
  tapped.tap_to_socket = [&](ByteView bytes) { up += as_text(bytes); };
  tapped.tap_to_stream = [&](ByteView bytes) { down += as_text(bytes); };
  start_client();
  start(origin_, accept_stream(), std::move(tapped));
  Received& at_client = read(*client_.outside);
  Received& at_origin = read(*origin_.outside);
  send(*client_.outside, "GET /", true);
  wait([&] { return at_origin.ended(); });
  send(*origin_.outside, "200 OK", true);
  wait([&] { return at_client.ended(); });
  EXPECT_EQ(up, "^GET /");
  EXPECT_EQ(down, "200 OK");
}

TEST_F(PumpTest, AStreamOfAClosedConnectionEndsAtOnce) {
  StreamPtr stream = edge_connection_->try_open_bidi();
  ASSERT_TRUE(stream);
  edge_connection_->close(0, "gone");
  wait([&] { return !stream->is_open(); });
  start(client_, stream, config(kStreamClientGone));
  ASSERT_TRUE(client_.result);
  EXPECT_EQ(client_.result->end, PumpEnd::kConnectionLost);
  Received& at_client = read(*client_.outside);
  wait([&] { return at_client.ended(); });
  EXPECT_TRUE(at_client.broken);
}

TEST_F(PumpTest, BytesThatWaitInTheSocketAndTheStreamAreTaken) {
  StreamPtr edge_stream = edge_connection_->try_open_bidi();
  edge_stream->write(as_bytes("early"));
  edge_stream->finish();
  StreamPtr stream = accept_stream();
  wait([&] { return stream->readable().size() == 5; });
  net::testing::drain(loop_);
  start(origin_, stream, config(kStreamOriginReset));
  Received& at_origin = read(*origin_.outside);
  wait([&] { return at_origin.ended(); });
  EXPECT_TRUE(at_origin.clean);
  EXPECT_EQ(at_origin.text(), "early");
}

TEST(PumpNames, EveryCodeHasAWord) {
  for (quic::AppCode code = kStreamOk; code <= kStreamOriginUntrusted; ++code)
    EXPECT_STRNE(stream_code_name(code), "unknown");
  EXPECT_STREQ(stream_code_name(99), "unknown");
  EXPECT_STREQ(to_string(PumpEnd::kConnectionLost), "tunnel_lost");
}

}  // namespace
}  // namespace culvert::tunnel
