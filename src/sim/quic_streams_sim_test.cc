// Many streams of one connection under loss: each may be reset by its sender, stopped by its receiver, or
// read by a slow application, at any moment.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>

#include "sim/two_hosts.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;

struct Outcomes {
  size_t finished = 0;
  size_t reset = 0;    // the receiver saw the reset
  size_t stopped = 0;  // the sender saw the stop
  size_t paused = 0;   // finished although the reader paused
};

// One direction of a stream: what is planned, and what happened.
struct Flow {
  uint64_t size = 0;
  std::optional<Duration> reset_after;
  std::optional<Duration> stop_after;
  std::vector<Duration> pauses;  // alternately paused and resumed after these times
  quic::AppCode reset_code = 0;
  quic::AppCode stop_code = 0;

  std::unique_ptr<Sender> sender;
  std::unique_ptr<Receiver> receiver;
  bool reset_called = false;
  bool stop_called = false;

  quic::Stream& sending() const { return sender->stream(); }
  quic::Stream& receiving() const { return receiver->stream(); }
  bool sender_ended() const {
    return sender && (reset_called || sending().all_acknowledged() || sending().was_stopped());
  }
  bool receiver_ended() const {
    return receiver && (stop_called || receiver->finished() || receiving().was_reset());
  }

  void check(Outcomes& outcomes) const {
    ASSERT_TRUE(sender_ended()) << "the sender hangs after " << (sender ? sender->written() : 0) << " of "
                                << size;
    ASSERT_TRUE(receiver_ended()) << "the receiver hangs after " << (receiver ? receiver->received() : 0)
                                  << " of " << sender->written();
    EXPECT_TRUE(receiver->intact());
    EXPECT_LE(receiver->received(), sender->written());
    EXPECT_FALSE(receiving().was_evicted());
    EXPECT_FALSE(sending().was_stopped() && sending().all_acknowledged());
    if (sending().was_stopped()) {
      EXPECT_TRUE(stop_called);
      EXPECT_EQ(sending().stop_code(), stop_code);
      ++outcomes.stopped;
    }
    if (receiving().was_reset()) {
      EXPECT_TRUE(reset_called);
      EXPECT_FALSE(receiver->finished());
      EXPECT_EQ(receiving().reset_code(), reset_code);
      ++outcomes.reset;
    } else if (receiver->finished() && !stop_called) {
      EXPECT_EQ(receiver->received(), size);
      ++outcomes.finished;
      outcomes.paused += !pauses.empty();
    }
    if (!reset_called && !stop_called) {
      EXPECT_TRUE(receiver->finished());
      EXPECT_TRUE(sending().all_acknowledged());
    }
  }
};

struct Exchange {
  bool unidirectional;
  Flow there;  // from the side that opened the stream
  Flow back;   // bidirectional streams

  bool ended() const {
    return there.sender_ended() && there.receiver_ended() &&
           (unidirectional || (back.sender_ended() && back.receiver_ended()));
  }
};

