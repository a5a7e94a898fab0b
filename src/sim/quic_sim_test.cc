// QUIC over the simulated network: what must hold on any link, with any luck.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "sim/network.h"
#include "sim/transfer.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;
using Kind = quic::CloseReason::Kind;

constexpr const char* kAlpn = "test/1";
const SocketAddr kClientAddr = SocketAddr::v4({10, 0, 0, 2}, 50000);
const SocketAddr kServerAddr = SocketAddr::v4({10, 0, 0, 1}, 443);

SecretKey key(uint8_t fill) { return *SecretKey::from_seed(Bytes(32, fill)); }

quic::Engine::Config config(uint8_t fill, std::vector<std::string> alpns = {}) {
  return {.key = key(fill), .accept_alpns = std::move(alpns), .limits = {}};
}

// A client and a server, and what each does with the connection.
struct World {
  explicit World(uint64_t seed, const LinkConfig& link = {}, quic::Limits limits = {}) : net(seed) {
    net.set_default_link(link);
    auto client_config = config(1);
    auto server_config = config(2, {kAlpn});
    client_config.limits = server_config.limits = limits;
    client_host.emplace(net, kClientAddr, client_config);
    server_host.emplace(net, kServerAddr, server_config);
    server_host->set_on_accepted([this](std::shared_ptr<quic::Connection> accepted) {
      servers.push_back(std::make_unique<Peer>(std::move(accepted)));
      servers.back()->answer = server_answer;
      servers.back()->paused = server_paused;
      servers.back()->accepting = accept_streams;
    });
  }

  Peer& dial(const EndpointId& peer = key(2).public_key(), const std::string& alpn = kAlpn) {
    clients.push_back(std::make_unique<Peer>(client_host->connect(kServerAddr, peer, alpn)));
    return *clients.back();
  }
  bool connect(Duration limit = 30s) {
    Peer& client = dial();
    return net.run_until([&] { return client.connected() && !servers.empty(); }, limit);
  }
  Peer& client() { return *clients.back(); }
  Peer& server() { return *servers.back(); }

  Network net;
  std::optional<Host> client_host;
  std::optional<Host> server_host;
  uint64_t server_answer = 0;
  bool server_paused = false;
  bool accept_streams = true;
  std::vector<std::unique_ptr<Peer>> clients;
  std::vector<std::unique_ptr<Peer>> servers;
};

