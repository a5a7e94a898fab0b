#include "net/udp_socket.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "net/testing.h"

namespace culvert::net {
namespace {

using namespace testing;
using SendStatus = UdpSocket::SendStatus;

struct Got {
  std::string data;
  SocketAddr remote, local;
  uint8_t ecn;
};

class Peer {
 public:
  Peer(EventLoop& loop, const SocketAddr& address, UdpOptions options = {}) {
    auto bound = UdpSocket::bind(loop, address, options);
    if (!bound) throw std::runtime_error(bound.error().message);
    socket = std::move(*bound);
    socket->start(
        [this](const ReceivedDatagram& datagram) {
          got.push_back({std::string(as_text(datagram.data)), datagram.remote, datagram.local, datagram.ecn});
        },
        [this] { ++batches; });
  }

  SocketAddr local_addr() const { return socket->local_addr(); }

  std::unique_ptr<UdpSocket> socket;
  std::vector<Got> got;
  int batches = 0;
};

TEST(UdpSocket, DatagramArrivesWithItsAddressesAndEcn) {
  EventLoop loop;
  Peer a(loop, addr("127.0.0.1:0")), b(loop, addr("0.0.0.0:0"));
  const SocketAddr to = b.local_addr().with_port(b.local_addr().port());
  ASSERT_NE(to.port(), 0);
  for (uint8_t ecn = 0; ecn < 4; ++ecn) {
    const std::string text = "ecn" + std::to_string(ecn);
    EXPECT_EQ(a.socket->send({.data = as_bytes(text),
                              .segment_size = 1200,
                              .remote = SocketAddr::v4({127, 0, 0, 1}, to.port()),
                              .local = {},
                              .ecn = ecn}),
              SendStatus::kSent);
  }
  run_until(loop, [&] { return b.got.size() == 4; });
  for (uint8_t ecn = 0; ecn < 4; ++ecn) {
    EXPECT_EQ(b.got[ecn].data, "ecn" + std::to_string(ecn));
    EXPECT_EQ(b.got[ecn].ecn, ecn);
    EXPECT_EQ(b.got[ecn].remote, a.local_addr());
    EXPECT_EQ(b.got[ecn].local, SocketAddr::v4({127, 0, 0, 1}, to.port()));
  }
  EXPECT_GE(b.batches, 1);
  EXPECT_LE(b.batches, 4);
}

TEST(UdpSocket, SendsFromTheAskedSourceAddress) {
  EventLoop loop;
  Peer a(loop, addr("0.0.0.0:0")), b(loop, addr("127.0.0.1:0"));
  EXPECT_EQ(a.socket->send({.data = as_bytes("x"),
                            .segment_size = 1,
                            .remote = b.local_addr(),
                            .local = addr("127.0.0.7:0"),
                            .ecn = 1}),
            SendStatus::kSent);
  run_until(loop, [&] { return b.got.size() == 1; });
  EXPECT_EQ(b.got[0].remote, SocketAddr::v4({127, 0, 0, 7}, a.local_addr().port()));
  EXPECT_EQ(b.got[0].ecn, 1);
}

TEST(UdpSocket, DualStackSocketSpeaksBothFamilies) {
  EventLoop loop;
  Peer dual(loop, addr("[::]:0")), four(loop, addr("127.0.0.1:0")), six(loop, addr("[::1]:0"));
  const uint16_t port = dual.local_addr().port();
  const std::string segments(3000, 'q');
  four.socket->send({.data = as_bytes("4"),
                     .segment_size = 1,
                     .remote = SocketAddr::v4({127, 0, 0, 5}, port),
                     .local = {},
                     .ecn = 2});
  six.socket->send({.data = as_bytes("6"),
                    .segment_size = 1,
                    .remote = addr("[::1]:0").with_port(port),
                    .local = {},
                    .ecn = 1});
  run_until(loop, [&] { return dual.got.size() == 2; });
  std::sort(dual.got.begin(), dual.got.end(), [](const Got& a, const Got& b) { return a.data < b.data; });
  EXPECT_EQ(dual.got[0].remote, four.local_addr());
  EXPECT_EQ(dual.got[0].local, SocketAddr::v4({127, 0, 0, 5}, port));
  EXPECT_EQ(dual.got[0].ecn, 2);
  EXPECT_EQ(dual.got[1].remote, six.local_addr());
  EXPECT_EQ(dual.got[1].local, addr("[::1]:0").with_port(port));
  EXPECT_EQ(dual.got[1].ecn, 1);
  // And back, from the address that was asked, in segments.
  for (const Got& got : dual.got) {
    EXPECT_EQ(dual.socket->send({.data = as_bytes(segments),
                                 .segment_size = 1200,
                                 .remote = got.remote,
                                 .local = got.local,
                                 .ecn = 2}),
              SendStatus::kSent);
  }
  run_until(loop, [&] { return four.got.size() == 3 && six.got.size() == 3; });
  for (const Peer* peer : {&four, &six}) {
    EXPECT_EQ(peer->got[0].data.size(), 1200u);
    EXPECT_EQ(peer->got[2].data.size(), 600u);
    EXPECT_EQ(peer->got[0].ecn, 2);
  }
  EXPECT_EQ(four.got[0].remote, SocketAddr::v4({127, 0, 0, 5}, port));
}

TEST(UdpSocket, AnEmptyDatagramIsOne) {
  EventLoop loop;
  Peer a(loop, addr("127.0.0.1:0")), b(loop, addr("127.0.0.1:0"));
  EXPECT_EQ(a.socket->send({.data = {}, .segment_size = 1, .remote = b.local_addr(), .local = {}}),
            SendStatus::kSent);
  run_until(loop, [&] { return b.got.size() == 1; });
  EXPECT_EQ(b.got[0].data, "");
}

TEST(UdpSocket, WithARemoteItHearsNobodyElse) {
  EventLoop loop;
  Peer remote(loop, addr("127.0.0.1:0")), other(loop, addr("127.0.0.1:0"));
  int refused = 0;
  std::vector<std::string> got;
  auto socket = UdpSocket::bind(loop, addr("127.0.0.1:0"),
                                {.remote = remote.local_addr(), .on_refused = [&] { ++refused; }})
                    .value();
  socket->start([&](const ReceivedDatagram& datagram) { got.emplace_back(as_text(datagram.data)); }, [] {});
  const auto say = [&](Peer& from, std::string_view text) {
    from.socket->send(
        {.data = as_bytes(text), .segment_size = 1500, .remote = socket->local_addr(), .local = {}});
  };
  say(other, "from another");
  say(remote, "from the remote");
  run_until(loop, [&] { return !got.empty(); });
  EXPECT_EQ(got, std::vector<std::string>{"from the remote"});
  EXPECT_EQ(refused, 0);
  // Nobody is there any more: the system answers for it.
  const SocketAddr gone = remote.local_addr();
  remote.socket->close();
  for (int i = 0; i < 2; ++i)
    socket->send({.data = as_bytes("x"), .segment_size = 1, .remote = gone, .local = {}});
  run_until(loop, [&] { return refused > 0; });
}

TEST(UdpSocket, FragmentsWhereThatIsAskedFor) {
  EventLoop loop;
  const std::string large(65507, 'l');
  auto fragmenting = UdpSocket::bind(loop, addr("127.0.0.1:0"), {.fragments = true}).value();
  Peer b(loop, addr("127.0.0.1:0"));
  EXPECT_EQ(fragmenting->send({.data = as_bytes(large),
                               .segment_size = large.size(),
                               .remote = b.local_addr(),
                               .local = addr("127.0.0.1:0")}),
            SendStatus::kSent);
  run_until(loop, [&] { return b.got.size() == 1; });
  EXPECT_EQ(b.got[0].data, large);
}

TEST(UdpSocket, BatchesOfEveryShapeArriveSegmentBySegment) {
  EventLoop loop;
  Peer a(loop, addr("127.0.0.1:0")), b(loop, addr("127.0.0.1:0"));
  struct Shape {
    size_t total, segment;
  };
  // One datagram, an exact multiple, a short last one, more than 64 segments, more than 65000 bytes, tiny
  // segments.
  for (const Shape shape : {Shape{1200, 1200},
                            {12000, 1200},
                            {12001, 1200},
                            {100 * 500, 500},
                            {150000, 1452},
                            {70, 1},
                            {60000, 60000},
                            {64000, 16000}}) {
    b.got.clear();
    std::string data(shape.total, '\0');
    for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 31 + i / 255);
    ASSERT_EQ(a.socket->send({.data = as_bytes(data),
                              .segment_size = shape.segment,
                              .remote = b.local_addr(),
                              .local = {},
                              .ecn = 0}),
              SendStatus::kSent)
        << shape.total << "/" << shape.segment;
    const size_t count = (shape.total + shape.segment - 1) / shape.segment;
    run_until(loop, [&] { return b.got.size() >= count; });
    ASSERT_EQ(b.got.size(), count);
    std::string joined;
    for (size_t i = 0; i < count; ++i) {
      EXPECT_LE(b.got[i].data.size(), shape.segment);
      if (i + 1 < count) EXPECT_EQ(b.got[i].data.size(), shape.segment);
      joined += b.got[i].data;
    }
    EXPECT_TRUE(joined == data) << shape.total << "/" << shape.segment;
  }
}

// The descriptor of a socket of this process.
int descriptor_of(const SocketAddr& address) {
  for (int fd = 3; fd < 1024; ++fd) {
    sockaddr_storage name{};
    socklen_t size = sizeof name;
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) != 0) continue;
    if (name.ss_family == AF_INET && SocketAddr::from_sockaddr(reinterpret_cast<sockaddr*>(&name)) == address)
      return fd;
  }
  return -1;
}

