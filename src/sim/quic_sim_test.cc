// QUIC over the simulated network: what must hold on any link, with any luck.
#include <gtest/gtest.h>

#include <algorithm>

#include "sim/two_hosts.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;
using Kind = quic::CloseReason::Kind;

// One bulk transfer each way; returns the digest of everything that happened on the wire.
uint64_t bulk(uint64_t seed) {
  SeededRandom choice(seed);
  LinkConfig link = random_link(choice);
  uint64_t up = 1 + choice.below(120'000);
  uint64_t down = 1 + choice.below(60'000);
  quic::Limits limits;
  limits.handshake_timeout = 60s;
  TwoHosts world(seed, link, limits);
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
  TwoHosts world(1);
  ASSERT_TRUE(world.connect());
  EXPECT_EQ(world.client().connection().remote_id(), test_key(2).public_key());
  EXPECT_EQ(world.server().connection().remote_id(), test_key(1).public_key());
  EXPECT_EQ(world.server().connection().alpn(), TwoHosts::kAlpn);
}

TEST(QuicSim, HandshakeOverAOneHourLink) {
  LinkConfig link;
  link.delay = 1h;
  quic::Limits limits;
  limits.handshake_timeout = 24h;
  limits.idle_timeout = 24h;
  TwoHosts world(2, link, limits);
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
  TwoHosts world(3);
  Peer& client = world.dial(test_key(9).public_key());
  ASSERT_TRUE(world.net.run_until([&] { return client.closed.has_value(); }, 30s));
  EXPECT_EQ(client.closed->kind, Kind::kHandshake);
  EXPECT_EQ(client.closed->code, 0x12au);
  EXPECT_TRUE(world.servers.empty());
}

TEST(QuicSim, WrongAlpnIsRefusedByTheServer) {
  TwoHosts world(4);
  Peer& client = world.dial(test_key(2).public_key(), "other/1");
  ASSERT_TRUE(world.net.run_until([&] { return client.closed.has_value(); }, 30s));
  EXPECT_EQ(client.closed->kind, Kind::kHandshake);
  EXPECT_EQ(client.closed->code, 0x178u);
  EXPECT_TRUE(world.servers.empty());
}

TEST(QuicSim, SecondConnectionResumesAndStillProvesTheKey) {
  TwoHosts world(5);
  ASSERT_TRUE(world.connect());
  world.net.run_for(1s);  // for the ticket
  ASSERT_TRUE(world.connect());
  EXPECT_EQ(world.client_host.engine().counters().keys_verified, 1u);
  EXPECT_EQ(world.server_host.engine().counters().keys_verified, 1u);
  EXPECT_EQ(world.server().connection().remote_id(), test_key(1).public_key());
}

TEST(QuicSim, ResetReachesTheOtherSideWithItsCode) {
  TwoHosts world(9);
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
  TwoHosts world(9);
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

// What arrived and was not read was dropped by stop(): its end is not the end of what was read.
TEST(QuicSim, AStoppedStreamDoesNotPassForAFinishedOne) {
  TwoHosts world(9);
  ASSERT_TRUE(world.connect());
  world.server().paused = true;
  world.client().send(1000);
  world.net.run_for(1s);
  quic::Stream& at_server = world.server().receivers.at(0)->stream();
  ASSERT_EQ(at_server.readable().size(), 1000u);
  EXPECT_FALSE(at_server.finished());
  at_server.stop(43);
  EXPECT_TRUE(at_server.readable().empty());
  EXPECT_FALSE(at_server.finished());
}

TEST(QuicSim, CloseCodeAndReasonArrive) {
  TwoHosts world(10);
  ASSERT_TRUE(world.connect());
  world.client().connection().close(77, "enough");
  ASSERT_TRUE(world.net.run_until([&] { return world.server().closed.has_value(); }, 10s));
  EXPECT_EQ(world.server().closed->kind, Kind::kApplication);
  EXPECT_EQ(world.server().closed->code, 77u);
  EXPECT_EQ(world.server().closed->message, "enough");
  world.net.run_for(60s);
  EXPECT_EQ(world.server_host.engine().connection_count(), 0u);
  EXPECT_EQ(world.client_host.engine().connection_count(), 0u);
}

// Keep-alives of the connection and of its path from both sides, each acknowledged: 364 without early probes.
TEST(QuicSim, AnIdleConnectionSaysNothingButKeepAlives) {
  TwoHosts world(12);
  world.server_answer = 3'000'000;
  ASSERT_TRUE(world.connect());
  world.client().send(3'000'000);
  ASSERT_TRUE(world.net.run_until([&] { return world.client().receivers[0]->finished(); }, 60s));
  world.net.run_for(10s);
  size_t datagrams = 0;
  world.net.set_tap([&](const SocketAddr&, const SocketAddr&, ByteView) { ++datagrams; });
  world.net.run_for(10min);
  EXPECT_LE(datagrams, 450u);
  EXPECT_GE(datagrams, 240u) << "each 5 s a keep-alive and its acknowledgement";
}

TEST(QuicSim, KeepAliveHoldsAnIdleConnectionAndSilenceEndsIt) {
  TwoHosts world(11);
  ASSERT_TRUE(world.connect());
  world.net.run_for(10min);
  EXPECT_FALSE(world.server().closed.has_value());
  LinkConfig dead;
  dead.loss = 1;
  world.set_links(dead, dead);
  ASSERT_TRUE(world.net.run_until([&] { return world.server().closed && world.client().closed; }, 2min));
  EXPECT_EQ(world.server().closed->kind, Kind::kIdleTimeout);
  EXPECT_EQ(world.client_host.engine().connection_count(), 0u);
}

// Also a client that looks for another way to the server meanwhile (quic::ProgressWatch).
TEST(QuicSim, SilenceEndsBothSidesSoonAfterTheIdleTimeout) {
  constexpr Duration kSlack = 15s;  // three PTO, and what was sent before the silence was noticed
  for (uint64_t bytes : {1'000u, 50'000'000u}) {
    TwoHosts world(11);
    world.server_answer = bytes;
    ASSERT_TRUE(world.connect());
    world.client().send(bytes);
    world.net.run_for(500ms);
    LinkConfig dead;
    dead.loss = 1;
    world.set_links(dead, dead);
    world.net.run_for(quic::Limits{}.idle_timeout + kSlack);
    for (Peer* peer : {&world.client(), &world.server()}) {
      EXPECT_TRUE(peer->closed && peer->closed->kind == Kind::kIdleTimeout)
          << (peer == &world.client() ? "the client" : "the server") << ", " << bytes << " bytes";
    }
  }
}

TEST(QuicSim, RestartedServerResetsOldConnections) {
  for (bool moved : {false, true}) {
    TwoHosts world(12);
    ASSERT_TRUE(world.connect());
    world.net.run_for(1s);
    if (moved) world.client_host.move_to(SocketAddr::v4({10, 9, 9, 9}, 6000));
    world.net.run_for(10s);
    world.servers.clear();
    world.server_host.restart(TwoHosts::server_config({}));
    ASSERT_TRUE(world.net.run_until([&] { return world.client().closed.has_value(); }, 10s)) << moved;
    EXPECT_EQ(world.client().closed->kind, Kind::kStatelessReset) << moved;
  }
}

// A client that was cut off has opened another path (quic::ProgressWatch), before or after the restart.
TEST(QuicSim, RestartedServerResetsConnectionsOnAnotherPath) {
  quic::Limits limits;
  limits.keep_alive = 2s;
  for (bool validated : {false, true}) {
    TwoHosts world(12, {}, limits);
    ASSERT_TRUE(world.connect());
    world.net.run_for(2s);
    LinkConfig dead;
    dead.loss = 1;
    world.set_links(dead, dead);
    const auto has_other_path = [&] {
      return std::ranges::any_of(world.client().connection().paths().all(), [&](const quic::PathStats& path) {
        return path.id > 0 && path.established == validated;
      });
    };
    world.net.run_for(12s);
    if (validated) {
      world.set_links({}, {});
      world.net.run_for(10s);
    }
    ASSERT_TRUE(has_other_path()) << validated;
    ASSERT_FALSE(world.client().closed) << validated;
    world.servers.clear();
    world.server_host.restart(TwoHosts::server_config(limits));
    world.set_links({}, {});
    ASSERT_TRUE(world.net.run_until([&] { return world.client().closed.has_value(); }, 5s)) << validated;
    EXPECT_EQ(world.client().closed->kind, Kind::kStatelessReset) << validated;
  }
}

TEST(QuicSim, PathMtuIsDiscovered) {
  for (size_t mtu : {1200u, 1300u, 1452u}) {
    LinkConfig link;
    link.mtu = mtu;
    TwoHosts world(15, link);
    ASSERT_TRUE(world.connect()) << mtu;
    world.client().send(1'000'000);
    ASSERT_TRUE(world.net.run_until(
        [&] { return !world.server().receivers.empty() && world.server().receivers[0]->finished(); }, 60s));
    world.net.run_for(20s);
    size_t found = world.client().connection().paths().active().max_datagram_size;
    EXPECT_LE(found, mtu);
    EXPECT_GE(found, mtu == 1452 ? 1400u : 1200u);
  }
}

TEST(QuicSim, DatagramsArriveAndAreBounded) {
  TwoHosts world(16);
  ASSERT_TRUE(world.connect());
  quic::Connection& client = world.client().connection();
  size_t largest = client.datagrams().max_size();
  EXPECT_GT(largest, 1100u);
  EXPECT_TRUE(client.datagrams().send(Bytes(largest, 7)).has_value());
  EXPECT_TRUE(client.datagrams().send(as_bytes("hello")).has_value());
  EXPECT_EQ(client.datagrams().send(Bytes(largest + 1, 7)).error().code, ErrorCode::kLimit);
  world.net.run_for(1s);
  ASSERT_EQ(world.server().datagrams.size(), 2u);
  EXPECT_EQ(world.server().datagrams[0].size(), largest);
  EXPECT_EQ(as_text(world.server().datagrams[1]), "hello");
  size_t queued = 0;
  while (client.datagrams().send(Bytes(1000, 1))) queued += 1000;
  EXPECT_LE(queued, quic::Limits{}.max_queued_datagram_bytes);
  EXPECT_GT(queued, 100'000u);
}

TEST(QuicSim, AnUnvalidatedFloodCreatesNoStateBeyondTheCap) {
  TwoHosts world(17);
  // Real first flights, from addresses that will never answer.
  quic::Engine& engine = world.server_host.engine();
  const quic::EndpointLimits limits;
  struct Capture final : quic::EngineHost {
    bool send(const net::DatagramBatch& batch) override {
      packets.push_back(to_bytes(batch.data));
      return true;
    }
    void on_accepted(std::shared_ptr<quic::Connection>) override {}
    void want_flush() override {}
    std::vector<Bytes> packets;
  } capture;
  quic::Engine attacker({.key = test_key(3), .limits = {}}, world.net.random(), capture);
  for (uint16_t i = 0; i < 3000; ++i) {
    attacker.connect(TwoHosts::kServerAddr, test_key(2).public_key(), TwoHosts::kAlpn, world.net.now());
    attacker.flush(world.net.now());
    for (Bytes& packet : std::exchange(capture.packets, {})) {
      world.net.inject(SocketAddr::v4({192, 0, 2, 1}, static_cast<uint16_t>(1000 + i)), TwoHosts::kServerAddr,
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
  TwoHosts world(18);
  ASSERT_TRUE(world.connect());
  for (int i = 0; i < 2000; ++i) {
    Bytes noise(world.net.random().below(1400));
    world.net.random().fill(noise);
    world.net.inject(SocketAddr::v4({192, 0, 2, 7}, 99), TwoHosts::kServerAddr, std::move(noise));
  }
  world.net.run_for(1s);
  EXPECT_EQ(world.server_host.engine().connection_count(), 1u);
  EXPECT_LE(world.server_host.engine().counters().stateless_sent, 200u);
  world.client().send(1000);
  EXPECT_TRUE(world.net.run_until(
      [&] { return !world.server().receivers.empty() && world.server().receivers[0]->finished(); }, 10s));
}

// Seven eighths of the limit: that many are open to the peer at any time.
TEST(QuicSim, HundredsOfStreamsInTurn) {
  TwoHosts world(19);
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