LinkConfig random_link(Random& random) {
  LinkConfig link;
  link.delay = std::chrono::microseconds(100 + random.below(100'000));
  link.bits_per_second = 1'000'000 * (1 + random.below(200));
  link.queue_bytes = 16'000 + random.below(256'000);
  link.loss = static_cast<double>(random.below(80)) / 1000;
  link.duplicate = static_cast<double>(random.below(50)) / 1000;
  link.reorder = static_cast<double>(random.below(100)) / 1000;
  link.mtu = 1200 + random.below(300);
  link.congestion_marks = random.below(2) == 0;
  return link;
}

// One bulk transfer each way; returns the digest of everything that happened on the wire.
uint64_t bulk(uint64_t seed) {
  SeededRandom choice(seed);
  LinkConfig link = random_link(choice);
  uint64_t up = 1 + choice.below(120'000);
  uint64_t down = 1 + choice.below(60'000);
  quic::Limits limits;
  limits.handshake_timeout = 60s;
  World world(seed, link, limits);
  world.server_answer = down;
  EXPECT_TRUE(world.connect(60s)) << "seed " << seed;
  if (world.servers.empty()) return 0;
  world.client().send(up);
  bool done = world.net.run_until(
      [&] {
        return !world.server().receivers.empty() && world.server().receivers[0]->finished() &&
               world.client().receivers[0]->finished();
      },
      600s);
  EXPECT_TRUE(done) << "seed " << seed;
  if (!done) return 0;
  EXPECT_EQ(world.server().receivers[0]->received(), up) << "seed " << seed;
  EXPECT_EQ(world.client().receivers[0]->received(), down) << "seed " << seed;
  EXPECT_TRUE(world.server().receivers[0]->intact() && world.client().receivers[0]->intact())
      << "seed " << seed;
  return world.net.digest();
}

TEST(QuicSim, HandshakeProvesBothKeys) {
  World world(1);
  ASSERT_TRUE(world.connect());
  EXPECT_EQ(world.client().connection().remote_id(), key(2).public_key());
  EXPECT_EQ(world.server().connection().remote_id(), key(1).public_key());
  EXPECT_EQ(world.server().connection().alpn(), kAlpn);
}

TEST(QuicSim, HandshakeOverAOneHourLink) {
  LinkConfig link;
  link.delay = 1h;
  quic::Limits limits;
  limits.handshake_timeout = 24h;
  limits.idle_timeout = 24h;
  World world(2, link, limits);
  EXPECT_TRUE(world.connect(24h));
}

// 10,000 seeds in all, in shards that ctest runs side by side.
class BulkWithLoss : public testing::TestWithParam<uint64_t> {};
constexpr uint64_t kShards = 20;
constexpr uint64_t kSeedsPerShard = 500;

TEST_P(BulkWithLoss, EqualBytes) {
  for (uint64_t i = 0; i < kSeedsPerShard && !HasFailure(); ++i) bulk(GetParam() * kSeedsPerShard + i);
}
INSTANTIATE_TEST_SUITE_P(Seeds, BulkWithLoss, testing::Range(uint64_t{0}, kShards));

TEST(QuicSim, SameSeedSameDigest) {
  for (uint64_t seed : {7u, 1234u, 99'999u}) EXPECT_EQ(bulk(seed), bulk(seed));
  EXPECT_NE(bulk(7), bulk(8));
}

TEST(QuicSim, WrongKeyIsRefusedByTheClient) {
  World world(3);
  Peer& client = world.dial(key(9).public_key());
  ASSERT_TRUE(world.net.run_until([&] { return client.closed.has_value(); }, 30s));
  EXPECT_EQ(client.closed->kind, Kind::kHandshake);
  EXPECT_EQ(client.closed->code, 0x12au);
  EXPECT_TRUE(world.servers.empty());
}

TEST(QuicSim, WrongAlpnIsRefusedByTheServer) {
  World world(4);
  Peer& client = world.dial(key(2).public_key(), "other/1");
  ASSERT_TRUE(world.net.run_until([&] { return client.closed.has_value(); }, 30s));
  EXPECT_EQ(client.closed->kind, Kind::kHandshake);
  EXPECT_EQ(client.closed->code, 0x178u);
  EXPECT_TRUE(world.servers.empty());
}

TEST(QuicSim, SecondConnectionResumesAndStillProvesTheKey) {
  World world(5);
  ASSERT_TRUE(world.connect());
  world.net.run_for(1s);  // for the ticket
  ASSERT_TRUE(world.connect());
  ASSERT_TRUE(world.net.run_until([&] { return world.servers.size() == 2; }, 10s));
  EXPECT_EQ(world.client_host->engine().counters().keys_verified, 1u);
  EXPECT_EQ(world.server_host->engine().counters().keys_verified, 1u);
  EXPECT_EQ(world.server().connection().remote_id(), key(1).public_key());
}

TEST(QuicSim, SlowReaderStallsItsSenderAndNobodyElse) {
  World world(7);
  ASSERT_TRUE(world.connect());
  world.server().paused = true;
  Sender& slow = world.client().send(50'000'000);
  world.net.run_for(5s);
  const uint64_t stalled_at = slow.written();
  EXPECT_LT(stalled_at, 2'000'000u);
  // And what the core charges for the packets around the data.
  EXPECT_LE(world.server().receivers[0]->waiting(), quic::Limits{}.initial_stream_window * 21 / 20);

  world.server().paused = false;
  world.client().send(5'000'000);
  ASSERT_TRUE(world.net.run_until(
      [&] { return world.server().receivers.size() == 2 && world.server().receivers[1]->finished(); }, 60s));
  EXPECT_EQ(slow.written(), stalled_at);

  world.server().receivers[0]->resume();
  ASSERT_TRUE(world.net.run_until([&] { return world.server().receivers[0]->finished(); }, 600s));
  EXPECT_TRUE(world.server().receivers[0]->intact());
}

TEST(QuicSim, ManyStalledReadersDoNotStopTheOthers) {
  World world(20);
  ASSERT_TRUE(world.connect());
  world.server_paused = false;
  world.server().paused = true;
  // More than the connection's window in all, and some of them grown before they stall.
  for (int i = 0; i < 12; ++i) world.client().send(50'000'000);
  world.net.run_for(5s);
  world.server().paused = false;
  world.client().send(3'000'000);
  ASSERT_TRUE(world.net.run_until(
      [&] { return world.server().receivers.size() == 13 && world.server().receivers[12]->finished(); },
      60s));
  EXPECT_TRUE(world.server().receivers[12]->intact());
  world.client().connection().close(0, "");
  world.net.run_for(10s);
}

TEST(QuicSim, StalledReadersAreGivenUpAtTheCap) {
  quic::Limits limits;
  limits.max_connection_buffered = 600'000;
  World world(21, {}, limits);
  ASSERT_TRUE(world.connect());
  world.server().paused = true;
  for (int i = 0; i < 5; ++i) world.client().send(10'000'000);
  world.net.run_for(5s);
  size_t given_up = 0;
  uint64_t held = 0;
  for (auto& receiver : world.server().receivers) {
    given_up += receiver->stream().was_evicted();
    held += receiver->waiting();
    EXPECT_EQ(receiver->stream().reset_code(), receiver->stream().was_reset() ? limits.overload_code : 0);
  }
  EXPECT_GE(given_up, 2u);
  EXPECT_LE(held, limits.max_connection_buffered);
  world.server().paused = false;
  world.client().send(1'000'000);
  EXPECT_TRUE(world.net.run_until([&] { return world.server().receivers.back()->finished(); }, 60s));
}

// A reader that takes what has come every 20 ms: between its turns it holds more than any of those that never
// read.
TEST(QuicSim, ASteadyReaderOutlivesStalledOnesAtTheCap) {
  quic::Limits limits;
  limits.max_connection_buffered = 8'000'000;
  LinkConfig fat;
  fat.bits_per_second = 1'000'000'000;
  fat.queue_bytes = 4'000'000;
  World world(25, fat, limits);
  ASSERT_TRUE(world.connect());
  world.client().send(60'000'000);
  ASSERT_TRUE(world.net.run_until([&] { return !world.server().receivers.empty(); }, 10s));
  Receiver& steady = *world.server().receivers[0];
  world.server().paused = true;
  uint64_t most = 0;
  for (int turn = 0; turn < 2000 && !steady.finished(); ++turn) {
    if (turn >= 20 && turn < 80) world.client().send(1'000'000);
    steady.pause();
    world.net.run_for(20ms);
    most = std::max(most, steady.waiting());
    steady.resume();
    ASSERT_FALSE(steady.stream().was_reset()) << "turn " << turn;
  }
  EXPECT_TRUE(steady.finished() && steady.intact());
  EXPECT_GT(most, limits.initial_stream_window) << "no more than a stalled reader holds: this tests nothing";
  auto given_up = std::ranges::count_if(world.server().receivers,
                                        [](const auto& receiver) { return receiver->stream().was_reset(); });
  EXPECT_GE(given_up, 1);
}

// Whoever takes a byte now and then keeps its grown window full all the same.
TEST(QuicSim, ADribblingReaderIsNotABusyOne) {
  quic::Limits limits;
  limits.max_connection_buffered = 8'000'000;
  LinkConfig fat;
  fat.bits_per_second = 1'000'000'000;
  fat.queue_bytes = 4'000'000;
  World world(27, fat, limits);
  ASSERT_TRUE(world.connect());
  for (int i = 0; i < 2; ++i) world.client().send(200'000'000);
  world.net.run_for(1s);  // until their windows have grown
  auto& receivers = world.server().receivers;
  ASSERT_EQ(receivers.size(), 2u);
  for (auto& dribbler : receivers) dribbler->pause();
  world.net.run_for(50ms);
  // A client that is away for a while.
  world.server().paused = true;
  world.client().send(100'000);
  auto cut = [&] {
    return std::ranges::count_if(receivers, [](auto& r) { return r->stream().was_reset(); });
  };
  for (int turn = 0; turn < 200 && cut() == 0; ++turn) {
    for (size_t i = 0; i < 2; ++i) {
      if (!receivers[i]->stream().readable().empty()) receivers[i]->stream().consume(1);
    }
    if (turn > 20) world.client().send(300'000);
    world.net.run_for(50ms);
  }
  EXPECT_TRUE(receivers[0]->stream().was_reset() || receivers[1]->stream().was_reset());
  ASSERT_GT(receivers.size(), 3u);
  EXPECT_FALSE(receivers[2]->stream().was_reset());
}

TEST(QuicSim, TheConnectionThatHoldsMostPaysForTheEndpoint) {
  quic::Limits limits;
  limits.max_endpoint_buffered = 1'500'000;
  World world(26, {}, limits);
  ASSERT_TRUE(world.connect());
  Peer& modest = world.client();
  Peer& modest_server = world.server();
  modest_server.paused = true;
  modest.send(200'000);
  ASSERT_TRUE(world.connect() && world.net.run_until([&] { return world.servers.size() == 2; }, 10s));
  world.server().paused = true;
  // The modest one goes on receiving while the other takes all there is.
  for (int i = 0; i < 20; ++i) {
    world.client().send(1'000'000);
    modest.send(10'000);
    world.net.run_for(1s);
  }
  uint64_t held = 0;
  for (auto& server : world.servers) held += server->connection().buffered();
  EXPECT_LE(held, limits.max_endpoint_buffered);
  ASSERT_EQ(modest_server.receivers.size(), 21u);
  for (auto& receiver : modest_server.receivers) {
    EXPECT_FALSE(receiver->stream().was_reset());
    receiver->resume();
    EXPECT_TRUE(receiver->finished() && receiver->intact());
  }
}

TEST(QuicSim, StalledSendersLeaveRoomForTheNext) {
  quic::Limits limits;
  limits.max_connection_pending = 1'000'000;
  World world(22, {}, limits);
  ASSERT_TRUE(world.connect());
  world.server().paused = true;
  for (int i = 0; i < 100; ++i) world.client().send(5'000'000);
  world.net.run_for(5s);
  world.server().paused = false;
  world.client().send(500'000);
  ASSERT_TRUE(world.net.run_until(
      [&] { return world.server().receivers.size() == 101 && world.server().receivers[100]->finished(); },
      120s));
}

TEST(QuicSim, StreamsThatNobodyAcceptsStayBounded) {
  quic::Limits limits;
  limits.max_streams_uni = 8;
  World world(23, {}, limits);
  world.accept_streams = false;
  ASSERT_TRUE(world.connect());
  size_t opened = 0;
  for (int round = 0; round < 20; ++round) {
    while (auto stream = world.client().connection().open_uni()) {
      stream->finish();
      ++opened;
    }
    world.net.run_for(1s);
  }
  EXPECT_EQ(opened, 8u);
}

TEST(QuicSim, ADatagramThatNoLongerFitsDoesNotStopTheRest) {
  World world(24);
  ASSERT_TRUE(world.connect());
  world.net.run_for(10s);
  ASSERT_GT(world.client().connection().max_datagram_size(), 1300u);
  ASSERT_TRUE(world.client().connection().send_datagram(Bytes(1300, 1)).has_value());
  world.client_host->move_to(SocketAddr::v4({10, 9, 9, 9}, 6000));  // the new path begins at 1200
  world.client().send(100'000);
  EXPECT_TRUE(world.net.run_until(
      [&] { return !world.server().receivers.empty() && world.server().receivers[0]->finished(); }, 10s));
}

// 100 ms and 1 Gbit/s: the first window alone would need more than ten seconds for this.
TEST(QuicSim, AReadStreamGetsTheLargeWindow) {
  LinkConfig fat;
  fat.delay = 50ms;
  fat.bits_per_second = 1'000'000'000;
  fat.queue_bytes = 16'000'000;
  World world(8, fat);
  ASSERT_TRUE(world.connect());
  world.client().send(40'000'000);
  EXPECT_TRUE(world.net.run_until(
      [&] { return !world.server().receivers.empty() && world.server().receivers[0]->finished(); }, 5s));
}

TEST(QuicSim, ResetReachesTheOtherSideWithItsCode) {
  World world(9);
  ASSERT_TRUE(world.connect());
  auto stream = world.client().connection().open_bidi();
  stream->write(Bytes(1000, 1));
  world.net.run_for(1s);
  stream->reset(42);
  world.net.run_for(1s);
  ASSERT_EQ(world.server().receivers.size(), 1u);
  EXPECT_FALSE(world.server().receivers[0]->finished());
  EXPECT_TRUE(world.server().receivers[0]->stream().was_reset());
  EXPECT_EQ(world.server().receivers[0]->stream().reset_code(), 42u);
}

TEST(QuicSim, StopEndsTheSenderButNotItsOwnSendingHalf) {
  World world(9);
  world.server_answer = 50'000'000;
  ASSERT_TRUE(world.connect());
  auto stream = world.client().connection().open_bidi();
  Receiver reader(stream);
  stream->write(Bytes(10, pattern(0)));
  world.net.run_for(300ms);
  stream->stop(43);
  world.net.run_for(5s);
  ASSERT_EQ(world.server().senders.size(), 1u);
  quic::Stream& at_server = world.server().senders[0]->stream();
  EXPECT_TRUE(at_server.was_stopped());
  EXPECT_LT(world.server().senders[0]->written(), 50'000'000u);
  EXPECT_GT(stream->writable(), 0u);
  stream->finish();
  EXPECT_TRUE(world.net.run_until([&] { return world.server().receivers[0]->finished(); }, 10s));
}

TEST(QuicSim, CloseCodeAndReasonArrive) {
  World world(10);
  ASSERT_TRUE(world.connect());
  world.client().connection().close(77, "enough");
  ASSERT_TRUE(world.net.run_until([&] { return world.server().closed.has_value(); }, 10s));
  EXPECT_EQ(world.server().closed->kind, Kind::kApplication);
  EXPECT_EQ(world.server().closed->code, 77u);
  EXPECT_EQ(world.server().closed->message, "enough");
  world.net.run_for(60s);
  EXPECT_EQ(world.server_host->engine().connection_count(), 0u);
  EXPECT_EQ(world.client_host->engine().connection_count(), 0u);
}

TEST(QuicSim, KeepAliveHoldsAnIdleConnectionAndSilenceEndsIt) {
  World world(11);
  ASSERT_TRUE(world.connect());
  world.net.run_for(10min);
  EXPECT_FALSE(world.server().closed.has_value());
  LinkConfig dead;
  dead.loss = 1;
  world.net.set_link(*world.client_host, *world.server_host, dead);
  world.net.set_link(*world.server_host, *world.client_host, dead);
  ASSERT_TRUE(world.net.run_until([&] { return world.server().closed && world.client().closed; }, 2min));
  EXPECT_EQ(world.server().closed->kind, Kind::kIdleTimeout);
  EXPECT_EQ(world.client_host->engine().connection_count(), 0u);
}

TEST(QuicSim, RestartedServerResetsOldConnections) {
  for (bool moved : {false, true}) {
    World world(12);
    ASSERT_TRUE(world.connect());
    world.net.run_for(1s);
    if (moved) world.client_host->move_to(SocketAddr::v4({10, 9, 9, 9}, 6000));
    world.net.run_for(10s);
    world.servers.clear();
    world.server_host->restart(config(2, {kAlpn}));
    ASSERT_TRUE(world.net.run_until([&] { return world.client().closed.has_value(); }, 10s)) << moved;
    EXPECT_EQ(world.client().closed->kind, Kind::kStatelessReset) << moved;
  }
}

TEST(QuicSim, ClientMovesMidTransfer) {
  World world(13);
  world.server_answer = 3'000'000;
  ASSERT_TRUE(world.connect());
  world.client().send(3'000'000);
  world.net.run_for(100ms);
  const SocketAddr moved = SocketAddr::v4({10, 9, 9, 9}, 6000);
  world.client_host->move_to(moved);
  ASSERT_TRUE(world.net.run_until(
      [&] { return world.client().receivers[0]->finished() && world.server().receivers[0]->finished(); },
      60s));
  EXPECT_EQ(world.server().connection().path_stats().remote, moved);
  EXPECT_TRUE(world.client().receivers[0]->intact() && world.server().receivers[0]->intact());
}

TEST(QuicSim, NatRebindingIsFollowed) {
  World world(14);
  world.server_answer = 3'000'000;
  ASSERT_TRUE(world.connect());
  world.client().send(100'000);
  world.net.run_for(100ms);
  const SocketAddr rebound = SocketAddr::v4({10, 0, 0, 2}, 50001);
  world.client_host->set_public_address(rebound);
  ASSERT_TRUE(world.net.run_until([&] { return world.client().receivers[0]->finished(); }, 60s));
  EXPECT_EQ(world.server().connection().path_stats().remote, rebound);
}

// The system may send from another address of its own accord before anybody tells us that the network
// changed.
TEST(QuicSim, AMoveRightAfterANatRebindingIsFollowed) {
  World world(25);
  world.server_answer = 3'000'000;
  ASSERT_TRUE(world.connect());
  world.client().send(3'000'000);
  world.net.run_for(100ms);
  world.client_host->set_public_address(SocketAddr::v4({10, 9, 9, 9}, 50001));
  world.net.run_for(100ms);
  const SocketAddr moved = SocketAddr::v4({10, 9, 9, 9}, 6000);
  world.client_host->move_to(moved);
  ASSERT_TRUE(world.net.run_until(
      [&] { return world.client().receivers[0]->finished() && world.server().receivers[0]->finished(); },
      60s));
  EXPECT_EQ(world.server().connection().path_stats().remote, moved);
}

// With new ids while there are some, then with the last one. The client has nothing to say, but the server
// must learn at once where to send.
TEST(QuicSim, AnIdleClientIsFollowedEvenWithoutSpareIds) {
  World world(26);
  ASSERT_TRUE(world.connect());
  world.net.run_for(1s);
  uint16_t port = 6000;
  auto move = [&] { world.client_host->move_to(SocketAddr::v4({10, 9, 9, 9}, port++)); };
  for (int i = 0; i < 10; ++i) move();
  for (size_t i = 0; i < 5; ++i) {
    world.net.run_for(1s);
    move();
    world.net.run_for(50ms);
    world.server().send(1000);
    ASSERT_TRUE(world.net.run_until(
        [&] { return world.client().receivers.size() > i && world.client().receivers[i]->finished(); },
        500ms))
        << i;
  }
}

// The first move comes before the client knows that the handshake is confirmed and must keep its id. While
// the server looks at that path, the next one fails its validation.
TEST(QuicSim, MovesWithAndWithoutANewIdDoNotMix) {
  World world(27);
  ASSERT_TRUE(world.connect());
  world.client_host->move_to(SocketAddr::v4({10, 9, 9, 9}, 6000));
  world.net.run_for(200ms);
  world.client_host->move_to(SocketAddr::v4({10, 9, 9, 9}, 6001));
  LinkConfig silence;
  silence.loss = 1;
  world.net.set_link(*world.server_host, *world.client_host, silence);
  world.client().send(1000);
  world.net.run_for(5s);
  world.net.set_link(*world.server_host, *world.client_host, {});
  EXPECT_TRUE(world.net.run_until(
      [&] { return !world.server().receivers.empty() && world.server().receivers[0]->finished(); }, 10s));
  world.server().send(1000);
  EXPECT_TRUE(world.net.run_until(
      [&] { return world.client().receivers.size() == 2 && world.client().receivers[1]->finished(); }, 10s));
}

TEST(QuicSim, PathMtuIsDiscovered) {
  for (size_t mtu : {1200u, 1300u, 1452u}) {
    LinkConfig link;
    link.mtu = mtu;
    World world(15, link);
    ASSERT_TRUE(world.connect()) << mtu;
    world.client().send(1'000'000);
    ASSERT_TRUE(world.net.run_until(
        [&] { return !world.server().receivers.empty() && world.server().receivers[0]->finished(); }, 60s));
    world.net.run_for(20s);
    size_t found = world.client().connection().path_stats().max_datagram_size;
    EXPECT_LE(found, mtu);
    EXPECT_GE(found, mtu == 1452 ? 1400u : 1200u);
  }
}

TEST(QuicSim, DatagramsArriveAndAreBounded) {
  World world(16);
  ASSERT_TRUE(world.connect());
  quic::Connection& client = world.client().connection();
  size_t largest = client.max_datagram_size();
  EXPECT_GT(largest, 1100u);
  EXPECT_TRUE(client.send_datagram(Bytes(largest, 7)).has_value());
  EXPECT_TRUE(client.send_datagram(as_bytes("hello")).has_value());
  EXPECT_EQ(client.send_datagram(Bytes(largest + 1, 7)).error().code, ErrorCode::kLimit);
  world.net.run_for(1s);
  ASSERT_EQ(world.server().datagrams.size(), 2u);
  EXPECT_EQ(world.server().datagrams[0].size(), largest);
  EXPECT_EQ(as_text(world.server().datagrams[1]), "hello");
  size_t queued = 0;
  while (client.send_datagram(Bytes(1000, 1))) queued += 1000;
  EXPECT_LE(queued, quic::Limits{}.max_queued_datagram_bytes);
  EXPECT_GT(queued, 100'000u);
}

TEST(QuicSim, AnUnvalidatedFloodCreatesNoStateBeyondTheCap) {
  World world(17);
  // Real first flights, from addresses that will never answer.
  quic::Engine& engine = world.server_host->engine();
  const quic::Limits limits;
  struct Capture final : quic::EngineHost {
    bool send(const net::DatagramBatch& batch) override {
      packets.push_back(to_bytes(batch.data));
      return true;
    }
    void on_accepted(std::shared_ptr<quic::Connection>) override {}
    void want_flush() override {}
    std::vector<Bytes> packets;
  } capture;
  quic::Engine attacker(config(3), world.net.random(), capture);
  for (uint16_t i = 0; i < 3000; ++i) {
    attacker.connect(kServerAddr, key(2).public_key(), kAlpn, world.net.now());
    attacker.flush(world.net.now());
    for (Bytes& packet : std::exchange(capture.packets, {})) {
      world.net.inject(SocketAddr::v4({192, 0, 2, 1}, static_cast<uint16_t>(1000 + i)), kServerAddr,
                       std::move(packet));
    }
  }
  world.net.run_for(100ms);
  EXPECT_LE(engine.unfinished_handshakes(), limits.max_unvalidated);
  EXPECT_LE(engine.connection_count(), limits.max_unvalidated);
  EXPECT_GE(engine.counters().retries_sent, 2000u);
  // Someone real still gets in, through a Retry, while the flood's handshakes hang.
  ASSERT_TRUE(world.connect(5s));
  EXPECT_TRUE(world.server().connection().came_with_token());
  world.net.run_for(60s);
  EXPECT_EQ(engine.unfinished_handshakes(), 0u);
}

TEST(QuicSim, GarbageIsCountedAndChangesNothing) {
  World world(18);
  ASSERT_TRUE(world.connect());
  for (int i = 0; i < 2000; ++i) {
    Bytes noise(world.net.random().below(1400));
    world.net.random().fill(noise);
    world.net.inject(SocketAddr::v4({192, 0, 2, 7}, 99), kServerAddr, std::move(noise));
  }
  world.net.run_for(1s);
  EXPECT_EQ(world.server_host->engine().connection_count(), 1u);
  EXPECT_LE(world.server_host->engine().counters().stateless_sent, 200u);
  world.client().send(1000);
  EXPECT_TRUE(world.net.run_until(
      [&] { return !world.server().receivers.empty() && world.server().receivers[0]->finished(); }, 10s));
}

// Seven eighths of the limit: that many are open to the peer at any time.
TEST(QuicSim, HundredsOfStreamsInTurn) {
  World world(19);
  world.server_answer = 100;
  ASSERT_TRUE(world.connect());
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 896; ++i) world.client().send(100);
    ASSERT_TRUE(world.net.run_until(
        [&] { return std::ranges::all_of(world.client().receivers, &Receiver::finished); }, 60s));
    world.client().receivers.clear();
    world.client().senders.clear();
    world.net.run_for(1s);
  }
}

}  // namespace
}  // namespace culvert::sim

namespace culvert::sim {
namespace {

// What an observer of all networks can link: the connection ids in short headers, and where each was seen.
class Observer {
 public:
  explicit Observer(Network& net) {
    net.set_tap([this](const SocketAddr& source, const SocketAddr& destination, ByteView data) {
      constexpr size_t kIdSize = 8;
      if ((data[0] & 0x80) == 0)
        seen_[std::pair(source, destination)].insert(to_bytes(data.subspan(1, kIdSize)));
    });
  }

  // True: packets went both between `server` and `client`, and none of their ids was seen anywhere else.
  bool is_unlinkable(const SocketAddr& client, const SocketAddr& server) const {
    for (auto path : {std::pair(client, server), std::pair(server, client)}) {
      auto here = seen_.find(path);
      if (here == seen_.end()) return false;
      for (const auto& [other, ids] : seen_) {
        if (other != path && std::ranges::any_of(ids, [&](auto& id) { return here->second.contains(id); }))
          return false;
      }
    }
    return true;
  }

 private:
  std::map<std::pair<SocketAddr, SocketAddr>, std::set<Bytes>> seen_;
};

SocketAddr visited(uint16_t move) {
  return SocketAddr::v4({10, 9, 9, 9}, static_cast<uint16_t>(6000 + move));
}

// Whenever the client moves in the middle of a transfer, whoever sends: nothing is lost, no limit is broken,
// and a move out of a quiet state cannot be linked to what was before (RFC 9000, 9.5).
TEST(QuicSim, MovingAtAnyMomentKeepsTheConnection) {
  for (uint64_t seed = 0; seed < 200 && !testing::Test::HasFailure(); ++seed) {
    SeededRandom choice(seed);
    LinkConfig link;
    link.delay = std::chrono::microseconds(50 + choice.below(20'000));
    link.bits_per_second = 1'000'000'000;
    if (choice.below(2) == 0) {
      link.loss = static_cast<double>(choice.below(50)) / 1000;
      link.duplicate = static_cast<double>(choice.below(50)) / 1000;
      link.reorder = static_cast<double>(choice.below(100)) / 1000;
    }
    World world(seed, link);
    Observer observer(world.net);
    world.server_answer = choice.below(3'000'000);
    ASSERT_TRUE(world.connect());
    world.client().send(1 + choice.below(3'000'000));
    const auto moves = static_cast<uint16_t>(1 + choice.below(5));
    for (uint16_t move = 0; move < moves; ++move) {
      world.net.run_for(std::chrono::microseconds(choice.below(100'000)));
      world.client_host->move_to(visited(move));
    }
    EXPECT_TRUE(world.net.run_until(
        [&] {
          return !world.server().receivers.empty() && world.server().receivers[0]->finished() &&
                 (world.server_answer == 0 || world.client().receivers[0]->finished());
        },
        120s))
        << "seed " << seed << ": "
        << (world.server().closed   ? world.server().closed->message
            : world.client().closed ? world.client().closed->message
                                    : "stuck");
    world.net.run_for(30s);
    world.client_host->move_to(visited(moves));
    world.net.run_for(10s);
    EXPECT_FALSE(world.server().closed || world.client().closed) << "seed " << seed;
    EXPECT_TRUE(observer.is_unlinkable(visited(moves), kServerAddr)) << "seed " << seed;
  }
}

}  // namespace
}  // namespace culvert::sim