// Linux refuses to segment without checksums, with EINVAL or EIO, as it does for some devices.
TEST(UdpSocket, SegmentationThatWasRefusedIsTriedAgain) {
  EventLoop loop;
  Peer a(loop, addr("127.0.0.1:0"), {.segmentation_pause = std::chrono::milliseconds(300)});
  Peer b(loop, addr("127.0.0.1:0"));
  const Bytes data(10'000, 1);
  const DatagramBatch batch{.data = data, .segment_size = 1000, .remote = b.local_addr(), .local = {}};
  const int fd = descriptor_of(a.local_addr());
  int no_checksums = 1;
  ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, &no_checksums, sizeof no_checksums), 0);
  EXPECT_EQ(a.socket->send(batch), SendStatus::kSent);
  EXPECT_FALSE(a.socket->is_segmenting());
  no_checksums = 0;
  ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, &no_checksums, sizeof no_checksums), 0);
  EXPECT_EQ(a.socket->send(batch), SendStatus::kSent);
  EXPECT_FALSE(a.socket->is_segmenting());
  run_until(loop, [&] { return b.got.size() == 20; });
  run_until(loop, [&] { return a.socket->is_segmenting(); });
  EXPECT_EQ(a.socket->send(batch), SendStatus::kSent);
  EXPECT_TRUE(a.socket->is_segmenting());
  run_until(loop, [&] { return b.got.size() == 30; });
}

