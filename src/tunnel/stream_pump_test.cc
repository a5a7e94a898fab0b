// Pumps between real sockets, all on one loop over loopback.
#include "tunnel/stream_pump.h"

#include <gtest/gtest.h>

#include <csignal>

#include "net/testing.h"
#include "tunnel/protocol.h"

namespace culvert::tunnel {
namespace {

using namespace std::chrono_literals;
using net::testing::read_all;
using net::testing::Received;
using net::testing::run_task;
using net::testing::run_until;
using net::testing::soon;
using net::testing::TcpPair;

Bytes pattern(size_t size) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 7 + i / 251);
  return bytes;
}

// Every test runs with pipes and without.
class StreamPumpTest : public testing::TestWithParam<bool> {
 public:
  StreamPumpTest() : client_(loop_), origin_(loop_), tasks_(loop_) { std::signal(SIGPIPE, SIG_IGN); }
  ~StreamPumpTest() override {
    if (pump_) pump_->cut(0);
    client_.client->close();
    origin_.server->close();
    run_until(loop_, [this] { return tasks_.size() == 0; });
  }

  StreamPump::Config config() {
    StreamPump::Config config;
    config.client = std::move(client_.server);
    config.origin = std::move(origin_.client);
    config.scratch = scratch_;
    if (GetParam()) config.pipes = &pipes_;
    config.on_done = [this](PumpResult result) { result_ = std::move(result); };
    config.moved = {&moved_};
    return config;
  }
  void start(StreamPump::Config config) {
    pump_ = StreamPump::create(std::move(config));
    pump_->start();
  }
  void send(net::ByteStream& socket, ByteView bytes) {
    auto sent = run_task(loop_, net::write_all(socket, bytes, soon()));
    EXPECT_TRUE(sent);
  }
  // Writes and ends while others read.
  void send_all(net::ByteStream& socket, Bytes bytes) {
    tasks_.spawn([](net::ByteStream& to, Bytes data) -> net::Task<> {
      auto sent = co_await net::write_all(to, data, soon());
      EXPECT_TRUE(sent);
      auto ended = co_await net::finish(to, soon());
      EXPECT_TRUE(ended);
    }(socket, std::move(bytes)));
  }
  Received& read(net::ByteStream& socket) {
    received_.push_back(std::make_unique<Received>());
    tasks_.spawn(read_all(socket, *received_.back()));
    return *received_.back();
  }
  void wait(auto condition) { run_until(loop_, condition); }
  net::ByteStream& client() { return *client_.client; }
  net::ByteStream& origin() { return *origin_.server; }

  net::EventLoop loop_;
  TcpPair client_, origin_;
  std::vector<uint8_t> scratch_ = std::vector<uint8_t>(64 * 1024);
  net::PipePool pipes_;
  MovedBytes moved_;
  std::vector<std::unique_ptr<Received>> received_;
  std::shared_ptr<StreamPump> pump_;
  std::optional<PumpResult> result_;
  net::TaskGroup tasks_;
};

INSTANTIATE_TEST_SUITE_P(Ways, StreamPumpTest, testing::Bool(),
                         [](const auto& which) { return which.param ? "Spliced" : "Copied"; });

TEST_P(StreamPumpTest, BothWaysKeepTheirBytesAndTheirEnds) {
  auto made = config();
  made.initial = to_bytes(as_bytes("hello "));
  start(std::move(made));
  const Bytes up = pattern(5'000'000), down = pattern(7'000'001);
  Received& at_origin = read(origin());
  Received& at_client = read(client());
  send_all(client(), up);
  send_all(origin(), down);
  wait([&] { return result_.has_value(); });
  wait([&] { return at_origin.ended() && at_client.ended(); });
  EXPECT_TRUE(at_origin.clean && at_client.clean);
  Bytes expected = to_bytes(as_bytes("hello "));
  expected.insert(expected.end(), up.begin(), up.end());
  EXPECT_EQ(at_origin.bytes, expected);
  EXPECT_EQ(at_client.bytes, down);
  EXPECT_EQ(result_->end, PumpEnd::kFinished);
  EXPECT_EQ(result_->bytes.to_stream, expected.size());
  EXPECT_EQ(result_->bytes.to_socket, down.size());
  EXPECT_EQ(moved_.get().to_socket, down.size());
}

TEST_P(StreamPumpTest, AHalfThatHasEndedLeavesTheOtherOpen) {
  start(config());
  Received& at_origin = read(origin());
  Received& at_client = read(client());
  send_all(client(), to_bytes(as_bytes("request")));
  wait([&] { return at_origin.ended(); });
  EXPECT_TRUE(at_origin.clean);
  EXPECT_FALSE(result_);
  send_all(origin(), to_bytes(as_bytes("answer")));
  wait([&] { return at_client.ended() && result_; });
  EXPECT_TRUE(at_client.clean);
  EXPECT_EQ(at_client.text(), "answer");
  EXPECT_EQ(result_->end, PumpEnd::kFinished);
}