Flow random_flow(Random& random) {
  auto up_to = [&](Duration most) {
    return Duration(static_cast<Duration::rep>(random.below(static_cast<uint64_t>(most.count()))));
  };
  Flow flow;
  constexpr std::array<uint64_t, 8> kSizes = {1, 3'000, 3'000, 3'000, 3'000, 20'000, 20'000, 150'000};
  flow.size = random.below(kSizes[random.below(kSizes.size())]);
  const uint64_t fate = random.below(10);
  if (fate < 3) flow.reset_after = random.below(4) == 0 ? 0ms : up_to(1500ms);
  if (fate >= 2 && fate < 5) flow.stop_after = random.below(4) == 0 ? 0ms : up_to(1500ms);
  flow.reset_code = 1'000 + random.below(1'000'000);
  flow.stop_code = 2'000'000 + random.below(1'000'000);
  if (random.below(3) == 0) {
    for (uint64_t turns = 1 + random.below(3); turns > 0; --turns) {
      flow.pauses.push_back(random.below(2) == 0 ? 0ms : up_to(1s));
      flow.pauses.push_back(flow.pauses.back() + up_to(2s));
    }
    std::ranges::sort(flow.pauses);
  }
  return flow;
}

// One of the two peers: accepts and opens streams, and plays its part of each.
class Player final : public quic::ConnectionObserver {
 public:
  using Exchanges = std::map<quic::StreamId, Exchange>;

  Player(Network& net, std::shared_ptr<quic::Connection> connection, Random& random, Exchanges& exchanges)
      : net_(net), connection_(std::move(connection)), random_(random), exchanges_(exchanges) {
    connection_->set_observer(this);
  }
  ~Player() override { connection_->set_observer(nullptr); }

  quic::Connection& connection() { return *connection_; }
  const std::optional<quic::CloseReason>& closed() const { return closed_; }
  size_t left_to_open() const { return wanted_[0] + wanted_[1]; }

  // One more, at once or when the peer allows it.
  void want_stream(bool unidirectional) {
    ++wanted_[unidirectional];
    on_streams();
  }
  // As many as the peer allows now, each with a few bytes.
  size_t open_all(bool unidirectional) {
    size_t count = 0;
    while (auto stream = open(unidirectional)) {
      Exchange exchange{.unidirectional = unidirectional, .there = {}, .back = {}};
      exchange.there.size = 100;
      start(std::move(stream), std::move(exchange));
      ++count;
    }
    return count;
  }

  void on_connected() override {}
  void on_streams() override {
    while (auto stream = connection_->accept_bidi()) accepted(std::move(stream));
    while (auto stream = connection_->accept_uni()) accepted(std::move(stream));
    for (bool unidirectional : {false, true}) {
      while (wanted_[unidirectional] > 0) {
        auto stream = open(unidirectional);
        if (!stream) break;
        --wanted_[unidirectional];
        start(std::move(stream), {unidirectional, random_flow(random_), random_flow(random_)});
      }
    }
  }
  void on_datagrams() override {}
  void on_closed(const quic::CloseReason& reason) override { closed_ = reason; }

 private:
  std::shared_ptr<quic::Stream> open(bool unidirectional) {
    return unidirectional ? connection_->open_uni() : connection_->open_bidi();
  }

  void start(std::shared_ptr<quic::Stream> stream, Exchange exchange) {
    auto [entry, is_new] = exchanges_.emplace(stream->id(), std::move(exchange));
    ASSERT_TRUE(is_new);
    send(stream, entry->second.there);
    if (!entry->second.unidirectional) receive(stream, entry->second.back);
  }

  void accepted(std::shared_ptr<quic::Stream> stream) {
    auto found = exchanges_.find(stream->id());
    ASSERT_NE(found, exchanges_.end());
    receive(stream, found->second.there);
    if (!found->second.unidirectional) send(stream, found->second.back);
  }

  void send(std::shared_ptr<quic::Stream> stream, Flow& flow) {
    flow.sender = std::make_unique<Sender>(std::move(stream), flow.size);
    if (!flow.reset_after) return;
    net_.at(net_.now() + *flow.reset_after, [&flow] {
      if (flow.sending().all_acknowledged() || flow.sending().was_stopped()) return;
      flow.reset_called = true;
      flow.sending().reset(flow.reset_code);
    });
  }

  void receive(std::shared_ptr<quic::Stream> stream, Flow& flow) {
    flow.receiver = std::make_unique<Receiver>(std::move(stream));
    for (size_t i = 0; i < flow.pauses.size(); ++i) {
      net_.at(net_.now() + flow.pauses[i],
              [&flow, i] { i % 2 == 0 ? flow.receiver->pause() : flow.receiver->resume(); });
    }
    if (!flow.stop_after) return;
    net_.at(net_.now() + *flow.stop_after, [&flow] {
      if (flow.receiver_ended()) return;
      flow.stop_called = true;
      flow.receiving().stop(flow.stop_code);
    });
  }

  Network& net_;
  std::shared_ptr<quic::Connection> connection_;
  Random& random_;
  Exchanges& exchanges_;
  std::array<size_t, 2> wanted_{};  // by unidirectional
  std::optional<quic::CloseReason> closed_;
};

struct StreamsCase {
  explicit StreamsCase(uint64_t case_seed)
      : seed(case_seed),
        choice(case_seed),
        link(random_link(choice)),
        limits(random_limits(choice)),
        world(case_seed, link, limits) {
    world.server_host.set_on_accepted([this](std::shared_ptr<quic::Connection> accepted) {
      server.emplace(world.net, std::move(accepted), choice, exchanges);
    });
  }

  static quic::Limits random_limits(Random& random) {
    quic::Limits limits;
    limits.handshake_timeout = 60s;
    // With fewer than eight, each stream is given back at once.
    limits.max_streams_bidi = random.below(3) == 0 ? 3 + random.below(5) : 8 + random.below(120);
    limits.max_streams_uni = random.below(3) == 0 ? 3 + random.below(5) : 8 + random.below(60);
    limits.max_stream_window = uint64_t{64 * 1024} << random.below(4);
    return limits;
  }

  bool connect() {
    auto connection =
        world.client_host.connect(TwoHosts::kServerAddr, test_key(2).public_key(), TwoHosts::kAlpn);
    client.emplace(world.net, std::move(connection), choice, exchanges);
    return world.net.run_until(
        [&] { return server && client->connection().state() == quic::Connection::State::kOpen; }, 60s);
  }

  // Each at a random moment of two seconds.
  void want_streams(Player& player, uint64_t count) {
    for (; count > 0; --count) {
      const bool unidirectional = choice.below(4) == 0;
      world.net.at(world.net.now() + std::chrono::microseconds(choice.below(2'000'000)),
                   [this, &player, unidirectional] {
                     player.want_stream(unidirectional);
                     --not_due;
                   });
      ++not_due;
    }
  }

  bool run_to_the_end() {
    return world.net.run_until(
        [&] {
          return client->closed() || server->closed() ||
                 (not_due == 0 && client->left_to_open() + server->left_to_open() == 0 &&
                  std::ranges::all_of(exchanges, [](auto& entry) { return entry.second.ended(); }));
        },
        900s);
  }

  void check_flows(Outcomes& outcomes) {
    for (auto& [id, exchange] : exchanges) {
      SCOPED_TRACE("seed " + std::to_string(seed) + ", stream " + std::to_string(id));
      exchange.there.check(outcomes);
      if (!exchange.unidirectional) {
        SCOPED_TRACE("back");
        exchange.back.check(outcomes);
      }
    }
  }

  void check_nothing_is_left() {
    for (Player* player : {&*client, &*server}) {
      EXPECT_FALSE(player->closed()) << "seed " << seed << ": " << player->closed()->message;
      EXPECT_EQ(player->connection().streams().reading().buffered(), 0u) << "seed " << seed;
    }
    for (Host* host : {&world.client_host, &world.server_host}) {
      EXPECT_EQ(host->engine().memory().received, 0u) << "seed " << seed;
      EXPECT_EQ(host->engine().counters().core_faults, 0u) << "seed " << seed;
      const quic::EngineCounters counters = host->engine().counters();
      EXPECT_EQ(
          counters.evicted_endpoint_full + counters.evicted_connection_full + counters.evicted_small_frames,
          0u)
          << "seed " << seed;
    }
  }

  uint64_t seed;
  SeededRandom choice;
  LinkConfig link;
  quic::Limits limits;
  Player::Exchanges exchanges;
  TwoHosts world;
  std::optional<Player> client;
  std::optional<Player> server;
  size_t not_due = 0;
};

uint64_t play(uint64_t seed, Outcomes& outcomes) {
  StreamsCase c(seed);
  EXPECT_TRUE(c.connect()) << "seed " << seed;
  if (!c.server) return 0;
  c.want_streams(*c.client, 24 + c.choice.below(76));
  c.want_streams(*c.server, c.choice.below(20));
  c.run_to_the_end();
  c.check_flows(outcomes);
  c.world.net.run_for(30s);
  c.check_nothing_is_left();

  // Every stream was given back, but for a group that is not complete (Limits::max_streams_bidi).
  c.exchanges.clear();
  for (Player* player : {&*c.client, &*c.server}) {
    for (bool unidirectional : {false, true}) {
      const uint64_t limit = unidirectional ? c.limits.max_streams_uni : c.limits.max_streams_bidi;
      const size_t opened = player->open_all(unidirectional);
      EXPECT_LE(opened, limit) << "seed " << seed;
      EXPECT_GE(opened, limit - limit / 8) << "seed " << seed;
    }
  }
  c.run_to_the_end();
  Outcomes others;
  c.check_flows(others);
  c.world.net.run_for(10s);
  c.check_nothing_is_left();
  return c.world.net.digest();
}

// 240 seeds, in shards that ctest runs side by side.
class ManyStreams : public testing::TestWithParam<uint64_t> {};
constexpr uint64_t kShards = 4;
constexpr uint64_t kSeedsPerShard = 60;

TEST_P(ManyStreams, EachEndsAsItsPeersWanted) {
  Outcomes outcomes;
  for (uint64_t i = 0; i < kSeedsPerShard && !HasFailure(); ++i)
    play(GetParam() * kSeedsPerShard + i, outcomes);
  EXPECT_GT(outcomes.finished, 1000u);
  EXPECT_GT(outcomes.reset, 300u);
  EXPECT_GT(outcomes.stopped, 300u);
  EXPECT_GT(outcomes.paused, 300u);
}
INSTANTIATE_TEST_SUITE_P(Seeds, ManyStreams, testing::Range(uint64_t{0}, kShards));

TEST(QuicStreams, SameSeedSameDigest) {
  Outcomes outcomes;
  for (uint64_t seed : {11u, 42u, 1000u}) EXPECT_EQ(play(seed, outcomes), play(seed, outcomes)) << seed;
  EXPECT_NE(play(11, outcomes), play(12, outcomes));
}

}  // namespace
}  // namespace culvert::sim
