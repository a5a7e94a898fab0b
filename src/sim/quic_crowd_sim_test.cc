// Hundreds of connections on one server engine: they transfer, close, vanish and move at the same time, and
// the surplus is refused.
#include <gtest/gtest.h>

#include <algorithm>

#include "sim/two_hosts.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;
using Kind = quic::CloseReason::Kind;

// RFC 9000, 20.1
constexpr uint64_t kConnectionRefused = 2;

// A server and several hosts, each of which dials any number of times.
struct Crowd {
  Crowd(uint64_t seed, const LinkConfig& link, size_t host_count, quic::EndpointLimits caps = {})
      : net(seed), server_host(net, TwoHosts::kServerAddr, TwoHosts::server_config({}, caps)) {
    net.set_default_link(link);
    for (size_t i = 0; i < host_count; ++i) {
      const auto number = static_cast<uint8_t>(i);
      hosts.push_back(std::make_unique<Host>(
          net, SocketAddr::v4({10, 1, 0, number}, 50'000),
          quic::Engine::Config{.key = test_key(static_cast<uint8_t>(10 + number)), .limits = {}}));
    }
    server_host.set_on_accepted([this](std::shared_ptr<quic::Connection> accepted) {
      servers.push_back(std::make_unique<Peer>(std::move(accepted)));
      if (on_accepted) on_accepted(*servers.back());
    });
  }

  std::unique_ptr<Peer> dial(Host& host) {
    return std::make_unique<Peer>(
        host.connect(TwoHosts::kServerAddr, test_key(2).public_key(), TwoHosts::kAlpn));
  }
  quic::Engine& engine() { return server_host.engine(); }

  void check_nothing_is_left() {
    std::vector<Host*> all = {&server_host};
    for (auto& host : hosts) all.push_back(host.get());
    for (Host* host : all) {
      EXPECT_EQ(host->engine().connection_count(), 0u);
      EXPECT_EQ(host->engine().unfinished_handshakes(), 0u);
      EXPECT_EQ(host->engine().memory().received, 0u);
      EXPECT_EQ(host->engine().counters().core_faults, 0u);
    }
  }

  Network net;
  Host server_host;
  std::vector<std::unique_ptr<Host>> hosts;
  std::vector<std::unique_ptr<Peer>> servers;
  std::function<void(Peer&)> on_accepted;
};

bool has_received_all(const Peer& peer) {
  return std::ranges::all_of(peer.receivers,
                             [](const auto& receiver) { return receiver->finished() && receiver->intact(); });
}

// ---- All at the same time

constexpr size_t kPerHost = 60;
constexpr size_t kMoving = 3;     // of the hosts: moves in mid-transfer
constexpr size_t kVanishing = 4;  // its link fails in mid-transfer
constexpr size_t kDeaf = 5;       // never receives an answer
constexpr size_t kHosts = 6;
constexpr size_t kDeafConnections = 10;
constexpr size_t kStreams = 3;
constexpr quic::AppCode kFirstCode = 1000;

struct Member {
  size_t number;
  Host& host;
  bool closes;     // in mid-transfer
  bool by_server;  // then: the server closes
  bool vanishes;
  std::unique_ptr<Peer> client = {};
  Peer* server = nullptr;