TEST_P(StreamPumpTest, AClientsResetIsOneAtTheOrigin) {
  start(config());
  Received& at_origin = read(origin());
  send(client(), as_bytes("begun"));
  wait([&] { return at_origin.bytes.size() == 5; });
  client().reset();
  wait([&] { return result_ && at_origin.ended(); });
  EXPECT_TRUE(at_origin.broken);
  EXPECT_EQ(result_->end, PumpEnd::kSocketReset);
  EXPECT_EQ(result_->code, kStreamClientGone);
}

TEST_P(StreamPumpTest, AnOriginThatBreaksBeforeItAnsweredLeavesTheClientToBeTold) {
  start(config());
  origin().reset();
  wait([&] { return result_.has_value(); });
  EXPECT_EQ(result_->end, PumpEnd::kStreamReset);
  EXPECT_EQ(result_->code, kStreamOriginReset);
  ASSERT_TRUE(result_->refused_socket);
  EXPECT_TRUE(result_->refused_socket->is_open());
}

TEST_P(StreamPumpTest, AnOriginThatBreaksInItsAnswerResetsTheClientAfterIt) {
  start(config());
  Received& at_client = read(client());
  send(origin(), as_bytes("part"));
  wait([&] { return at_client.bytes.size() == 4; });
  origin().reset();
  wait([&] { return at_client.ended() && result_; });
  EXPECT_TRUE(at_client.broken);
  EXPECT_EQ(result_->code, kStreamOriginReset);
}

// What a server does that refuses an upload by an early answer.
TEST_P(StreamPumpTest, AnEarlyAnswerReachesAClientThatUploads) {
  start(config());
  tasks_.spawn([](net::ByteStream& to, Bytes data) -> net::Task<> {
    auto sent = co_await net::write_all(to, data, soon());
    (void)sent;  // the pump may have ended
  }(client(), pattern(20'000'000)));
  wait([&] { return pump_->counters().to_stream > 100'000; });
  send(origin(), as_bytes("413"));
  Received& at_client = read(client());
  wait([&] { return at_client.text() == "413"; });
  origin().close();  // with unread bytes: RST
  wait([&] { return result_.has_value() && tasks_.size() == 0; });
  EXPECT_EQ(at_client.text(), "413");
}

TEST_P(StreamPumpTest, ASlowReaderHoldsTheSenderBack) {
  start(config());
  const Bytes much = pattern(40'000'000);
  size_t sent = 0;
  const TimePoint end = loop_.now() + 500ms;
  // Until neither kernel nor pump takes more.
  while (loop_.now() < end) {
    const auto put = origin().try_write(ByteView(much).subspan(sent));
    if (put.status == net::IoStatus::kOk) sent += put.bytes;
    loop_.run_once(loop_.now() + 5ms);
    if (sent == much.size()) break;
  }
  EXPECT_LT(sent, much.size()) << "somewhere all of it is buffered";
  EXPECT_TRUE(pump_->holds_bytes());
  Received& at_client = read(client());
  send_all(origin(), Bytes(much.begin() + static_cast<ptrdiff_t>(sent), much.end()));
  wait([&] { return at_client.ended(); });
  EXPECT_EQ(at_client.bytes, much);
  EXPECT_FALSE(pump_->holds_bytes()) << "nothing is held while nothing moves";
}

TEST_P(StreamPumpTest, BytesAreChargedToTheirBudget) {
  ByteBudget budget(4'000'000);
  auto made = config();
  made.budgets = {&budget};
  start(std::move(made));
  Received& at_client = read(client());
  const TimePoint began = loop_.now();
  send_all(origin(), pattern(2'000'000));
  wait([&] { return at_client.ended(); });
  EXPECT_GT(loop_.now() - began, 350ms);
  EXPECT_EQ(at_client.bytes.size(), 2'000'000u);
}

TEST_P(StreamPumpTest, OneThatMovesNothingEnds) {
  auto made = config();
  made.limits = {.idle = 100ms, .half_open = 50ms};
  start(std::move(made));
  Received& at_client = read(client());
  wait([&] { return result_ && at_client.ended(); });
  EXPECT_EQ(result_->end, PumpEnd::kIdle);
  EXPECT_TRUE(at_client.broken);
}

TEST_P(StreamPumpTest, CutResetsBoth) {
  start(config());
  Received& at_client = read(client());
  Received& at_origin = read(origin());
  pump_->cut(kStreamUnknownService);
  wait([&] { return at_client.ended() && at_origin.ended(); });
  EXPECT_TRUE(at_client.broken && at_origin.broken);
  EXPECT_EQ(result_->end, PumpEnd::kCut);
}

TEST(PipePool, IsBoundedAndKeepsEmptyPipes) {
  net::PipePool pool;
  std::vector<std::unique_ptr<net::Pipe>> taken;
  while (auto pipe = pool.take()) taken.push_back(std::move(pipe));
  EXPECT_LE(taken.size(), net::PipePool::kMostOpen);
  const net::Pipe* last = taken.back().get();
  pool.give_back(std::move(taken.back()));
  taken.pop_back();
  auto again = pool.take();
  EXPECT_EQ(again.get(), last);
  EXPECT_FALSE(pool.take());
}

}  // namespace
}  // namespace culvert::tunnel
