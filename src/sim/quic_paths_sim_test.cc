// Several paths of one connection: from a relay to a direct path through two NATs and back, and a backup path
// that is idle for long.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "sim/two_hosts.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;
using quic::PathId;
using quic::PathStats;

std::vector<PathStats> established_paths(const quic::Connection& connection) {
  std::vector<PathStats> paths = connection.paths().all();
  std::erase_if(paths, [](const PathStats& path) { return !path.established; });
  return paths;
}

// ---- Steering

// Steers one side of a connection over NATs, as an application does: the relay path is the backup while there
// is a direct one, a silent direct path is closed, and the client looks for another.
class Steerer {
 public:
  struct Config {
    Host& host;
    Nat& nat;
    SocketAddr relay;  // the peer's address at the relay
    bool is_client;
  };

  Steerer(Network& net, quic::Connection& connection, Config config)
      : net_(net), connection_(connection), config_(config) {}

  void start() { tick(); }
  // Data goes over a direct path.
  bool is_direct() const { return is_direct_; }
  const SocketAddr& candidate() const { return candidate_; }
  // Over all direct paths, and over all paths to the relay.
  uint64_t sent_directly() const { return sent(false); }
  uint64_t sent_over_relay() const { return sent(true); }

 private:
  static constexpr Duration kTick = 100ms;
  static constexpr Duration kSuspect = 1s;  // unanswered: asked by a ping
  static constexpr Duration kSilent = 3s;   // unanswered: closed
  static constexpr Duration kRound = 3s;
  static constexpr Duration kRelayIdle = 30s;
  static constexpr Duration kRelayKeepAlive = 8s;
  // Acknowledgements take the direct path, so what the peer sends on the relay path to keep it is answered by
  // a ping there.
  static constexpr Duration kRelayAnswer = 4s;

  struct Seen {
    bool relay = false;
    uint64_t received = 0;
    uint64_t sent = 0;
    TimePoint heard;
    std::optional<TimePoint> unanswered;  // since when
    uint64_t sent_at_heard = 0;
    bool pinged = false;
  };

  uint64_t sent(bool relay) const {
    uint64_t sum = 0;
    for (const auto& [id, seen] : seen_) sum += seen.relay == relay ? seen.sent : 0;
    return sum;
  }

  void tick() {
    advertise();
    look(net_.now());
    net_.at(net_.now() + kTick, [this, alive = std::weak_ptr(alive_)] {
      if (alive.lock()) tick();
    });
  }

  // A restarted NAT gives the host another outside address.
  void advertise() {
    const SocketAddr outside = config_.nat.map(config_.host.address());
    if (outside == candidate_) return;
    if (!candidate_.is_unspecified()) connection_.paths().remove_candidate(candidate_);
    candidate_ = outside;
    connection_.paths().add_candidate(candidate_);
  }

  void look(TimePoint now) {
    const std::vector<PathStats> paths = established_paths(connection_);
    const PathStats* relay = nullptr;
    const PathStats* direct = nullptr;
    for (const PathStats& path : paths) {
      note(path, now);
      (path.remote == config_.relay ? relay : direct) = &path;
    }
    is_direct_ = direct != nullptr && !direct->backup;
    if (relay == nullptr) {
      if (config_.is_client) (void)connection_.paths().open(config_.relay, true, now);
    } else {
      keep_relay(*relay, direct != nullptr, now);
    }
    if (direct != nullptr) {
      use_direct(*direct, relay != nullptr, now);
    } else if (config_.is_client && now >= next_round_) {
      (void)connection_.paths().punch(now);
      next_round_ = now + kRound;
    }
  }

  void note(const PathStats& path, TimePoint now) {
    auto [entry, is_new] = seen_.try_emplace(path.id);
    Seen& seen = entry->second;
    seen.relay = path.remote == config_.relay;
    seen.sent = path.bytes_sent;
    if (is_new || path.bytes_received != seen.received) {
      seen.received = path.bytes_received;
      seen.heard = now;
      seen.sent_at_heard = path.bytes_sent;
      seen.unanswered.reset();
      seen.pinged = false;
    } else if (!seen.unanswered && path.bytes_sent != seen.sent_at_heard) {
      seen.unanswered = now;
    }
  }

  void keep_relay(const PathStats& relay, bool backup, TimePoint now) {
    if (timed_ != relay.id) connection_.paths().set_timers(relay.id, kRelayIdle, kRelayKeepAlive, now);
    timed_ = relay.id;
    if (relay.backup != backup) connection_.paths().set_backup(relay.id, backup);
    if (backup && seen_.at(relay.id).heard > answered_ && now - answered_ >= kRelayAnswer) {
      answered_ = now;
      connection_.paths().ping(relay.id);
    }
  }

