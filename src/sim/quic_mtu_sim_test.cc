// QUIC over paths whose MTU falls and rises under a transfer: larger datagrams vanish without a word.
#include <gtest/gtest.h>

#include <algorithm>

#include "sim/two_hosts.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;

constexpr size_t kHeaders = 28;  // IPv4 and UDP
constexpr uint64_t kEndless = UINT64_MAX;

struct MtuCase {
  LinkConfig link;
  bool up;  // which direction's MTU changes
  bool down;
  Duration every{};  // the application writes `block` bytes that often; 0: as fast as it can
  size_t block = 0;
};

MtuCase mtu_case(uint64_t seed) {
  SeededRandom choice(seed);
  MtuCase out{};
  out.link.delay = std::chrono::milliseconds(1 + choice.below(150));
  out.link.bits_per_second = uint64_t{1'000'000} << choice.below(4);
  // Half a round trip's worth, and at least 20 packets: what waits there makes the round trip longer.
  const auto bytes_per_ms = out.link.bits_per_second / 8000;
  const auto delay_ms = static_cast<uint64_t>(out.link.delay / 1ms);
  out.link.queue_bytes = std::max<uint64_t>(30'000, delay_ms * bytes_per_ms);
  out.link.loss = seed % 2 == 0 ? 0 : 0.01;
  const uint64_t direction = choice.below(3);
  out.up = direction != 1;
  out.down = direction != 0;
  if (choice.below(3) == 0) {
    out.every = std::chrono::milliseconds(20 + choice.below(180));
    out.block = 500 + choice.below(8000);
  }
  return out;
}

// The longest time in which nothing was received.
class Gap {
 public:
  explicit Gap(TimePoint now) : last_(now) {}
  void look(uint64_t received, TimePoint now) {
    if (received != received_) last_ = now;
    received_ = received;
    longest_ = std::max(longest_, now - last_);
  }
  Duration longest() const { return longest_; }

 private:
  uint64_t received_ = 0;
  TimePoint last_;
  Duration longest_{};
};

// Writes a block now and then, for as long as it exists.
class Ticker {
 public:
  Ticker(Network& net, std::shared_ptr<quic::Stream> stream, Duration every, size_t block)
      : net_(net), stream_(std::move(stream)), every_(every), block_(block) {
    tick();
  }

 private:
  void tick() {
    Bytes data(block_);
    for (size_t i = 0; i < block_; ++i) data[i] = pattern(written_ + i);
    written_ += stream_->write(data);
    net_.at(net_.now() + every_, [this, alive = std::weak_ptr(alive_)] {
      if (alive.lock()) tick();
    });
  }

  Network& net_;
  std::shared_ptr<quic::Stream> stream_;
  Duration every_;
  size_t block_;
  uint64_t written_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>();
};

struct MtuResult {
  Duration longest_gap;
  uint64_t black_holes;
  uint64_t digest;
};

MtuResult fall_and_rise(uint64_t seed) {
  const MtuCase c = mtu_case(seed);
  TwoHosts world(seed, c.link);
  EXPECT_TRUE(world.connect()) << "seed " << seed;
  auto start = [&](Peer& peer, std::vector<std::unique_ptr<Ticker>>& tickers) {
    if (c.block == 0) {
      peer.send(kEndless);
      return;
    }
    auto stream = peer.connection().open_bidi();
    tickers.push_back(std::make_unique<Ticker>(world.net, stream, c.every, c.block));
  };
  std::vector<std::unique_ptr<Ticker>> tickers;
  start(world.client(), tickers);
  start(world.server(), tickers);
  // Their first streams; receivers[0] of a bulk sender is its own.
  auto received = [&](Peer& peer) { return peer.receivers.empty() ? 0 : peer.receivers.back()->received(); };
  world.net.run_for(2s);

  Gap at_server(world.net.now());
  Gap at_client(world.net.now());
  auto run = [&](size_t mtu, Duration time) {
    LinkConfig changed = c.link;
    changed.mtu = mtu - kHeaders;
    world.set_links(c.up ? changed : c.link, c.down ? changed : c.link);
    for (const TimePoint end = world.net.now() + time; world.net.now() < end;) {
      world.net.run_for(20ms);
      at_server.look(received(world.server()), world.net.now());
      at_client.look(received(world.client()), world.net.now());
    }
  };
  run(1400, 4s);
  run(1280, 4s);
  run(1400, 500ms);
  run(1500, 500ms);
  for (Peer* peer : {&world.client(), &world.server()}) {
    EXPECT_FALSE(peer->closed.has_value()) << "seed " << seed;
    for (auto& receiver : peer->receivers) EXPECT_TRUE(receiver->intact()) << "seed " << seed;
  }
  return {std::max(at_server.longest(), at_client.longest()),
          world.client().connection().paths().active().mtu_black_holes +
              world.server().connection().paths().active().mtu_black_holes,
          world.net.digest()};
}

// 128 seeds, in shards that ctest runs side by side.
class MtuFall : public testing::TestWithParam<uint64_t> {};
constexpr uint64_t kShards = 4;
constexpr uint64_t kSeedsPerShard = 32;

TEST_P(MtuFall, TheTransferGoesOn) {
  Duration longest{};
  for (uint64_t i = 0; i < kSeedsPerShard; ++i) {
    const uint64_t seed = GetParam() * kSeedsPerShard + i;
    const MtuResult result = fall_and_rise(seed);
    longest = std::max(longest, result.longest_gap);
    EXPECT_LT(result.longest_gap, 3s) << "seed " << seed;
  }
  RecordProperty("longest_gap_ms", static_cast<int>(longest / 1ms));
}
TEST(QuicMtu, SameSeedSameDigest) {
  for (uint64_t seed : {3u, 8u}) EXPECT_EQ(fall_and_rise(seed).digest, fall_and_rise(seed).digest);
}

size_t mtu_of(Peer& peer) { return peer.connection().paths().active().max_datagram_size; }

// After a black hole the search begins again when a minute is over.
TEST(QuicMtu, RisesAgainAfterABlackHole) {
  LinkConfig link;
  link.bits_per_second = 4'000'000;
  TwoHosts world(1, link);
  ASSERT_TRUE(world.connect());
  world.client().send(kEndless);
  world.net.run_for(2s);
  EXPECT_GT(mtu_of(world.client()), 1400u);
  LinkConfig narrow = link;
  narrow.mtu = 1280 - kHeaders;
  world.set_links(narrow, link);
  world.net.run_for(3s);
  EXPECT_EQ(mtu_of(world.client()), 1200u);
  // More than one: large packets that were still in flight.
  const uint64_t black_holes = world.client().connection().paths().active().mtu_black_holes;
  EXPECT_GE(black_holes, 1u);
  world.set_links(link, link);
  world.net.run_for(65s);
  EXPECT_GT(mtu_of(world.client()), 1400u);
  EXPECT_EQ(world.client().connection().paths().active().mtu_black_holes, black_holes);
}

// Early probes let the core's timers fire before their time. The idle timeout, which is the peer's if that is
// shorter, must not be one of them.
TEST(QuicMtu, AShortIdleTimeoutOfThePeerIsNotCutShort) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    LinkConfig link;
    link.delay = std::chrono::milliseconds(20 + 5 * seed);
    link.bits_per_second = 4'000'000;
    link.queue_bytes = 20'000;
    quic::Limits limits;
    limits.idle_timeout = 3s;
    limits.keep_alive = 1s;
    TwoHosts world(seed, link);
    Host server(world.net, SocketAddr::v4({10, 0, 0, 3}, 443), TwoHosts::server_config(limits));
    std::unique_ptr<Peer> accepted;
    server.set_on_accepted(
        [&](auto connection) { accepted = std::make_unique<Peer>(std::move(connection)); });
    Peer client(world.client_host.connect(server.address(), test_key(2).public_key(), TwoHosts::kAlpn));
    ASSERT_TRUE(world.net.run_until([&] { return client.connected() && accepted; }, 10s)) << "seed " << seed;
    client.send(kEndless);
    accepted->send(kEndless);
    for (int i = 0; i < 10; ++i) {
      world.net.run_for(2s + std::chrono::milliseconds(37 * seed));
      LinkConfig silence = link;
      silence.loss = 1;
      for (const auto& [from, to] :
           {std::pair(&world.client_host, &server), std::pair(&server, &world.client_host)})
        world.net.set_link(*from, *to, silence);
      world.net.run_for(1s);
      for (const auto& [from, to] :
           {std::pair(&world.client_host, &server), std::pair(&server, &world.client_host)})
        world.net.set_link(*from, *to, link);
    }
    EXPECT_FALSE(client.closed || accepted->closed) << "seed " << seed;
  }
}