TEST(UdpSocket, EmptyDatagramIsDeliveredEmpty) {
  EventLoop loop;
  Peer b(loop, addr("127.0.0.1:0"));
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_storage to;
  const socklen_t length = b.local_addr().to_sockaddr(to);
  EXPECT_EQ(::sendto(fd, "", 0, 0, reinterpret_cast<sockaddr*>(&to), length), 0);
  run_until(loop, [&] { return b.got.size() == 1; });
  EXPECT_EQ(b.got[0].data, "");
  ::close(fd);
}

TEST(UdpSocket, TooLargeIsSaidAndNothingIsFragmented) {
  EventLoop loop;
  Peer a(loop, addr("127.0.0.1:0")), b(loop, addr("127.0.0.1:0"));
  const std::string data(65530, 'x');
  EXPECT_EQ(a.socket->send({.data = as_bytes(data),
                            .segment_size = data.size(),
                            .remote = b.local_addr(),
                            .local = {},
                            .ecn = 0}),
            SendStatus::kTooLarge);
  EXPECT_EQ(a.socket->send(
                {.data = as_bytes("ok"), .segment_size = 2, .remote = b.local_addr(), .local = {}, .ecn = 0}),
            SendStatus::kSent);
  run_until(loop, [&] { return b.got.size() == 1; });
}