  // Of its first stream: the server recognises a member by it.
  uint64_t first_size() const { return kFirstCode + number; }
  quic::AppCode code() const { return kFirstCode + number; }
  bool stays() const { return !closes && !vanishes; }
  bool has_completed() const {
    return server != nullptr && client->receivers.size() == kStreams &&
           server->receivers.size() == kStreams && has_received_all(*client) && has_received_all(*server);
  }
};

// False: each packet that carried the code was lost.
bool check_close_with_code(const Member& member) {
  const quic::CloseReason& reason = *(member.by_server ? *member.client : *member.server).closed;
  if (reason.kind != Kind::kApplication) {
    EXPECT_TRUE(reason.kind == Kind::kIdleTimeout || reason.kind == Kind::kStatelessReset) << reason.message;
    return false;
  }
  EXPECT_EQ(reason.code, member.code());
  EXPECT_EQ(reason.message, "enough");
  return true;
}

LinkConfig lossy_link(Random& random) {
  LinkConfig link;
  link.delay = std::chrono::milliseconds(1 + random.below(60));
  link.loss = static_cast<double>(5 + random.below(25)) / 1000;
  link.duplicate = 0.01;
  link.reorder = 0.03;
  return link;
}

// Each step ends the test where it fails.
class CrowdCase {
 public:
  explicit CrowdCase(uint64_t seed) : choice_(seed), link_(lossy_link(choice_)), world_(seed, link_, kHosts) {
    dead_.loss = 1;
    world_.on_accepted = [this](Peer& server) { server.answer = 1 + choice_.below(15'000); };
    for (size_t i = 0; i < kPerHost * (kHosts - 1); ++i) {
      const bool vanishes = i / kPerHost == kVanishing;
      const bool closes = !vanishes && choice_.below(5) == 0;
      const bool by_server = closes && choice_.below(2) == 0;
      members_.push_back(
          std::unique_ptr<Member>(new Member{i, *world_.hosts[i / kPerHost], closes, by_server, vanishes}));
    }
  }

  void play() {
    ASSERT_NO_FATAL_FAILURE(connect());
    ASSERT_NO_FATAL_FAILURE(send_first_streams());
    start_transfers();
    net_.run_for(2 * link_.delay);
    disturb();
    ASSERT_NO_FATAL_FAILURE(run_to_the_end());
    check_ends();
    leave();
  }

 private:
  void connect() {
    for (auto& member : members_) {
      net_.at(net_.now() + std::chrono::microseconds(choice_.below(500'000)),
              [this, &member] { member->client = world_.dial(member->host); });
    }
    net_.set_link(world_.server_host, *world_.hosts[kDeaf], dead_);
    for (size_t i = 0; i < kDeafConnections; ++i) deaf_.push_back(world_.dial(*world_.hosts[kDeaf]));
    ASSERT_TRUE(net_.run_until(
        [&] {
          auto connected = [](auto& member) { return member->client && member->client->connected(); };
          return std::ranges::all_of(members_, connected) && world_.servers.size() == members_.size();
        },
        quic::Limits{}.handshake_timeout));
    EXPECT_EQ(world_.engine().connection_count(), members_.size() + kDeafConnections);
    EXPECT_EQ(world_.engine().unfinished_handshakes(), kDeafConnections);
  }

  void send_first_streams() {
    for (auto& member : members_) member->client->send(member->first_size());
    ASSERT_TRUE(net_.run_until(
        [&] {
          return std::ranges::all_of(world_.servers, [](auto& server) {
            return !server->receivers.empty() && server->receivers[0]->finished();
          });
        },
        60s));
    for (auto& server : world_.servers) {
      const uint64_t number = server->receivers[0]->received() - kFirstCode;
      ASSERT_LT(number, members_.size());
      ASSERT_EQ(members_[number]->server, nullptr);
      members_[number]->server = server.get();
    }
  }

  void start_transfers() {
    for (auto& member : members_) {
      for (size_t i = 1; i < kStreams; ++i) member->client->send(1 + choice_.below(40'000));
      if (!member->closes) continue;
      net_.at(net_.now() + std::chrono::microseconds(choice_.below(200'000)), [&member] {
        Peer& closer = member->by_server ? *member->server : *member->client;
        closer.connection().close(member->code(), "enough");
      });
    }
  }

  void disturb() {
    world_.hosts[kMoving]->move_to(SocketAddr::v4({10, 9, 9, 9}, 6000));
    net_.set_link(*world_.hosts[kVanishing], world_.server_host, dead_);
    net_.set_link(world_.server_host, *world_.hosts[kVanishing], dead_);
  }

  void run_to_the_end() {
    ASSERT_TRUE(net_.run_until(
        [&] {
          return std::ranges::all_of(members_, [](auto& member) {
            return member->stays() ? member->has_completed()
                                   : member->client->closed && member->server->closed;
          });
        },
        300s));
  }

  void check_ends() {
    size_t codes = 0;
    size_t codes_seen = 0;
    for (auto& member : members_) {
      SCOPED_TRACE("member " + std::to_string(member->number));
      if (member->stays()) {
        EXPECT_TRUE(member->has_completed());
        EXPECT_FALSE(member->client->closed || member->server->closed);
      } else if (member->vanishes) {
        EXPECT_EQ(member->client->closed->kind, Kind::kIdleTimeout);
        EXPECT_EQ(member->server->closed->kind, Kind::kIdleTimeout);
      } else {
        const bool seen = check_close_with_code(*member);
        // A server that closes does not look where the client moved to.
        if (&member->host == world_.hosts[kMoving].get()) continue;
        ++codes;
        codes_seen += seen;
      }
    }
    EXPECT_GT(codes, 20u);
    EXPECT_GE(codes_seen * 10, codes * 9);
    for (auto& peer : deaf_) EXPECT_TRUE(peer->closed && peer->closed->kind == Kind::kHandshake);
    EXPECT_EQ(world_.engine().unfinished_handshakes(), 0u);
  }

  void leave() {
    for (auto& member : members_) member->client->connection().close(0, "");
    net_.run_for(90s);  // where every CONNECTION_CLOSE was lost, the server waits for the idle timeout
    world_.check_nothing_is_left();
  }

  SeededRandom choice_;
  LinkConfig link_;
  LinkConfig dead_;
  Crowd world_;
  Network& net_ = world_.net;
  std::vector<std::unique_ptr<Member>> members_;
  std::vector<std::unique_ptr<Peer>> deaf_;
};

class QuicCrowd : public testing::TestWithParam<uint64_t> {};
TEST_P(QuicCrowd, NobodyDisturbsTheOthers) { CrowdCase(GetParam()).play(); }
INSTANTIATE_TEST_SUITE_P(Seeds, QuicCrowd, testing::Range(uint64_t{0}, uint64_t{3}));

// ---- Limits

// Dials `count` times and waits until each attempt has succeeded or failed. Those that were refused are
// dropped.
size_t admitted(Crowd& world, size_t count, std::vector<std::unique_ptr<Peer>>& out) {
  std::vector<std::unique_ptr<Peer>> attempts;
  for (size_t i = 0; i < count; ++i) attempts.push_back(world.dial(*world.hosts[i % world.hosts.size()]));
  EXPECT_TRUE(world.net.run_until(
      [&] {
        return std::ranges::all_of(attempts, [](auto& peer) { return peer->connected() || peer->closed; });
      },
      30s));
  size_t count_in = 0;
  for (auto& peer : attempts) {
    if (peer->closed) {
      EXPECT_EQ(peer->closed->kind, Kind::kTransport) << peer->closed->message;
      EXPECT_EQ(peer->closed->code, kConnectionRefused);
      continue;
    }
    ++count_in;
    out.push_back(std::move(peer));
  }
  return count_in;
}

void check_all_transfer(Crowd& world, std::vector<std::unique_ptr<Peer>>& peers) {
  for (auto& peer : peers) {
    peer->receivers.clear();
    peer->senders.clear();
    peer->send(20'000);
  }
  EXPECT_TRUE(world.net.run_until(
      [&] { return std::ranges::all_of(peers, [](auto& peer) { return has_received_all(*peer); }); }, 60s));
}

void close_last(std::vector<std::unique_ptr<Peer>>& peers, size_t count) {
  for (; count > 0; --count) {
    peers.back()->connection().close(1, "leaving");
    peers.pop_back();
  }
}

TEST(QuicCrowdLimits, AFullServerRefusesUntilSomeLeave) {
  constexpr size_t kLimit = 20;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    quic::EndpointLimits limits;
    limits.max_connections = kLimit;
    LinkConfig link;
    link.loss = seed == 0 ? 0 : 0.03;
    link.reorder = 0.1;
    Crowd world(seed, link, 3, limits);
    world.on_accepted = [](Peer& server) { server.answer = 5'000; };
    std::vector<std::unique_ptr<Peer>> inside;
    EXPECT_EQ(admitted(world, kLimit + 10, inside), kLimit);
    EXPECT_EQ(world.engine().connection_count(), kLimit);
    EXPECT_GE(world.engine().counters().handshakes_refused, 10u);
    EXPECT_EQ(admitted(world, 3, inside), 0u);
    check_all_transfer(world, inside);

    close_last(inside, 7);
    world.net.run_for(60s);  // closing takes three PTO, or the idle timeout where the close was lost
    EXPECT_EQ(world.engine().connection_count(), kLimit - 7);
    EXPECT_EQ(admitted(world, 10, inside), 7u);
    check_all_transfer(world, inside);

    close_last(inside, inside.size());
    world.net.run_for(60s);
    world.check_nothing_is_left();
  }
}

// All first packets arrive before any handshake is complete.
TEST(QuicCrowdLimits, HandshakesBeyondTheLimitAreRefusedAndMayTryAgain) {
  constexpr size_t kLimit = 8;
  constexpr size_t kClients = 40;
  quic::EndpointLimits limits;
  limits.max_handshakes = kLimit;
  Crowd world(1, {}, 3, limits);
  world.on_accepted = [](Peer& server) { server.answer = 5'000; };
  std::vector<std::unique_ptr<Peer>> inside;
  size_t refused = 0;
  for (size_t left = kClients; left > 0; left -= kLimit) {
    EXPECT_EQ(admitted(world, left, inside), kLimit);
    refused += left - kLimit;
    EXPECT_EQ(world.engine().counters().handshakes_refused, refused);
    if (HasFailure()) return;
  }
  EXPECT_EQ(world.engine().connection_count(), kClients);
  check_all_transfer(world, inside);
  close_last(inside, inside.size());
  world.net.run_for(60s);
  world.check_nothing_is_left();
}

}  // namespace
}  // namespace culvert::sim