// Loss that has nothing to do with sizes may be taken for a black hole now and then, but not for ever.
TEST(QuicMtu, RandomLossIsNotABlackHoleForEver) {
  uint64_t black_holes = 0;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    LinkConfig lossy;
    lossy.delay = std::chrono::milliseconds(5 + 10 * seed);
    lossy.bits_per_second = 2'000'000;
    lossy.loss = 0.13;
    TwoHosts world(seed, lossy);
    ASSERT_TRUE(world.connect()) << "seed " << seed;
    world.client().send(kEndless);
    Duration low{};  // how long the MTU was that of a black hole
    for (int second = 0; second < 120; ++second) {
      world.net.run_for(1s);
      low = mtu_of(world.client()) > 1300 ? Duration{} : low + 1s;
      EXPECT_LT(low, 75s) << "seed " << seed;
    }
    black_holes += world.client().connection().paths().active().mtu_black_holes;
    EXPECT_FALSE(world.client().closed.has_value()) << "seed " << seed;
    lossy.loss = 0;
    world.set_links(lossy, lossy);
    world.net.run_for(65s);
    EXPECT_GT(mtu_of(world.client()), 1400u) << "seed " << seed;
  }
  RecordProperty("black_holes", static_cast<int>(black_holes));
}

INSTANTIATE_TEST_SUITE_P(Seeds, MtuFall, testing::Range(uint64_t{0}, kShards));

}  // namespace
}  // namespace culvert::sim
