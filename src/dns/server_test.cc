#include "dns/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "dns/stream_framing.h"
#include "dns/testing.h"
#include "net/packet_io.h"
#include "net/testing.h"

namespace culvert::dns {
namespace {

using net::testing::addr;
using net::testing::run_task;
using net::testing::run_until;
using net::testing::soon;
using ::testing::HasSubstr;
using testing::name;
using testing::query;
using namespace std::chrono_literals;

constexpr const char* kApex = "_acme-challenge.example.net";
const std::string kValue(43, 'v');

// A socket that keeps what it received.
struct UdpClient {
  UdpClient(net::EventLoop& loop, std::string_view where = "127.0.0.1:0")
      : socket(net::bind_udp(loop, addr(where), {}).value()) {
    socket->start(
        [this](const net::ReceivedDatagram& datagram) {
          received.push_back(to_bytes(datagram.data));
          from = datagram.remote;
        },
        [] {});
  }
  void send(ByteView data, const SocketAddr& to) {
    EXPECT_EQ(socket->send({.data = data, .segment_size = data.size(), .remote = to, .local = {}}),
              net::PacketIo::SendStatus::kSent);
  }

  std::vector<Bytes> received;
  SocketAddr from;
  std::unique_ptr<net::PacketIo> socket;
};

struct DnsServerTest : ::testing::Test {
  ~DnsServerTest() override {
    if (server) stop();
  }
  void start(ServerOptions options = {}, std::string_view where = "127.0.0.1:0") {
    ASSERT_TRUE(authority.add(Zone::make({.apex = name(kApex),
                                          .name_servers = {name("example.net")},
                                          .contact = name("hostmaster.example.net")})
                                  .value()));
    ASSERT_TRUE(authority.find(name(kApex))->put(name(kApex), kValue));
    server = Server::listen(loop, addr(where), authority, options).value();
  }
  void stop() {
    net::TaskGroup tasks(loop);
    tasks.spawn(server->stop());
    run_until(loop, [&] { return tasks.size() == 0; });
    server.reset();
  }
  std::unique_ptr<net::ByteStream> connect(const SocketAddr& to) {
    return run_task(loop, net::tcp_connect(loop, to, soon())).value();
  }
  std::unique_ptr<net::ByteStream> connect() { return connect(server->local_addr()); }
  void send(net::ByteStream& stream, const Bytes& bytes) {
    ASSERT_TRUE(run_task(loop, net::write_all(stream, bytes, soon())));
  }
  // The next message; nullopt: the connection ended.
  std::optional<Message> receive(net::ByteStream& stream, FrameReader& reader) {
    Bytes chunk(4096);
    while (true) {
      if (auto message = reader.next().value()) return decode(*message).value();
      const auto got = run_task(loop, net::read_some(stream, chunk, soon()));
      if (!got || *got == 0) return std::nullopt;
      reader.feed(ByteView(chunk).first(*got));
    }
  }
  bool ends(net::ByteStream& stream) {
    FrameReader reader(kMaxMessageSize);
    return !receive(stream, reader);
  }
  static Bytes framed(const Message& message) {
    Bytes out;
    append_framed(encode(message), out);
    return out;
  }

