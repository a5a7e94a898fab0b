// Streams whose data comes in the smallest pieces, for readers that do not read. The core holds each piece
// with some bytes of its own, and ends a connection with too many of them on one stream
// (Connection::on_readable).
#include "sim/hostile_fixture.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;

class HostileStreams : public Hostile {
 protected:
  uint64_t own_stream(uint64_t index) const { return 4 * index + (peer_is_server() ? 1 : 0); }
};
INSTANTIATE_TEST_SUITE_P(As, HostileStreams, testing::Bool(), role_name);

struct Pieces {
  const char* name;
  uint64_t step;    // from one piece to the next
  uint64_t size;    // of each
  uint64_t packet;  // pieces in each packet
};

constexpr Pieces kPieces[] = {{"in order", 1, 1, 1},
                              {"in order, many in a packet", 1, 1, 100},
                              {"with gaps", 2, 1, 1},
                              {"with gaps, many in a packet", 2, 1, 100},
                              {"overlapping", 1, 10, 20}};

// An honest application that writes byte by byte looks like this to a slow reader: it must survive.
TEST_P(HostileStreams, OneByteInOrderForAStalledReader) {
  HostilePeer& peer = connect();
  world.connections().back()->paused = true;
  for (uint64_t i = 0; i < 10'000 && !peer.closed(); ++i) {
    peer.send(Level::kOneRtt, frames::stream(own_stream(0), i, Bytes{pattern(i)}));
    if (i % 10 == 9) world.run();
  }
  EXPECT_TRUE(world.is_usable(peer));
  ASSERT_FALSE(world.connections().back()->receivers.empty());
  world.connections().back()->receivers[0]->resume();
  EXPECT_EQ(world.connections().back()->receivers[0]->received(), 10'000u);
  EXPECT_TRUE(world.connections().back()->receivers[0]->intact());
  expect_recovery();
}

TEST_P(HostileStreams, PiecesOnOneStream) {
  for (const Pieces& pieces : kPieces) {
    for (int mode = 0; mode < 3; ++mode) {  // read, stalled, not accepted
      SCOPED_TRACE(testing::Message() << pieces.name << ", mode " << mode);
      HostilePeer& peer = connect();
      world.connections().back()->paused = mode == 1;
      world.connections().back()->accepting = mode != 2;
      const size_t before = heap();
      for (uint64_t i = 0; i < 20'000 && !peer.closed();) {
        Bytes packet;
        for (uint64_t k = 0; k < pieces.packet; ++k, ++i)
          packet = concat({packet, frames::stream(own_stream(0), 1 + pieces.step * i, Bytes(pieces.size))});
        peer.send(Level::kOneRtt, packet);
        if (i % 10 == 0) world.run();
      }
      EXPECT_LT(heap(), before + 6 * 1024 * 1024);
      if (peer.closed()) {
        EXPECT_EQ(peer.closed()->code, uint64_t{kInternalError});  // "too many gaps"
      }
      world.clear();
    }
  }
  expect_recovery();
}

// Each stream has as many pieces as the guard lets pass: what they take is what is counted, or less.
TEST_P(HostileStreams, PiecesOnManyStreams) {
  constexpr uint64_t kStreams = 32;
  for (const Pieces& pieces : kPieces) {
    for (bool accepted : {false, true}) {
      SCOPED_TRACE(testing::Message() << pieces.name << ", accepted " << accepted);
      HostilePeer& peer = connect();
      world.connections().back()->paused = true;
      world.connections().back()->accepting = accepted;
      const size_t before = heap();
      for (uint64_t stream = 0; stream < kStreams; ++stream) {
        for (uint64_t i = 0; i < 900 && !peer.closed();) {
          Bytes packet;
          for (uint64_t k = 0; k < pieces.packet; ++k, ++i)
            packet =
                concat({packet, frames::stream(own_stream(stream), 1 + pieces.step * i, Bytes(pieces.size))});
          peer.send(Level::kOneRtt, packet);
          if (i % 10 == 0) world.run();
        }
      }
      EXPECT_FALSE(peer.closed());
      // What the peer and the application of the test remember comes on top.
      EXPECT_LT(heap(), before + world.held() + 2 * 1024 * 1024);
      EXPECT_TRUE(world.serves_honest_client());
      world.clear();
    }
  }
  expect_recovery();
}

}  // namespace
}  // namespace culvert::sim
