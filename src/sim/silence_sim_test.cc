// Peers that stop answering, and peers that only seem to.
#include <gtest/gtest.h>

#include "sim/two_hosts.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;
using quic::Silence;
using quic::SilenceWatch;

// ---- The decision alone

struct Watched {
  SilenceWatch watch;
  TimePoint start{1h};
  Duration pto = 50ms;
  bool can_send = true;
  std::optional<TimePoint> waiting = start;
  int probes = 0;

  bool look(Duration at, bool owed = true) {
    const bool probe = watch.look({owed, waiting, pto, can_send}, start + at);
    probes += probe ? 1 : 0;
    return probe;
  }
  // Looks when it is due, `late` after that, until something is decided or `end`.
  Duration until(Silence verdict, Duration late = {}, Duration end = 1h) {
    look({});
    Duration at{};
    while (watch.verdict() != verdict && at < end && watch.next_look() != TimePoint::max()) {
      at = watch.next_look() - start + late;
      look(at);
    }
    return at;
  }
};

TEST(SilenceWatch, DataWithoutAnswerMakesASuspectAndThenADeadPeer) {
  for (auto [pto, suspect, dead] : {std::tuple{1ms, 250ms, 2050ms}, std::tuple{50ms, 250ms, 2050ms},
                                    std::tuple{200ms, 600ms, 2000ms}, std::tuple{600ms, 1800ms, 4800ms}}) {
    Watched peer;
    peer.pto = pto;
    EXPECT_EQ(peer.until(Silence::kSuspect), suspect);
    EXPECT_EQ(peer.until(Silence::kDead), dead);
    EXPECT_GE(peer.probes, 5) << "as the comment at kLeastProbes says";
    EXPECT_EQ(peer.watch.next_look(), TimePoint::max());
    peer.waiting.reset();
    peer.look(dead + 1s);
    EXPECT_EQ(peer.watch.verdict(), Silence::kNone) << "anything authentic is enough";
  }
}

TEST(SilenceWatch, AnIdleConnectionIsNotJudged) {
  Watched peer;
  for (Duration at = 0s; at < 1min; at += 100ms) EXPECT_FALSE(peer.look(at, false));
  EXPECT_EQ(peer.watch.verdict(), Silence::kNone);
  EXPECT_EQ(peer.watch.next_look(), TimePoint::max());
}

TEST(SilenceWatch, ThisProcessesOwnPausesAreNoSilence) {
  Watched peer;
  peer.look({});
  EXPECT_TRUE(peer.look(1h)) << "a probe asks; the answers may wait in the socket";
  EXPECT_EQ(peer.watch.verdict(), Silence::kSuspect);
  EXPECT_TRUE(peer.look(2h));
  EXPECT_TRUE(peer.look(3h));
  EXPECT_EQ(peer.watch.verdict(), Silence::kSuspect) << "looked three times";
  Watched slow;
  EXPECT_GE(slow.until(Silence::kDead, 5s), 50s) << "of each pause a moment counts";
}

TEST(SilenceWatch, NothingIsConcludedWhileNothingCanBeSent) {
  Watched peer;
  peer.can_send = false;
  EXPECT_GE(peer.until(Silence::kSuspect, {}, 10s), 10s);
  EXPECT_EQ(peer.watch.verdict(), Silence::kNone);
}

TEST(SilenceWatch, EachNewSilenceBeginsAtItsOwnFirstPacket) {
  Watched peer;
  EXPECT_EQ(peer.until(Silence::kSuspect), 250ms);
  peer.waiting = peer.start + 300ms;  // it was heard, and something was sent since
  peer.look(320ms);
  EXPECT_EQ(peer.watch.verdict(), Silence::kNone);
  EXPECT_EQ(peer.watch.next_look(), peer.start + 550ms);
}

// ---- Over a network; the server watches