TEST(UdpSocket, UnreachableIsSaid) {
  EventLoop loop;
  Peer a(loop, addr("127.0.0.1:0"));
  // An IPv4 socket cannot reach IPv6; a source address of another machine cannot be used.
  EXPECT_EQ(a.socket->send(
                {.data = as_bytes("x"), .segment_size = 1, .remote = addr("[::1]:9"), .local = {}, .ecn = 0}),
            SendStatus::kUnreachable);
  const std::string data(2400, 'x');
  EXPECT_EQ(a.socket->send({.data = as_bytes(data),
                            .segment_size = 1200,
                            .remote = addr("127.0.0.1:9"),
                            .local = addr("192.0.2.1:0"),
                            .ecn = 0}),
            SendStatus::kUnreachable);
  a.socket->close();
  EXPECT_EQ(
      a.socket->send(
          {.data = as_bytes("x"), .segment_size = 1, .remote = addr("127.0.0.1:9"), .local = {}, .ecn = 0}),
      SendStatus::kUnreachable);
}

TEST(UdpSocket, RefusalsByThePeerDoNotStopReceiving) {
  EventLoop loop;
  Peer a(loop, addr("127.0.0.1:0"));
  SocketAddr gone;
  {
    Peer b(loop, addr("127.0.0.1:0"));
    gone = b.local_addr();
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(
        a.socket->send({.data = as_bytes("x"), .segment_size = 1, .remote = gone, .local = {}, .ecn = 0}),
        SendStatus::kSent);
    drain(loop);
  }
  Peer c(loop, addr("127.0.0.1:0"));
  c.socket->send(
      {.data = as_bytes("hello"), .segment_size = 5, .remote = a.local_addr(), .local = {}, .ecn = 0});
  run_until(loop, [&] { return a.got.size() == 1; });
}

TEST(UdpSocket, AFullSocketBlocksAndBecomesWritable) {
  EventLoop loop;
  Peer a(loop, addr("127.0.0.1:0")), b(loop, addr("127.0.0.1:0"));
  bool writable = false;
  a.socket->when_writable([] { FAIL() << "replaced"; });
  a.socket->when_writable([&] { writable = true; });
  EXPECT_FALSE(writable);
  run_until(loop, [&] { return writable; });
  a.socket->when_writable([] { FAIL() << "dropped by close"; });
  a.socket->close();
  drain(loop);
}

TEST(UdpSocket, ATurnIsBoundedSoThatTheUserCanAnswer) {
  EventLoop loop;
  Peer a(loop, addr("127.0.0.1:0")), b(loop, addr("127.0.0.1:0"));
  // Alternating sizes keep GRO from merging: 200 messages make at least three turns.
  for (int i = 0; i < 200; ++i) {
    const std::string data(i % 2 ? 10 : 20, 'x');
    ASSERT_EQ(a.socket->send({.data = as_bytes(data),
                              .segment_size = data.size(),
                              .remote = b.local_addr(),
                              .local = {},
                              .ecn = 0}),
              SendStatus::kSent);
  }
  run_until(loop, [&] { return b.got.size() == 200; });
  EXPECT_GE(b.batches, 3);
  EXPECT_LE(b.batches, 8);
}

TEST(UdpSocket, MayBeClosedOrDestroyedFromItsCallbacks) {
  EventLoop loop;
  Peer a(loop, addr("127.0.0.1:0"));
  for (const bool destroy : {false, true}) {
    auto socket = *UdpSocket::bind(loop, addr("127.0.0.1:0"));
    const SocketAddr to = socket->local_addr();
    int calls = 0;
    socket->start(
        [&](const ReceivedDatagram& datagram) {
          ++calls;
          if (destroy) {
            socket.reset();
          } else {
            socket->close();
          }
          EXPECT_EQ(datagram.data.size(), 100u);  // still alive
          EXPECT_EQ(datagram.data[99], 'x');
        },
        [] { FAIL() << "batch_end after close"; });
    const std::string data(1000, 'x');
    a.socket->send({.data = as_bytes(data), .segment_size = 100, .remote = to, .local = {}, .ecn = 0});
    run_until(loop, [&] { return calls > 0; });
    drain(loop);
    EXPECT_EQ(calls, 1);
  }
}

