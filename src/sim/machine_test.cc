#include "sim/machine.h"

#include <gtest/gtest.h>

#include <array>

#include "net/network_watch.h"
#include "net/packet_io.h"
#include "net/tcp.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;
using net::Task;
using StreamPtr = std::unique_ptr<net::ByteStream>;

const SocketAddr kHere = SocketAddr::v4({10, 0, 0, 1}, 0);
const SocketAddr kThere = SocketAddr::v4({10, 0, 0, 2}, 0);

template <class T>
Task<> keep(Task<T> task, std::optional<T>& out) {
  out = co_await std::move(task);
}

class MachineTest : public ::testing::Test {
 public:
  // A machine ends without open sockets: what was closed has to say so to its peer first.
  void TearDown() override {
    client_.reset();
    server_.reset();
    listener_.reset();
    simulation_.run_for(10min);
  }
  // What the task returns, within a simulated hour.
  template <class T>
  T run(Task<T> task) {
    std::optional<T> out;
    tasks_.spawn(keep(std::move(task), out));
    EXPECT_TRUE(simulation_.run_until([&] { return out.has_value(); }, 1h));
    return std::move(out).value();
  }
  // Connects from here to there.
  void connect() {
    listener_ = net::TcpListener::listen(far_loop_, kThere.with_port(443), {}).value();
    client_ = run(net::tcp_connect(loop_, listener_->local_addr(), loop_.now() + 10s)).value();
    server_ = run(listener_->accept()).value();
  }
  Result<> send(net::ByteStream& stream, ByteView bytes) {
    return run(net::write_all(stream, bytes, loop_.now() + 30min));
  }
  // Exactly so many bytes; fewer at the end of the stream.
  Bytes receive(net::ByteStream& stream, size_t count) {
    Bytes all(count);
    size_t size = 0;
    while (size < count) {
      auto got = run(net::read_some(stream, MutableBytes(all).subspan(size), loop_.now() + 30min));
      if (!got || *got == 0) break;
      size += *got;
    }
    all.resize(size);
    return all;
  }

  Simulation simulation_{7};
  Machine here_{simulation_, kHere};
  Machine there_{simulation_, kThere};
  net::EventLoop loop_{here_};
  net::EventLoop far_loop_{there_};
  std::unique_ptr<net::TcpListener> listener_;
  StreamPtr client_;
  StreamPtr server_;
  net::TaskGroup tasks_{loop_};
};

TEST_F(MachineTest, TcpCarriesBytesInOrderOverALossyWire) {
  simulation_.set_wire(here_, there_, {.delay = 10ms, .jitter = 20ms, .loss = 0.2});
  connect();
  EXPECT_EQ(server_->remote_addr(), client_->local_addr());
  Bytes sent(200'000);
  for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<uint8_t>(i * 7 >> 3);
  std::optional<Result<>> written;
  tasks_.spawn(keep(net::write_all(*client_, sent, loop_.now() + 30min), written));
  EXPECT_EQ(receive(*server_, sent.size()), sent);
  EXPECT_TRUE(simulation_.run_until([&] { return written.has_value(); }, 1s));
  EXPECT_TRUE(*written);
}

TEST_F(MachineTest, TcpEndsOneHalfAndTheOtherGoesOn) {
  connect();
  ASSERT_TRUE(send(*client_, as_bytes("question")));
  ASSERT_TRUE(run(net::finish(*client_, loop_.now() + 1s)));
  EXPECT_EQ(receive(*server_, 100).size(), 8u);
  EXPECT_TRUE(server_->peer_has_ended());
  ASSERT_TRUE(send(*server_, as_bytes("answer")));
  EXPECT_EQ(receive(*client_, 6).size(), 6u);
  server_.reset();
  client_.reset();
  simulation_.run_for(1s);
  EXPECT_EQ(here_.open_sockets(), 0u);
}

TEST_F(MachineTest, TcpStopsAWriterWhoseBytesAreNotRead) {
  connect();
  const Bytes block(1 << 20);
  const net::IoResult first = client_->try_write(block);
  EXPECT_EQ(first.status, net::IoStatus::kOk);
  EXPECT_LT(first.bytes, block.size());
  EXPECT_EQ(client_->try_write(block).status, net::IoStatus::kWantWrite);
  bool writable = false;
  client_->when_writable([&] { writable = true; });
  simulation_.run_for(1min);
  EXPECT_FALSE(writable);
  receive(*server_, 1000);
  EXPECT_TRUE(simulation_.run_until([&] { return writable; }, 1s));
}

TEST_F(MachineTest, TcpTellsAResetFromAnEnd) {
  connect();
  server_->reset();
  Bytes buffer(10);
  auto got = run(net::read_some(*client_, buffer, loop_.now() + 1s));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kReset);
  EXPECT_FALSE(send(*client_, as_bytes("x")));
}

