// QUIC clients that move: to another address, or behind a NAT that forgets them.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "sim/two_hosts.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;

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

TEST(QuicMoves, ClientMovesMidTransfer) {
  TwoHosts world(13);
  world.server_answer = 3'000'000;
  ASSERT_TRUE(world.connect());
  world.client().send(3'000'000);
  world.net.run_for(100ms);
  const SocketAddr moved = SocketAddr::v4({10, 9, 9, 9}, 6000);
  world.client_host.move_to(moved);
  ASSERT_TRUE(world.net.run_until(
      [&] { return world.client().receivers[0]->finished() && world.server().receivers[0]->finished(); },
      60s));
  EXPECT_EQ(world.server().connection().paths().active().remote, moved);
  EXPECT_TRUE(world.client().receivers[0]->intact() && world.server().receivers[0]->intact());
}

TEST(QuicMoves, NatRebindingIsFollowed) {
  TwoHosts world(14);
  world.server_answer = 3'000'000;
  ASSERT_TRUE(world.connect());
  world.client().send(100'000);
  world.net.run_for(100ms);
  const SocketAddr rebound = SocketAddr::v4({10, 0, 0, 2}, 50001);
  world.client_host.set_public_address(rebound);
  ASSERT_TRUE(world.net.run_until([&] { return world.client().receivers[0]->finished(); }, 60s));
  EXPECT_EQ(world.server().connection().paths().active().remote, rebound);
}

// The system may send from another address of its own accord before anybody tells us that the network
// changed.
TEST(QuicMoves, AMoveRightAfterANatRebindingIsFollowed) {
  TwoHosts world(25);
  world.server_answer = 3'000'000;
  ASSERT_TRUE(world.connect());
  world.client().send(3'000'000);
  world.net.run_for(100ms);
  world.client_host.set_public_address(SocketAddr::v4({10, 9, 9, 9}, 50001));
  world.net.run_for(100ms);
  const SocketAddr moved = SocketAddr::v4({10, 9, 9, 9}, 6000);
  world.client_host.move_to(moved);
  ASSERT_TRUE(world.net.run_until(
      [&] { return world.client().receivers[0]->finished() && world.server().receivers[0]->finished(); },
      60s));
  EXPECT_EQ(world.server().connection().paths().active().remote, moved);
}

// With new ids while there are some, then with the last one. The client has nothing to say, but the server
// must learn at once where to send.
TEST(QuicMoves, AnIdleClientIsFollowedEvenWithoutSpareIds) {
  TwoHosts world(26);
  ASSERT_TRUE(world.connect());
  world.net.run_for(1s);
  uint16_t port = 6000;
  auto move = [&] { world.client_host.move_to(SocketAddr::v4({10, 9, 9, 9}, port++)); };
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
TEST(QuicMoves, MovesWithAndWithoutANewIdDoNotMix) {
  TwoHosts world(27);
  ASSERT_TRUE(world.connect());
  world.client_host.move_to(SocketAddr::v4({10, 9, 9, 9}, 6000));
  world.net.run_for(200ms);
  world.client_host.move_to(SocketAddr::v4({10, 9, 9, 9}, 6001));
  LinkConfig silence;
  silence.loss = 1;
  world.net.set_link(world.server_host, world.client_host, silence);
  world.client().send(1000);
  world.net.run_for(5s);
  world.net.set_link(world.server_host, world.client_host, {});
  EXPECT_TRUE(world.net.run_until(
      [&] { return !world.server().receivers.empty() && world.server().receivers[0]->finished(); }, 10s));
  world.server().send(1000);
  EXPECT_TRUE(world.net.run_until(
      [&] { return world.client().receivers.size() == 2 && world.client().receivers[1]->finished(); }, 10s));
}

TEST(QuicMoves, ADatagramThatNoLongerFitsDoesNotStopTheRest) {
  TwoHosts world(24);
  ASSERT_TRUE(world.connect());
  world.net.run_for(10s);
  ASSERT_GT(world.client().connection().datagrams().max_size(), 1300u);
  ASSERT_TRUE(world.client().connection().datagrams().send(Bytes(1300, 1)).has_value());
  world.client_host.move_to(SocketAddr::v4({10, 9, 9, 9}, 6000));  // the new path begins at 1200
  world.client().send(100'000);
  EXPECT_TRUE(world.net.run_until(
      [&] { return !world.server().receivers.empty() && world.server().receivers[0]->finished(); }, 10s));
}

// Whenever the client moves in the middle of a transfer, whoever sends: nothing is lost, no limit is broken,
// and a move out of a quiet state cannot be linked to what was before (RFC 9000, 9.5).
TEST(QuicMoves, MovingAtAnyMomentKeepsTheConnection) {
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
    TwoHosts world(seed, link);
    Observer observer(world.net);
    world.server_answer = choice.below(3'000'000);
    ASSERT_TRUE(world.connect());
    world.client().send(1 + choice.below(3'000'000));
    const auto moves = static_cast<uint16_t>(1 + choice.below(5));
    for (uint16_t move = 0; move < moves; ++move) {
      world.net.run_for(std::chrono::microseconds(choice.below(100'000)));
      world.client_host.move_to(visited(move));
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
    world.client_host.move_to(visited(moves));
    world.net.run_for(10s);
    EXPECT_FALSE(world.server().closed || world.client().closed) << "seed " << seed;
    EXPECT_TRUE(observer.is_unlinkable(visited(moves), TwoHosts::kServerAddr)) << "seed " << seed;
  }
}

}  // namespace
}  // namespace culvert::sim