  net::EventLoop loop;
  Authority authority;
  std::unique_ptr<Server> server;
};

TEST_F(DnsServerTest, AnswersOverUdp) {
  start();
  UdpClient client(loop);
  client.send(encode(query(kApex, Type::kTxt, 7)), server->local_addr());
  run_until(loop, [&] { return !client.received.empty(); });
  const Message response = decode(client.received[0]).value();
  EXPECT_EQ(response.header.id, 7);
  EXPECT_EQ(std::get<Txt>(response.answers.at(0).data).strings, std::vector<std::string>{kValue});
  EXPECT_EQ(server->counters().udp_queries, 1u);
}

TEST_F(DnsServerTest, AnswersOverIpv6AndFromTheAddressThatWasAsked) {
  start({}, "[::]:0");
  const uint16_t port = server->local_addr().port();
  for (const char* ip : {"127.0.0.1:0", "127.0.0.2:0", "[::1]:0"}) {
    const SocketAddr asked = addr(ip).with_port(port);
    UdpClient client(loop, asked.is_v4() ? "127.0.0.1:0" : "[::1]:0");
    client.send(encode(query(kApex, Type::kTxt)), asked);
    run_until(loop, [&] { return !client.received.empty(); });
    EXPECT_EQ(client.from, asked);
  }
}

TEST_F(DnsServerTest, GarbageOverUdpIsSurvived) {
  start({.source_burst = 10000});
  UdpClient client(loop);
  SeededRandom random(1);
  for (int i = 0; i < 2000; ++i) {
    Bytes garbage(random.below(200) + 1);
    random.fill(garbage);
    client.send(garbage, server->local_addr());
    if (i % 50 == 0) net::testing::drain(loop);
  }
  client.send(Bytes(Server::kMaxQuerySize + 1, 0), server->local_addr());
  run_until(loop, [&] { return server->counters().dropped_size == 1; });
  client.received.clear();
  client.send(encode(query(kApex, Type::kTxt, 99)), server->local_addr());
  run_until(loop, [&] { return !client.received.empty(); });
  EXPECT_EQ(decode(client.received.back())->header.id, 99);
}

TEST_F(DnsServerTest, ASourceThatAsksTooMuchIsSentToTcp) {
  start({.source_burst = 4, .source_interval = 1h});
  UdpClient client(loop);
  for (uint16_t i = 0; i < 10; ++i) client.send(encode(query(kApex, Type::kTxt, i)), server->local_addr());
  run_until(loop, [&] { return server->counters().udp_queries == 10 && client.received.size() == 7; });
  int answered = 0, truncated = 0;
  for (const Bytes& bytes : client.received) {
    const Message response = decode(bytes).value();
    ++(response.header.is_truncated ? truncated : answered);
    if (response.header.is_truncated) EXPECT_LE(bytes.size(), encode(query(kApex, Type::kTxt)).size());
  }
  EXPECT_EQ(answered, 4);
  EXPECT_EQ(truncated, 3);
  EXPECT_EQ(server->counters().limited_truncated, 3u);
  EXPECT_EQ(server->counters().limited_dropped, 3u);
  const auto stream = connect();
  send(*stream, framed(query(kApex, Type::kTxt)));
  FrameReader reader(kMaxMessageSize);
  EXPECT_EQ(receive(*stream, reader)->answers.size(), 1u);
}

TEST_F(DnsServerTest, AnswersOverTcpThatDoNotFitUdp) {
  start();
  for (int i = 0; i < 15; ++i)
    ASSERT_TRUE(authority.find(name(kApex))->put(name(kApex), std::string(255, static_cast<char>('a' + i))));
  Message asked = query(kApex, Type::kTxt);
  asked.edns = Edns{.udp_size = 4096};
  UdpClient client(loop);
  client.send(encode(asked), server->local_addr());
  run_until(loop, [&] { return !client.received.empty(); });
  EXPECT_TRUE(decode(client.received[0])->header.is_truncated);
  EXPECT_EQ(server->counters().truncated, 1u);
  const auto stream = connect();
  send(*stream, framed(asked));
  FrameReader reader(kMaxMessageSize);
  EXPECT_EQ(receive(*stream, reader)->answers.size(), 16u);
}

TEST_F(DnsServerTest, QueriesOverTcpMayBePipelinedAndCutAnywhere) {
  start();
  Bytes all;
  constexpr uint16_t kQueries = 20;
  for (uint16_t i = 0; i < kQueries; ++i) append_framed(encode(query(kApex, Type::kTxt, i)), all);
  for (const size_t piece : {size_t{1}, size_t{3}, size_t{50}, all.size()}) {
    const auto stream = connect();
    for (size_t at = 0; at < all.size(); at += piece) {
      const auto begin = all.begin() + static_cast<ptrdiff_t>(at);
      send(*stream, Bytes(begin, begin + static_cast<ptrdiff_t>(std::min(piece, all.size() - at))));
      if (piece < 50 && at % 64 == 0) net::testing::drain(loop);
    }
    FrameReader reader(kMaxMessageSize);
    for (uint16_t i = 0; i < kQueries; ++i) {
      const auto response = receive(*stream, reader);
      ASSERT_TRUE(response);
      EXPECT_EQ(response->header.id, i);
      EXPECT_EQ(response->answers.size(), 1u);
    }
  }
}

TEST_F(DnsServerTest, AClientThatEndsItsSideIsAnsweredFirst) {
  start();
  const auto stream = connect();
  send(*stream, framed(query(kApex, Type::kTxt)));
  ASSERT_TRUE(run_task(loop, net::finish(*stream, soon())));
  FrameReader reader(kMaxMessageSize);
  EXPECT_TRUE(receive(*stream, reader));
  EXPECT_TRUE(ends(*stream));
  run_until(loop, [&] { return server->counters().connections == 0; });
}

TEST_F(DnsServerTest, SlowClientsAreCut) {
  start({.idle_time = 100ms});
  const auto idle = connect();
  const auto partial = connect();
  send(*partial, {0, 50, 1, 2, 3});
  EXPECT_TRUE(ends(*idle));
  EXPECT_TRUE(ends(*partial));
  run_until(loop, [&] { return server->counters().connections == 0; });
  EXPECT_EQ(server->counters().cut_timeout, 1u);
}

TEST_F(DnsServerTest, AConnectionEndsInTimeHoweverBusyItIs) {
  start({.connection_time = 200ms});
  const auto stream = connect();
  const TimePoint begun = loop.now();
  FrameReader reader(kMaxMessageSize);
  while (true) {
    const auto sent = run_task(loop, net::write_all(*stream, framed(query(kApex, Type::kTxt)), soon()));
    if (!sent || !receive(*stream, reader)) break;
    ASSERT_LT(loop.now() - begun, 10s);
  }
  EXPECT_GE(loop.now() - begun, 190ms);
}

TEST_F(DnsServerTest, AClientThatDoesNotReadIsCut) {
  start({.idle_time = 300ms});
  for (int i = 0; i < 15; ++i)
    ASSERT_TRUE(authority.find(name(kApex))->put(name(kApex), std::string(255, static_cast<char>('a' + i))));
  const auto stream = connect();
  Bytes many;
  for (uint16_t i = 0; i < 1000; ++i) append_framed(encode(query(kApex, Type::kTxt, i)), many);
  while (server->counters().cut_timeout == 0) {
    const auto sent = run_task(loop, net::write_all(*stream, many, loop.now() + 2s));
    if (!sent) break;
  }
  run_until(loop, [&] { return server->counters().connections == 0; });
  EXPECT_EQ(server->counters().cut_timeout, 1u);
}

TEST_F(DnsServerTest, LengthsThatNoQueryHasEndTheConnection) {
  start();
  const auto small = connect();
  send(*small, {0, 3, 1, 2, 3});
  EXPECT_TRUE(ends(*small));
  const auto large = connect();
  send(*large, {0xff, 0xff});
  EXPECT_TRUE(ends(*large));
  EXPECT_EQ(server->counters().cut_malformed, 2u);
}

TEST_F(DnsServerTest, TheOldestConnectionMakesRoom) {
  start({.max_connections = 2});
  const auto first = connect(), second = connect();
  run_until(loop, [&] { return server->counters().connections == 2; });
  const auto third = connect();
  EXPECT_TRUE(ends(*first));
  run_until(loop, [&] { return server->counters().connections == 2; });
  EXPECT_EQ(server->counters().evicted, 1u);
  send(*third, framed(query(kApex, Type::kTxt)));
  FrameReader reader(kMaxMessageSize);
  EXPECT_TRUE(receive(*third, reader));
}

TEST_F(DnsServerTest, ASourceHasSoManyConnections) {
  start({.max_source_connections = 1});
  const auto first = connect();
  run_until(loop, [&] { return server->counters().connections == 1; });
  const auto second = connect();
  EXPECT_TRUE(ends(*second));
  EXPECT_EQ(server->counters().refused_source_full, 1u);
  send(*first, framed(query(kApex, Type::kTxt)));
  FrameReader reader(kMaxMessageSize);
  EXPECT_TRUE(receive(*first, reader));
}

TEST_F(DnsServerTest, StopEndsWhatIsOpen) {
  start();
  const auto stream = connect();
  run_until(loop, [&] { return server->counters().connections == 1; });
  stop();
  EXPECT_TRUE(ends(*stream));
}

TEST_F(DnsServerTest, APortInUseIsNamedWithWhatToDo) {
  const auto tcp = net::TcpListener::listen(loop, addr("127.0.0.1:0"), {}).value();
  const auto udp = net::bind_udp(loop, addr("127.0.0.1:0"), {}).value();
  for (const SocketAddr& taken : {tcp->local_addr(), udp->local_addr()}) {
    const auto refused = Server::listen(loop, taken, authority);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
    EXPECT_THAT(refused.error().message, HasSubstr("cannot serve DNS on " + taken.to_string()));
    EXPECT_THAT(refused.error().message, HasSubstr("systemd-resolved"));
    EXPECT_THAT(refused.error().message, HasSubstr("ss -lntup"));
  }
  const auto elsewhere = Server::listen(loop, addr("192.0.2.77:0"), authority);
  ASSERT_FALSE(elsewhere);
  EXPECT_THAT(elsewhere.error().message, HasSubstr("no interface of this machine has the address"));
}

TEST_F(DnsServerTest, APortOfTheSystemIsNamedWithWhatToDo) {
  const uid_t before = ::geteuid();
  if (before == 0) ASSERT_EQ(::seteuid(65534), 0);  // nobody
  const auto refused = Server::listen(loop, addr("127.0.0.1:53"), authority);
  ASSERT_EQ(::seteuid(before), 0);
  if (refused || refused.error().code == ErrorCode::kConflict)
    GTEST_SKIP() << "every user may use port 53 here, or it is taken";
  EXPECT_EQ(refused.error().code, ErrorCode::kUnauthorized);
  EXPECT_THAT(refused.error().message, HasSubstr("cannot serve DNS on 127.0.0.1:53"));
  EXPECT_THAT(refused.error().message, HasSubstr("setcap cap_net_bind_service=+ep"));
}

}  // namespace
}  // namespace culvert::dns