  void use_direct(const PathStats& direct, bool may_close, TimePoint now) {
    if (direct.backup) connection_.paths().set_backup(direct.id, false);
    Seen& seen = seen_.at(direct.id);
    if (!seen.unanswered || now - *seen.unanswered < kSuspect) return;
    if (!std::exchange(seen.pinged, true)) connection_.paths().ping(direct.id);
    if (may_close && now - *seen.unanswered >= kSilent) connection_.paths().close(direct.id, now);
  }

  Network& net_;
  quic::Connection& connection_;
  Config config_;
  SocketAddr candidate_;
  std::map<PathId, Seen> seen_;
  std::optional<PathId> timed_;  // the relay path that has its timers
  TimePoint answered_;           // the relay path, while it is the backup
  TimePoint next_round_;
  bool is_direct_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>();
};

// ---- Two hosts behind NATs

LinkConfig random_path(Random& random, uint64_t bits_per_second, uint64_t most_delay_ms) {
  LinkConfig link;
  link.delay = std::chrono::microseconds(1000 + random.below(1000 * most_delay_ms));
  link.bits_per_second = bits_per_second;
  link.queue_bytes = 60'000;
  if (random.below(3) > 0) {
    link.loss = static_cast<double>(random.below(20)) / 1000;
    link.duplicate = static_cast<double>(random.below(20)) / 1000;
    link.reorder = static_cast<double>(random.below(50)) / 1000;
  }
  return link;
}

// Both behind NATs that let in only what answers; they meet at a relay. Either or both send `kSize` bytes.
class BehindNats {
 public:
  static constexpr uint64_t kRelayRate = 3'000'000;
  static constexpr uint64_t kDirectRate = 6'000'000;
  static inline const SocketAddr kClientAtRelay = SocketAddr::v4({192, 0, 2, 2}, 3478);
  static inline const SocketAddr kServerAtRelay = SocketAddr::v4({192, 0, 2, 1}, 3478);

  explicit BehindNats(uint64_t seed) : choice(seed), net(seed) {
    client_host.set_nat(&client_nat);
    server_host.set_nat(&server_nat);
    client_host.set_relayed_address(kClientAtRelay);
    server_host.set_relayed_address(kServerAtRelay);
    const LinkConfig over_relay = random_path(choice, kRelayRate, 80);
    net.set_path(kClientAtRelay, kServerAtRelay, over_relay);
    net.set_path(kServerAtRelay, kClientAtRelay, over_relay);
    net.set_default_link(random_path(choice, kDirectRate, 50));
    server_host.set_on_accepted([this](std::shared_ptr<quic::Connection> accepted) {
      server = std::make_unique<Peer>(std::move(accepted));
      if (!client_sends_only) server->answer = size;
    });
    const uint64_t who = choice.below(3);
    client_sends_only = who == 0;
    server_sends_only = who == 1;
  }

  bool connect() {
    client = std::make_unique<Peer>(
        client_host.connect(kServerAtRelay, test_key(2).public_key(), TwoHosts::kAlpn));
    if (!net.run_until([&] { return client->connected() && server; }, 20s)) return false;
    client_steerer.emplace(net, client->connection(),
                           Steerer::Config{client_host, client_nat, kServerAtRelay, true});
    server_steerer.emplace(net, server->connection(),
                           Steerer::Config{server_host, server_nat, kClientAtRelay, false});
    return client->connection().paths().is_multipath();
  }
  void start_transfer() { client->send(server_sends_only ? 1 : size); }
  void start_steering() {
    server_steerer->start();
    client_steerer->start();
  }