struct Watching : TwoHosts {
  explicit Watching(uint64_t seed, LinkConfig link = {}) : TwoHosts(seed, link, limits()), link_(link) {}
  static quic::Limits limits() {
    quic::Limits limits;
    limits.watch_silence = true;
    return limits;
  }
  bool ready() {
    if (!connect()) return false;
    net.run_for(2s);
    server().silences.clear();
    return true;
  }
  void cut(bool up, bool down) {
    LinkConfig dead = link_;
    dead.loss = 1;
    set_links(up ? dead : link_, down ? dead : link_);
  }
  quic::Connection& tunnel() { return server().connection(); }
  bool was_told(Silence verdict) { return std::ranges::count(server().silences, verdict) > 0; }
  // When the server comes to this verdict, from now on.
  std::optional<Duration> time_to(Silence verdict, Duration limit) {
    const TimePoint from = net.now();
    const bool came = net.run_until([&] { return was_told(verdict); }, limit);
    return came ? std::optional(net.now() - from) : std::nullopt;
  }
  LinkConfig link_;
};

TEST(SilenceSim, AVanishedPeerIsNoticedByTheDataThatItDoesNotAnswer) {
  for (auto [delay, suspect, dead] :
       {std::tuple{100us, 400ms, 2500ms}, std::tuple{10'000us, 500ms, 2500ms},
        std::tuple{50'000us, 900ms, 3000ms}, std::tuple{300'000us, 4000ms, 10'000ms}}) {
    for (bool whole : {true, false}) {  // both directions, or only what the peer sends
      Watching world(7, {.delay = delay});
      ASSERT_TRUE(world.ready());
      world.cut(true, whole);
      const TimePoint heard = world.tunnel().liveness().last_heard();
      world.server().send(1000);
      const auto suspected = world.time_to(Silence::kSuspect, 30s);
      ASSERT_TRUE(suspected);
      EXPECT_GE(*suspected, 240ms);
      EXPECT_LE(*suspected, suspect);
      const auto died = world.time_to(Silence::kDead, 30s);
      ASSERT_TRUE(died);
      EXPECT_LE(*suspected + *died, dead);
      EXPECT_GE(*suspected + *died, SilenceWatch::kDeadFloor);
      EXPECT_LE(world.tunnel().liveness().last_heard(), heard + 2 * delay);
      // Nobody closed it: it lives as soon as it is heard again.
      world.cut(false, false);
      ASSERT_TRUE(world.time_to(Silence::kNone, 30s));
      EXPECT_EQ(world.tunnel().state(), quic::Connection::State::kOpen);
    }
  }
}

TEST(SilenceSim, DatagramsAreDataThatAPeerAnswers) {
  Watching world(10);
  ASSERT_TRUE(world.ready());
  EXPECT_TRUE(world.tunnel().datagrams().send(as_bytes("answered")));
  world.net.run_for(5s);
  EXPECT_TRUE(world.server().silences.empty());
  world.cut(true, true);
  EXPECT_TRUE(world.tunnel().datagrams().send(as_bytes("lost")));
  EXPECT_TRUE(world.time_to(Silence::kDead, 5s));
}

TEST(SilenceSim, AnIdlePeerThatVanishesIsLeftToTheIdleTimeout) {
  Watching world(8);
  ASSERT_TRUE(world.ready());
  world.cut(true, true);
  EXPECT_TRUE(world.net.run_until([&] { return world.server().closed.has_value(); }, 40s));
  EXPECT_TRUE(world.server().silences.empty());
  EXPECT_EQ(world.server().closed->kind, quic::CloseReason::Kind::kIdleTimeout);
}

TEST(SilenceSim, TwentyPercentLossKillsNobodyInAMinute) {
  size_t suspected = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const LinkConfig link{.delay = std::array{100us, 10'000us, 40'000us, 150'000us}[seed % 4], .loss = 0.2};
    Watching world(seed, link);
    ASSERT_TRUE(world.connect(60s)) << "seed " << seed;
    // Single small streams: the worst case, as nothing follows that could bring an acknowledgement.
    for (int i = 0; i < 120 && !world.server().closed; ++i) {
      world.server().send(200 + 100 * static_cast<uint64_t>(i % 7));
      world.net.run_for(500ms);
    }
    EXPECT_FALSE(world.server().closed) << "seed " << seed;
    EXPECT_FALSE(world.was_told(Silence::kDead)) << "seed " << seed;
    suspected += static_cast<size_t>(std::ranges::count(world.server().silences, Silence::kSuspect));
  }
  // Of 7200: a suspicion costs little, but it must say something.
  EXPECT_LT(suspected, 360u);
}

TEST(SilenceSim, ASlowApplicationIsNoSilence) {
  Watching world(9);
  ASSERT_TRUE(world.ready());
  world.client().paused = true;
  world.server().send(50'000'000);  // fills its window
  world.net.run_for(60s);
  EXPECT_TRUE(world.server().silences.empty());
}

TEST(SilenceSim, ASlowPathWithAFullQueueIsNoSilence) {
  // Two seconds of queue: round trips grow a hundredfold within a few of them.
  Watching world(10, {.delay = 10ms, .bits_per_second = 1'000'000, .queue_bytes = 256 * 1024});
  ASSERT_TRUE(world.ready());
  world.server().send(4'000'000);
  world.net.run_for(60s);
  EXPECT_FALSE(world.was_told(Silence::kDead));
}

TEST(SilenceSim, JunkAndReplaysWithASeenIdKeepNobodyAlive) {
  Watching world(11);
  ASSERT_TRUE(world.ready());
  std::vector<Bytes> seen;
  world.net.set_tap([&](const SocketAddr& source, const SocketAddr&, ByteView data) {
    if (source == TwoHosts::kClientAddr) seen.push_back(to_bytes(data));
  });
  world.client().send(5000);
  world.net.run_for(1s);
  ASSERT_FALSE(seen.empty());
  world.net.set_tap(nullptr);
  world.cut(true, true);
  const TimePoint heard = world.tunnel().liveness().last_heard();
  const uint64_t datagrams = world.server_host.engine().counters().datagrams_received;
  for (int i = 1; i < 400; ++i) {
    world.net.at(world.net.now() + i * 20ms, [&, i] {
      Bytes junk = seen[static_cast<size_t>(i) % seen.size()];
      if (i % 2 == 0) junk.back() ^= 1;
      world.net.inject(TwoHosts::kClientAddr, TwoHosts::kServerAddr, std::move(junk));
    });
  }
  world.server().send(1000);
  ASSERT_TRUE(world.time_to(Silence::kSuspect, 30s));
  ASSERT_TRUE(world.time_to(Silence::kDead, 4s));
  EXPECT_GT(world.server_host.engine().counters().datagrams_received, datagrams + 50) << "it was seen";
  EXPECT_LE(world.tunnel().liveness().last_heard(), heard + 20ms);
}

TEST(SilenceSim, AStreamIsAnsweredByAnAcknowledgementOfWhatWasSentAfterIt) {
  Watching world(12, {.delay = 50ms});
  ASSERT_TRUE(world.ready());
  class Observer final : public quic::StreamObserver {
   public:
    void on_readable() override {}
    void on_writable() override { ++notified; }
    void on_closed() override {}
    int notified = 0;
  } observer;
  auto stream = world.tunnel().open_bidi();
  stream->set_observer(&observer);
  stream->write(as_bytes("hello"));
  stream->notify_answered();
  EXPECT_FALSE(stream->answered());
  world.net.run_for(90ms);
  EXPECT_FALSE(stream->answered() || observer.notified > 0);
  world.net.run_for(60ms);
  EXPECT_TRUE(stream->answered());
  EXPECT_EQ(observer.notified, 1);
  EXPECT_GT(world.tunnel().liveness().probe_timeout(), 100ms);
  EXPECT_LT(world.tunnel().liveness().probe_timeout(), 400ms);

  // What was on its way when the peer vanished acknowledges older packets only.
  auto before = world.tunnel().open_bidi();
  before->write(as_bytes("just before"));
  world.net.run_for(60ms);
  LinkConfig dead;
  dead.loss = 1;
  world.net.set_link(world.server_host, world.client_host, dead);
  auto after = world.tunnel().open_bidi();
  after->write(as_bytes("just after"));
  world.net.run_for(5s);
  EXPECT_TRUE(before->answered());
  EXPECT_FALSE(after->answered());
  stream->set_observer(nullptr);
}

}  // namespace
}  // namespace culvert::sim