TEST_F(MachineTest, TcpAnswersBytesForAClosedSocketWithAReset) {
  connect();
  server_->close();
  ASSERT_TRUE(send(*client_, as_bytes("too late")));
  simulation_.run_for(1s);
  EXPECT_FALSE(send(*client_, as_bytes("x")));
}

TEST_F(MachineTest, TcpRefusesWithoutAListenerAndIsSilentWithoutAMachine) {
  auto refused = run(net::tcp_connect(loop_, kThere.with_port(9), loop_.now() + 10s));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  auto silent = run(net::tcp_connect(loop_, SocketAddr::v4({10, 0, 0, 9}, 443), loop_.now() + 10s));
  ASSERT_FALSE(silent);
  EXPECT_EQ(silent.error().code, ErrorCode::kTimeout);
}

TEST_F(MachineTest, TcpOutlivesAShortCutAndDiesOfALongOne) {
  connect();
  simulation_.set_wire(here_, there_, {.is_cut = true});
  ASSERT_TRUE(send(*client_, as_bytes("x")));
  simulation_.run_for(20s);
  simulation_.reset_wires();
  EXPECT_EQ(receive(*server_, 1).size(), 1u);
  simulation_.set_wire(here_, there_, {.is_cut = true});
  ASSERT_TRUE(send(*client_, as_bytes("x")));
  simulation_.run_for(2min);
  EXPECT_FALSE(send(*client_, as_bytes("x")));
}

TEST_F(MachineTest, AStreamMovesToAnotherLoop) {
  connect();
  net::EventLoop other(there_);
  ASSERT_TRUE(send(*client_, as_bytes("before")));
  server_->leave_loop();
  simulation_.run_for(1s);
  server_->join_loop(other);
  EXPECT_EQ(&server_->loop(), &other);
  EXPECT_EQ(receive(*server_, 6).size(), 6u);
  server_.reset();
}

TEST_F(MachineTest, ConnectionsEndWithTheKilledProgramsAndItsSuccessorIsFound) {
  connect();
  there_.unplug();
  Bytes buffer(10);
  auto got = run(net::read_some(*client_, buffer, loop_.now() + 1s));
  EXPECT_FALSE(got) << "its kernel said so";
  Machine successor(simulation_, kThere);
  net::EventLoop loop(successor);
  {
    auto listener = net::TcpListener::listen(loop, kThere.with_port(443), {}).value();
    auto again = run(net::tcp_connect(loop_, listener->local_addr(), loop_.now() + 10s));
    EXPECT_TRUE(again);
  }
  simulation_.run_for(1s);
}

struct Arrivals {
  explicit Arrivals(net::PacketIo& packets) {
    packets.start(
        [this](const net::ReceivedDatagram& datagram) {
          texts.emplace_back(as_text(datagram.data));
          from = datagram.remote;
        },
        [this] { ++batches; });
  }
  std::vector<std::string> texts;
  SocketAddr from;
  int batches = 0;
};