  bool both_are(bool direct) const {
    return client_steerer->is_direct() == direct && server_steerer->is_direct() == direct;
  }
  Receiver* receiver_at_server() const {
    return server_sends_only || server->receivers.empty() ? nullptr : server->receivers[0].get();
  }
  Receiver* receiver_at_client() const { return client_sends_only ? nullptr : client->receivers[0].get(); }
  std::vector<Receiver*> receivers() const {
    std::vector<Receiver*> out;
    for (Receiver* each : {receiver_at_server(), receiver_at_client()}) {
      if (each != nullptr) out.push_back(each);
    }
    return out;
  }
  bool is_in_progress() const {
    return std::ranges::none_of(receivers(), [](Receiver* each) { return each->finished(); });
  }
  // Every transfer goes on.
  bool progresses(Duration limit) {
    std::vector<uint64_t> before;
    for (Receiver* each : receivers()) before.push_back(each->received());
    return net.run_until(
        [&] {
          const std::vector<Receiver*> now = receivers();
          for (size_t i = 0; i < now.size(); ++i) {
            if (!now[i]->finished() && now[i]->received() < before[i] + 50'000) return false;
          }
          return true;
        },
        limit);
  }
  bool run_to_the_end() {
    return net.run_until(
        [&] { return std::ranges::all_of(receivers(), [](Receiver* each) { return each->finished(); }); },
        120s);
  }
  void check_streams() {
    for (Receiver* each : receivers()) {
      EXPECT_TRUE(each->finished() && each->intact()) << each->received();
      EXPECT_EQ(each->received(), size);
    }
    EXPECT_FALSE(client->closed || server->closed);
    EXPECT_EQ(server_host.engine().counters().core_faults + client_host.engine().counters().core_faults, 0u);
  }
  // On both sides, and for both sides: the relay path is there and carries nothing while there is another.
  void check_relay_is_backup() {
    for (Peer* peer : {client.get(), server.get()}) {
      const SocketAddr& relay = peer == client.get() ? kServerAtRelay : kClientAtRelay;
      const std::vector<PathStats> paths = established_paths(peer->connection());
      auto found = std::ranges::find(paths, relay, &PathStats::remote);
      ASSERT_NE(found, paths.end());
      EXPECT_TRUE(found->backup && found->remote_backup);
    }
  }

  SeededRandom choice;
  Network net;
  Nat client_nat{SocketAddr::v4({203, 0, 113, 2}, 20'000)};
  Nat server_nat{SocketAddr::v4({203, 0, 113, 1}, 30'000)};
  Host client_host{net, TwoHosts::kClientAddr, {.key = test_key(1), .limits = {}}};
  Host server_host{net, TwoHosts::kServerAddr, TwoHosts::server_config({})};
  bool client_sends_only = false;
  bool server_sends_only = false;
  uint64_t size = 0;
  std::unique_ptr<Peer> client;
  std::unique_ptr<Peer> server;
  std::optional<Steerer> client_steerer;
  std::optional<Steerer> server_steerer;
};

uint64_t punch_in_mid_transfer(uint64_t seed) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  BehindNats world(seed);
  world.size = 3'000'000;
  EXPECT_TRUE(world.connect());
  if (testing::Test::HasFailure()) return 0;
  world.start_transfer();
  world.net.run_for(std::chrono::milliseconds(world.choice.below(1500)));
  EXPECT_EQ(established_paths(world.client->connection()).size(), 1u);
  world.start_steering();
  EXPECT_TRUE(world.net.run_until([&] { return world.both_are(true); }, 15s));
  EXPECT_TRUE(world.is_in_progress());

  // What was sent over the relay is still to be acknowledged.
  world.net.run_for(500ms);
  world.check_relay_is_backup();
  struct Sent {
    uint64_t directly, over_relay;
  };
  auto sent = [](const Steerer& steerer) { return Sent{steerer.sent_directly(), steerer.sent_over_relay()}; };
  const Sent client_before = sent(*world.client_steerer);
  const Sent server_before = sent(*world.server_steerer);
  EXPECT_TRUE(world.run_to_the_end());
  world.net.run_for(200ms);  // the steerers look
  const Sent client_after = sent(*world.client_steerer);
  const Sent server_after = sent(*world.server_steerer);
  if (!world.server_sends_only) EXPECT_GT(client_after.directly, client_before.directly + 100'000);
  if (!world.client_sends_only) EXPECT_GT(server_after.directly, server_before.directly + 100'000);
  // Pings, keep-alives and probes of the MTU.
  EXPECT_LT(client_after.over_relay, client_before.over_relay + 20'000);
  EXPECT_LT(server_after.over_relay, server_before.over_relay + 20'000);
  world.check_streams();
  world.check_relay_is_backup();
  EXPECT_TRUE(world.both_are(true));
  return world.net.digest();
}

TEST(QuicPaths, PunchingMovesATransferFromTheRelayToADirectPath) {
  for (uint64_t seed = 0; seed < 50 && !HasFailure(); ++seed) punch_in_mid_transfer(seed);
}

TEST(QuicPaths, SameSeedSameDigest) {
  for (uint64_t seed : {5u, 17u}) EXPECT_EQ(punch_in_mid_transfer(seed), punch_in_mid_transfer(seed));
}

// ---- The direct path fails

enum class Failure { kBothWays, kClientToServer, kServerToClient, kClientNat, kServerNat };

void fail(BehindNats& world, Failure failure, bool fails) {
  if (failure == Failure::kClientNat || failure == Failure::kServerNat) {
    if (fails) (failure == Failure::kClientNat ? world.client_nat : world.server_nat).rebind();
    return;
  }
  LinkConfig dead;
  dead.loss = 1;
  const LinkConfig alive = random_path(world.choice, BehindNats::kDirectRate, 50);
  const SocketAddr& client = world.client_steerer->candidate();
  const SocketAddr& server = world.server_steerer->candidate();
  if (failure != Failure::kServerToClient) world.net.set_path(client, server, fails ? dead : alive);
  if (failure != Failure::kClientToServer) world.net.set_path(server, client, fails ? dead : alive);
}

// The core (noq-proto 1.4) sends again what was in flight on a closed path three PTO later, when it forgets
// the path. An acknowledgement of that path that comes over the relay, seconds late, makes that long.
constexpr Duration kLongestStall = 20s;

// Returns how long the transfer stood still.
Duration lose_the_direct_path(uint64_t seed) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  BehindNats world(seed);
  world.size = 7'000'000;
  const auto failure = static_cast<Failure>(seed % 5);
  EXPECT_TRUE(world.connect());
  if (testing::Test::HasFailure()) return {};
  world.start_transfer();
  world.start_steering();
  EXPECT_TRUE(world.net.run_until([&] { return world.both_are(true); }, 15s));
  world.net.run_for(std::chrono::milliseconds(world.choice.below(1500)));
  EXPECT_TRUE(world.is_in_progress());
  if (testing::Test::HasFailure()) return {};

  auto sent_directly = [&] {
    return world.client_steerer->sent_directly() + world.server_steerer->sent_directly();
  };
  const TimePoint failed_at = world.net.now();
  uint64_t before = sent_directly();
  fail(world, failure, true);
  if (failure != Failure::kClientNat && failure != Failure::kServerNat) {
    EXPECT_TRUE(world.net.run_until([&] { return world.both_are(false); }, 8s));
    EXPECT_TRUE(world.progresses(kLongestStall));
    EXPECT_TRUE(world.both_are(false));
    EXPECT_TRUE(world.is_in_progress());
    before = sent_directly();
    fail(world, failure, false);
  } else {
    // The next round may find the new addresses at once.
    EXPECT_TRUE(world.net.run_until([&] { return !world.both_are(true); }, 8s));
    EXPECT_TRUE(world.progresses(kLongestStall));
  }
  const Duration stall = world.net.now() - failed_at;
  EXPECT_TRUE(world.net.run_until([&] { return world.both_are(true); }, 15s));
  EXPECT_TRUE(world.run_to_the_end());
  world.net.run_for(200ms);  // the steerers look
  EXPECT_GT(sent_directly(), before + 100'000);
  world.check_streams();
  world.check_relay_is_backup();
  EXPECT_TRUE(world.both_are(true));
  return stall;
}

// 50 seeds, in shards that ctest runs side by side.
class DirectPathFails : public testing::TestWithParam<uint64_t> {};
constexpr uint64_t kShards = 2;
constexpr uint64_t kSeedsPerShard = 25;

TEST_P(DirectPathFails, TheTransferGoesOnOverTheRelayAndReturns) {
  Duration longest{};
  for (uint64_t i = 0; i < kSeedsPerShard && !HasFailure(); ++i)
    longest = std::max(longest, lose_the_direct_path(GetParam() * kSeedsPerShard + i));
  RecordProperty("longest_stall_ms", static_cast<int>(longest / 1ms));
}
INSTANTIATE_TEST_SUITE_P(Seeds, DirectPathFails, testing::Range(uint64_t{0}, kShards));

// ---- A backup path that is idle for long

// Neither NATs nor a relay: the server has a second address, and the path to it is the backup. Its timers are
// such that it lives as long as each timer fires in its own time: each side hears something in less than
// kIdle, but so late that an early probe could let the idle timeout fire (it may fire what is due within the
// shortest keep-alive, see probe.rs).
class IdleBackup {
 public:
  // What keeps the path, on both sides.
  enum class Keeps { kPings, kAnsweredKeepAlives };
  static constexpr Duration kIdle = 10s;
  static constexpr Duration kKeepAlive = 7s;
  static constexpr Duration kAnswer = 8s;  // at most one in this time
  static inline const SocketAddr kSecondAddr = SocketAddr::v4({10, 7, 7, 7}, 443);

  IdleBackup(uint64_t seed, Keeps keeps)
      : choice(seed), world(seed, random_path(choice, 20'000'000, 60)), keeps_(keeps) {
    LinkConfig quiet;
    quiet.delay = std::chrono::milliseconds(1 + choice.below(100));
    world.net.set_path(TwoHosts::kClientAddr, kSecondAddr, quiet);
    world.net.set_path(kSecondAddr, TwoHosts::kClientAddr, quiet);
    world.server_host.add_address(kSecondAddr);
  }

  bool open() {
    if (!world.connect()) return false;
    world.net.run_for(1s);
    auto opened = client().paths().open(kSecondAddr, true, world.net.now());
    if (!opened) return false;
    backup = *opened;
    if (!world.net.run_until([&] { return has_backup(client()) && has_backup(server()); }, 10s)) return false;
    server().paths().set_backup(backup, true);
    const Duration keep_alive = keeps_ == Keeps::kPings ? 0s : kKeepAlive;
    for (quic::Connection* each : {&client(), &server()}) {
      if (!each->paths().set_timers(backup, kIdle, keep_alive, world.net.now())) return false;
    }
    keep();
    return true;
  }
  // Of a few bytes, at random moments, on the other path.
  void talk(Peer& peer) {
    streams.push_back(peer.connection().open_uni());
    write(*streams.back());
  }

  quic::Connection& client() { return world.client().connection(); }
  quic::Connection& server() { return world.server().connection(); }
  bool has_backup(const quic::Connection& connection) const {
    const std::vector<PathStats> paths = established_paths(connection);
    return std::ranges::count(paths, backup, &PathStats::id) > 0;
  }

  SeededRandom choice;
  TwoHosts world;
  PathId backup = 0;
  std::vector<std::shared_ptr<quic::Stream>> streams;

 private:
  struct Answerer {
    uint64_t heard = 0;  // bytes, until the last answer
    TimePoint answered;
  };

  // Acknowledgements take the other path, so a keep-alive must be answered by a ping.
  void keep() {
    if (keeps_ == Keeps::kPings) {
      client().paths().ping(backup);
      server().paths().ping(backup);
    } else {
      answer(client(), client_answers_);
      answer(server(), server_answers_);
    }
    const Duration pause = keeps_ == Keeps::kPings ? kKeepAlive : 100ms;
    world.net.at(world.net.now() + pause, [this] { keep(); });
  }
  void answer(quic::Connection& connection, Answerer& answerer) {
    const std::vector<PathStats> paths = connection.paths().all();
    auto found = std::ranges::find(paths, backup, &PathStats::id);
    if (found == paths.end() || found->bytes_received == answerer.heard) return;
    if (world.net.now() - answerer.answered < kAnswer) return;
    answerer = {found->bytes_received, world.net.now()};
    connection.paths().ping(backup);
  }
  void write(quic::Stream& stream) {
    stream.write(Bytes(1 + choice.below(300)));
    world.net.at(world.net.now() + std::chrono::milliseconds(100 + choice.below(400)),
                 [this, &stream] { write(stream); });
  }

  Keeps keeps_;
  Answerer client_answers_;
  Answerer server_answers_;
};

void keep_a_backup(uint64_t seed, IdleBackup::Keeps keeps) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  IdleBackup test(seed, keeps);
  Network& net = test.world.net;
  ASSERT_TRUE(test.open());
  const uint64_t who = seed % 3;
  if (who != 1) test.talk(test.world.client());
  if (who != 0) test.talk(test.world.server());
  const TimePoint opened = net.now();
  while (net.now() < opened + 4min) {
    net.run_for(1s);
    ASSERT_TRUE(test.has_backup(test.client()))
        << "the client's, after " << (net.now() - opened) / 1s << " s";
    ASSERT_TRUE(test.has_backup(test.server()))
        << "the server's, after " << (net.now() - opened) / 1s << " s";
  }
  // The backup path can still carry data.
  ASSERT_TRUE(test.client().paths().close(0, net.now()));
  test.world.client().send(100'000);
  EXPECT_TRUE(net.run_until(
      [&] {
        return std::ranges::any_of(test.world.server().receivers, [](auto& each) {
          return each->stream().is_bidirectional() && each->finished() && each->intact();
        });
      },
      10s));
  EXPECT_EQ(test.client().paths().active().remote, IdleBackup::kSecondAddr);
}

TEST(QuicPaths, AnIdleBackupWithPingsOutlivesItsTimeout) {
  for (uint64_t seed = 0; seed < 25 && !HasFailure(); ++seed) keep_a_backup(seed, IdleBackup::Keeps::kPings);
}

TEST(QuicPaths, AnIdleBackupWithAnsweredKeepAlivesOutlivesItsTimeout) {
  for (uint64_t seed = 25; seed < 50 && !HasFailure(); ++seed)
    keep_a_backup(seed, IdleBackup::Keeps::kAnsweredKeepAlives);
}

}  // namespace
}  // namespace culvert::sim