TEST(UdpSocket, CloseReleasesWhatTheCallbacksHold) {
  EventLoop loop;
  auto held = std::make_shared<int>(0);
  auto socket = *UdpSocket::bind(loop, addr("127.0.0.1:0"));
  socket->start([held](const ReceivedDatagram&) {}, [held] {});
  EXPECT_EQ(held.use_count(), 3);
  socket->close();
  drain(loop);
  EXPECT_EQ(held.use_count(), 1);
}

TEST(UdpSocket, PortInUseIsNamed) {
  EventLoop loop;
  Peer a(loop, addr("127.0.0.1:0"));
  auto second = UdpSocket::bind(loop, a.local_addr());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
  EXPECT_THAT(second.error().message, ::testing::HasSubstr(a.local_addr().to_string() + "/udp"));
  auto foreign = UdpSocket::bind(loop, addr("192.0.2.1:0"));
  ASSERT_FALSE(foreign);
  EXPECT_EQ(foreign.error().code, ErrorCode::kIo);
}

TEST(UdpSocket, ConnectionIdSteersToASocket) {
  constexpr unsigned kCount = 3;
  for (const char* where : {"127.0.0.1:0", "[::1]:0"}) {
    EventLoop loop;
    std::vector<std::unique_ptr<Peer>> group;
    group.push_back(std::make_unique<Peer>(loop, addr(where), UdpOptions{.share = PortShare::kFirst}));
    const SocketAddr to = group[0]->local_addr();
    while (group.size() < kCount) {
      const unsigned steer = group.size() + 1 == kCount ? kCount : 0;
      group.push_back(std::make_unique<Peer>(
          loop, to, UdpOptions{.share = PortShare::kSibling, .steer_by_connection_id = steer}));
    }
    // Another group, as a second node has it, does not join this one.
    auto other = UdpSocket::bind(loop, to, {.share = PortShare::kFirst});
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().code, ErrorCode::kConflict);
    EXPECT_THAT(other.error().message, ::testing::HasSubstr(to.to_string() + "/udp"));
    Peer sender(loop, addr(where));
    const auto send = [&](const std::string& data) {
      ASSERT_EQ(
          sender.socket->send(
              {.data = as_bytes(data), .segment_size = data.size(), .remote = to, .local = {}, .ecn = 0}),
          SendStatus::kSent);
    };
    for (int id = 0; id < 256; ++id) {
      const char first = static_cast<char>(id);
      send(std::string{0x40, first, 'x', 'x'});                       // short header
      send(std::string("\xc0\0\0\0\1\x08", 6) + first + "restofit");  // long header
    }
    const auto total = [&] {
      size_t sum = 0;
      for (auto& peer : group) sum += peer->got.size();
      return sum;
    };
    run_until(loop, [&] { return total() == 512; });
    for (size_t index = 0; index < kCount; ++index) {
      EXPECT_FALSE(group[index]->got.empty());
      for (const Got& got : group[index]->got) {
        const auto id = static_cast<uint8_t>(got.data[0] & 0x80 ? got.data[6] : got.data[1]);
        EXPECT_EQ((id & 0x7f) % kCount, index);  // the highest bit is not the worker's
      }
      group[index]->got.clear();
    }
    // Too short to hold an id: the first socket, and nothing breaks.
    for (const std::string& data :
         {std::string("\x40"), std::string("\xc0"), std::string("\xc0\0\0\0\1\x08", 6)})
      send(data);
    run_until(loop, [&] { return total() == 3; });
    EXPECT_EQ(group[0]->got.size(), 3u);
  }
}

}  // namespace
}  // namespace culvert::net