TEST_F(MachineTest, UdpLosesDoublesAndSplitsBatches) {
  auto near = net::bind_udp(loop_, SocketAddr::v4({0, 0, 0, 0}, 0), {}).value();
  auto far = net::bind_udp(far_loop_, kThere.with_port(443), {}).value();
  Arrivals arrivals(*far);
  near->send({.data = as_bytes("aabbc"), .segment_size = 2, .remote = far->local_addr(), .local = {}});
  simulation_.run_for(1s);
  EXPECT_EQ(arrivals.texts, (std::vector<std::string>{"aa", "bb", "c"}));
  EXPECT_EQ(arrivals.from, kHere.with_port(near->local_addr().port()));
  EXPECT_EQ(arrivals.batches, 1);
  simulation_.set_wire(here_, there_, {.loss = 0.5, .duplicate = 0.5});
  arrivals.texts.clear();
  for (int i = 0; i < 200; ++i) {
    near->send({.data = as_bytes("x"), .segment_size = 1, .remote = far->local_addr(), .local = {}});
  }
  simulation_.run_for(1s);
  EXPECT_GT(arrivals.texts.size(), 100u);
  EXPECT_LT(arrivals.texts.size(), 200u);
}

TEST_F(MachineTest, UdpOfSeveralWorkersGoesByConnectionId) {
  auto near = net::bind_udp(loop_, kHere, {}).value();
  auto first = net::bind_udp(far_loop_, kThere.with_port(443), {.share = net::PortShare::kFirst}).value();
  auto second = net::bind_udp(far_loop_, kThere.with_port(443), {.share = net::PortShare::kSibling}).value();
  Arrivals at_first(*first), at_second(*second);
  const Bytes short_header{0x40, 0x81};                      // worker 1, of another generation
  const Bytes long_header{0xc0, 0, 0, 0, 1, 8, 0x02, 0x07};  // worker 0
  for (const Bytes& data : {short_header, long_header}) {
    near->send({.data = data, .segment_size = data.size(), .remote = first->local_addr(), .local = {}});
  }
  simulation_.run_for(1s);
  EXPECT_EQ(at_first.texts.size(), 1u);
  EXPECT_EQ(at_second.texts.size(), 1u);
  EXPECT_FALSE(net::bind_udp(far_loop_, kThere.with_port(443), {}));
}

TEST_F(MachineTest, AMoveIsToldAndReboundSocketsGoOn) {
  auto near = net::bind_udp(loop_, SocketAddr::v4({0, 0, 0, 0}, 0), {}).value();
  auto far = net::bind_udp(far_loop_, kThere.with_port(443), {}).value();
  Arrivals arrivals(*far), back(*near);
  int changes = 0;
  auto watch = net::NetworkWatch::start(loop_, [&] { ++changes; }).value();
  const SocketAddr moved = SocketAddr::v4({10, 0, 0, 7}, 0);
  here_.move_to(moved);
  simulation_.run_for(1s);
  EXPECT_EQ(changes, 1);
  EXPECT_EQ(net::source_address_for(loop_, kThere), moved);
  const uint16_t port = near->local_addr().port();
  ASSERT_TRUE(near->rebind());
  EXPECT_NE(near->local_addr().port(), port);
  near->send({.data = as_bytes("x"), .segment_size = 1, .remote = far->local_addr(), .local = {}});
  simulation_.run_for(1s);
  EXPECT_EQ(arrivals.from, moved.with_port(near->local_addr().port()));
  far->send({.data = as_bytes("y"), .segment_size = 1, .remote = arrivals.from, .local = {}});
  simulation_.run_for(1s);
  EXPECT_EQ(back.texts, std::vector<std::string>{"y"});
  watch.reset();
}

TEST(Simulation, ClocksOfMachinesDifferAndFollowItsTime) {
  Simulation simulation(1);
  Machine a(simulation, kHere), b(simulation, kThere);
  b.set_clock(90s);
  EXPECT_EQ(a.now(), b.now());
  EXPECT_EQ(b.unix_now() - a.unix_now(), 90s);
  const UnixTime before = a.unix_now();
  simulation.run_for(1h);
  EXPECT_EQ(a.unix_now() - before, 1h);
}

}  // namespace
}  // namespace culvert::sim
