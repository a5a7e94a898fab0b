// QUIC with sockets that are full, many streams, and many connections.
#include <gtest/gtest.h>

#include <algorithm>

#include "sim/two_hosts.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;

// ---- Full sockets

// A socket that is full at random moments for random times.
class MoodySink {
 public:
  MoodySink(Network& net, Host& host, Random& random, bool notifies)
      : net_(net), host_(host), random_(random), notifies_(notifies) {
    host.set_sink([this] { return takes_batch(); });
  }
  ~MoodySink() { host_.set_sink({}); }
  uint64_t refusals() const { return refusals_; }

 private:
  bool takes_batch() {
    if (!full_ && random_.below(20) == 0) {
      full_ = true;
      const auto pause = random_.below(10) == 0 ? random_.below(300'000) : random_.below(5'000);
      net_.at(net_.now() + std::chrono::microseconds(pause), [this, alive = std::weak_ptr(alive_)] {
        if (!alive.lock()) return;
        full_ = false;
        if (notifies_) host_.notify_writable();
      });
    }
    refusals_ += full_;
    return !full_;
  }

  Network& net_;
  Host& host_;
  Random& random_;
  bool notifies_;
  bool full_ = false;
  uint64_t refusals_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>();
};

uint64_t through_full_sockets(uint64_t seed, bool notifies) {
  SeededRandom choice(seed);
  LinkConfig link;
  link.delay = std::chrono::microseconds(100 + choice.below(50'000));
  link.bits_per_second = 0;  // no queue: whatever is lost was lost by us
  TwoHosts world(seed, link);
  const uint64_t up = 1 + choice.below(2'000'000);
  const uint64_t down = 1 + choice.below(1'000'000);
  world.server_answer = down;
  MoodySink client_sink(world.net, world.client_host, choice, notifies);
  MoodySink server_sink(world.net, world.server_host, choice, notifies);
  EXPECT_TRUE(world.connect()) << "seed " << seed;
  if (world.servers.empty()) return 0;
  world.client().send(up);
  EXPECT_TRUE(world.net.run_until(
      [&] {
        return !world.server().receivers.empty() && world.server().receivers[0]->finished() &&
               world.client().receivers[0]->finished();
      },
      60s))
      << "seed " << seed;
  if (world.server().receivers.empty()) return 0;
  EXPECT_EQ(world.server().receivers[0]->received(), up) << "seed " << seed;
  EXPECT_EQ(world.client().receivers[0]->received(), down) << "seed " << seed;
  EXPECT_TRUE(world.server().receivers[0]->intact() && world.client().receivers[0]->intact())
      << "seed " << seed;
  EXPECT_EQ(world.net.dropped(), 0u) << "seed " << seed;
  for (Peer* peer : {&world.client(), &world.server()}) {
    const quic::PathStats stats = peer->connection().paths().active();
    // Not retransmitted: a probe of the MTU, or an acknowledgement that the core no longer expects an answer
    // to.
    EXPECT_LE(stats.packets_lost, 1u) << "seed " << seed;
    EXPECT_EQ(stats.congestion_events, 0u) << "seed " << seed;
  }
  EXPECT_GT(client_sink.refusals() + server_sink.refusals(), 0u) << "seed " << seed;
  return world.net.digest();
}

TEST(QuicStress, AFullSocketIsNotLoss) {
  for (uint64_t seed = 0; seed < 60; ++seed) through_full_sockets(seed, true);
}

TEST(QuicStress, AFullSocketIsTriedAgainWithoutANotification) {
  for (uint64_t seed = 100; seed < 130; ++seed) through_full_sockets(seed, false);
}

TEST(QuicStress, SameSeedSameDigest) {
  EXPECT_EQ(through_full_sockets(7, true), through_full_sockets(7, true));
}

// ---- Congestion control

// How long 10 MB take.
Duration transfer_time(uint64_t seed, const LinkConfig& link, quic::CongestionControl control) {
  quic::Limits limits;
  limits.congestion_control = control;
  TwoHosts world(seed, link, limits);
  EXPECT_TRUE(world.connect()) << "seed " << seed;
  const TimePoint began = world.net.now();
  world.client().send(10'000'000);
  EXPECT_TRUE(world.net.run_until(
      [&] { return !world.server().receivers.empty() && world.server().receivers[0]->finished(); }, 600s))
      << "seed " << seed;
  EXPECT_TRUE(world.server().receivers[0]->intact()) << "seed " << seed;
  return world.net.now() - began;
}

TEST(QuicStress, BbrKeepsALossyPathBusy) {
  LinkConfig lossy;
  lossy.delay = 30ms;
  lossy.bits_per_second = 50'000'000;
  lossy.loss = 0.02;
  for (uint64_t seed = 0; seed < 3; ++seed) {
    const Duration cubic = transfer_time(seed, lossy, quic::CongestionControl::kCubic);
    const Duration bbr = transfer_time(seed, lossy, quic::CongestionControl::kBbr3);
    EXPECT_LT(2 * bbr, cubic) << "seed " << seed;
  }
}

}  // namespace
}  // namespace culvert::sim
