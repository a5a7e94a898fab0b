// What other QUIC implementations were attacked with, by the public reports: on connections that are open.
#include <algorithm>

#include "sim/hostile_fixture.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;

constexpr uint64_t kMaxVarint = (uint64_t{1} << 62) - 1;
constexpr size_t kMaxGrowth = 6 * 1024 * 1024;

// An address that answers nothing, so that what is sent there counts as reflected.
SocketAddr bystander(uint64_t number) {
  return SocketAddr::v4({198, 51, static_cast<uint8_t>(number >> 8), static_cast<uint8_t>(number)}, 53);
}

HostilePeer::Config extended() {
  HostilePeer::Config config = HostileWorld::hooks();
  config.edit_parameters = HostilePeer::add_extensions;
  return config;
}

// ACK with ECN counts (RFC 9000, 19.3.2).
Bytes ack_ecn(uint64_t number, uint64_t ect0, uint64_t ect1, uint64_t ce) {
  Bytes frame = frames::ack({{number, number}});
  frame[0] = 0x03;
  return concat({frame, varint(ect0), varint(ect1), varint(ce)});
}

class HostileReportsOpen : public Hostile {
 protected:
  uint64_t own_stream(uint64_t index) const { return 4 * index + (peer_is_server() ? 1 : 0); }
  quic::Connection& victims_connection() { return world.connections().back()->connection(); }

  uint64_t last_number(const HostilePeer& peer) const {
    for (auto packet = peer.received().rbegin(); packet != peer.received().rend(); ++packet)
      if (packet->level == Level::kOneRtt) return packet->number;
    return 0;
  }
};
INSTANTIATE_TEST_SUITE_P(As, HostileReportsOpen, testing::Bool(), role_name);

// ---- Acknowledgements

// Counts that nothing explains slow the victim down at most.
TEST_P(HostileReportsOpen, EcnLies) {
  enum Lie { kAllMarked, kRegression, kLargest, kOtherCodepoint, kZero, kLies };
  for (int lie = 0; lie < kLies; ++lie) {
    SCOPED_TRACE(lie);
    HostilePeer& peer = connect();
    peer.set_acknowledging(false);
    for (uint64_t i = 0; i < 200 && !peer.closed(); ++i) {
      peer.send(Level::kOneRtt, frames::stream(own_stream(200 + i), 0, Bytes(10), true));
      world.run();
      const uint64_t last = last_number(peer);
      const uint64_t many = 1000 * (i + 1);
      const Bytes ack = lie == kAllMarked        ? ack_ecn(last, 0, 0, many)
                        : lie == kRegression     ? ack_ecn(last, 0, 0, 1'000'000 - many)
                        : lie == kLargest        ? ack_ecn(last, kMaxVarint, kMaxVarint, kMaxVarint)
                        : lie == kOtherCodepoint ? ack_ecn(last, many, many, 0)
                                                 : ack_ecn(last, 0, 0, 0);
      peer.send(Level::kOneRtt, ack);
      world.run();
    }
    peer.set_acknowledging(true);
    world.run_for(1s);
    EXPECT_TRUE(world.is_usable(peer));
    world.clear();
  }
  expect_recovery();
}

struct Extreme {
  const char* name;
  std::function<void(TransportParameters&)> edit;
};

// The smallest and largest values that are allowed, and what depends on them.
TEST_P(HostileReportsOpen, ExtremeParameters) {
  using P = TransportParameters;
  std::vector<Extreme> extremes = {
      {"delays", [](P& p) { p.set_integer(0x0a, 20), p.set_integer(0x0b, (1 << 14) - 1); }},
      {"no delay", [](P& p) { p.set_integer(0x0a, 0), p.set_integer(0x0b, 0); }},
      {"idle 1 ms", [](P& p) { p.set_integer(0x01, 1); }},
      {"idle for ever", [](P& p) { p.set_integer(0x01, kMaxVarint); }},
      {"ids", [](P& p) { p.set_integer(0x0e, kMaxVarint); }},
      {"two ids", [](P& p) { p.set_integer(0x0e, 2); }},
      {"min_ack_delay", [](P& p) { p.set_integer(0xff04de1b, 16'383'000), p.set_integer(0x0b, 16'383); }},
      {"paths", [](P& p) { HostilePeer::add_extensions(p), p.set_integer(0x3e, 0xffffffff); }},
      {"one path", [](P& p) { HostilePeer::add_extensions(p), p.set_integer(0x3e, 0); }},
      {"one address", [](P& p) { HostilePeer::add_extensions(p), p.set_integer(0x3d7f91120401, 1); }},
      {"63 addresses", [](P& p) { HostilePeer::add_extensions(p), p.set_integer(0x3d7f91120401, 63); }}};
  for (uint64_t size :
       {uint64_t{1200}, uint64_t{1201}, uint64_t{1472}, uint64_t{65527}, uint64_t{65536}, kMaxVarint})
    extremes.push_back({"payload", [size](P& p) { p.set_integer(0x03, size); }});
  for (uint64_t size :
       {uint64_t{0}, uint64_t{1}, uint64_t{2}, uint64_t{3}, uint64_t{9}, uint64_t{1200}, kMaxVarint})
    extremes.push_back({"datagrams", [size](P& p) { p.set_integer(0x20, size); }});
  for (const Extreme& extreme : extremes) {
    for (size_t id_size : {8u, 20u}) {
      SCOPED_TRACE(testing::Message() << extreme.name << ", ids of " << id_size);
      HostilePeer::Config config = HostileWorld::hooks();
      config.edit_parameters = extreme.edit;
      config.id_size = id_size;
      HostilePeer& peer = connect(std::move(config));
      if (!peer.confirmed()) ADD_FAILURE() << "refused";
      if (std::string_view(extreme.name) == "idle 1 ms" || !peer.confirmed()) continue;
      for (size_t size :
           {size_t{0}, size_t{1}, victims_connection().datagrams().max_size(), size_t{1100}, size_t{1400}})
        (void)victims_connection().datagrams().send(Bytes(size));
      EXPECT_TRUE(world.run());
      peer.set_acknowledging(false);
      EXPECT_TRUE(world.is_usable(peer));
      peer.send(Level::kOneRtt, frames::ack({{last_number(peer), last_number(peer)}}, kMaxVarint));
      world.run_for(2s);
      peer.set_acknowledging(true);
      peer.acknowledge();
      world.run_for(2s);
      EXPECT_TRUE(world.is_usable(peer));
      world.clear();
    }
  }
  expect_recovery();
}

// ---- Streams

struct StreamCase {
  const char* name;
  Bytes frames;
  std::vector<uint64_t> codes;  // none: the connection goes on
};

// RFC 9000, 4.5: the end of a stream is where it was said to be first, and counts as data.
TEST_P(HostileReportsOpen, StreamsThatEndTwice) {
  const uint64_t s = own_stream(0);
  const std::vector<StreamCase> cases = {
      {"data behind a reset", concat({frames::reset_stream(s, 0, 10), frames::stream(s, 5, Bytes(10))}), {}},
      {"data before a reset", concat({frames::reset_stream(s, 0, 10), frames::stream(s, 0, Bytes(5))}), {}},
      {"a reset further on",
       concat({frames::reset_stream(s, 0, 10), frames::reset_stream(s, 0, 11)}),
       {kFinalSizeError}},
      {"the same reset", concat({frames::reset_stream(s, 0, 10), frames::reset_stream(s, 9, 10)}), {}},
      {"a reset below the data",
       concat({frames::stream(s, 0, Bytes(10)), frames::reset_stream(s, 0, 9)}),
       {kFinalSizeError}},
      {"an end further on",
       concat({frames::stream(s, 10, {}, true), frames::stream(s, 12, {}, true)}),
       {kFinalSizeError}},
      {"an end nearer",
       concat({frames::stream(s, 10, {}, true), frames::stream(s, 8, {}, true)}),
       {kFinalSizeError}},
      {"data behind the end",
       concat({frames::stream(s, 10, {}, true), frames::stream(s, 9, Bytes(2))}),
       {kFinalSizeError}},
      {"an end past the window", frames::stream(s, 3'000'000, {}, true), {kFlowControlError}},
      {"a reset past the window", frames::reset_stream(s, 0, 3'000'000), {kFlowControlError}},
      {"an end ahead, and a reset there",
       concat({frames::stream(s, 100'000, {}, true), frames::reset_stream(s, 0, 100'000)}),
       {}},
      {"an end ahead, and a reset before",
       concat({frames::stream(s, 100'000, {}, true), frames::reset_stream(s, 0, 99'999)}),
       {kFinalSizeError}},
  };
  for (const StreamCase& c : cases) {
    SCOPED_TRACE(c.name);
    HostilePeer& peer = connect();
    peer.send(Level::kOneRtt, c.frames);
    EXPECT_TRUE(world.run());
    expect_answer(peer, c.codes);
    world.clear();
  }
  expect_recovery();
}

// One byte at the end of the window of each stream must not cost what it leaves room for.
TEST_P(HostileReportsOpen, OneByteAtTheEndOfManyWindows) {
  const quic::Limits limits;
  HostilePeer& peer = connect();
  world.connections().back()->paused = true;
  const size_t before = heap();
  for (uint64_t i = 0; i < limits.max_streams_bidi * 7 / 8; ++i) {
    peer.send(Level::kOneRtt,
              frames::stream(own_stream(i), limits.initial_stream_window - 1, Bytes(1), true));
    if (i % 10 == 9) world.run();
  }
  world.run();
  EXPECT_FALSE(peer.closed());
  EXPECT_LT(heap(), before + kMaxGrowth);
  EXPECT_TRUE(world.serves_honest_client());
  expect_recovery();
}

// ---- Stateless resets

// RFC 9000, 10.3.1: only the token of the id that is in use ends the connection, and only whole.
TEST_P(HostileReportsOpen, StatelessResetsNeedTheToken) {
  enum Kind { kDamaged, kRetired, kEmpty, kRight, kKinds };
  for (int kind = 0; kind < kKinds; ++kind) {
    SCOPED_TRACE(kind);
    HostilePeer& peer = connect();
    world.is_usable(peer);
    for (uint8_t i = 1; i <= 2; ++i)
      peer.send(Level::kOneRtt, frames::new_connection_id(i, i, Bytes(8, i), Bytes(16, i)));
    world.run();
    Bytes token(16, kind == kRetired ? 1 : kind == kEmpty ? 0 : 2);
    if (kind == kDamaged) token[7] ^= 0x10;
    // The id of an endpoint that knows nothing of the connection is noise.
    const Bytes noise(30, 0x55);
    const Bytes to_nobody = concat({Bytes{0x41}, noise, token});
    const Bytes to_victim = concat({Bytes{0x41}, peer.destination_id(), noise, token});
    for (const Bytes& datagram : {to_nobody, to_victim}) {
      if (kind != kRight) world.inject(bystander(1), datagram);
      world.inject(peer.address(), datagram);
      world.run();
    }
    const auto& reason = world.connections().back()->closed;
    EXPECT_EQ(reason.has_value(), kind == kRight);
    if (kind == kRight) {
      ASSERT_TRUE(reason);
      EXPECT_EQ(reason->kind, quic::CloseReason::Kind::kStatelessReset);
      EXPECT_EQ(world.victim().connection_count(), 0u);
    } else {
      EXPECT_TRUE(world.is_usable(peer));
    }
    world.clear();
  }
  expect_recovery();
}

// Two connections from one address name the same token: that ends one of them at most, and nothing else.
TEST(HostileReportsOfOpenClient, OneResetTokenForAll) {
  CheckedWorld world(1);
  const SocketAddr shared = world.next_address();
  std::vector<HostilePeer*> peers;
  for (int i = 0; i < 20; ++i) peers.push_back(&world.add_client());
  world.run();
  for (HostilePeer* peer : peers) {
    peer->set_source(shared);
    peer->send(Level::kOneRtt, frames::new_connection_id(1, 1, peer->source_id(), Bytes(16, 7)));
    world.run();
  }
  for (size_t i = 0; i < peers.size(); ++i) {
    if (i % 2 == 0) peers[i]->send(Level::kOneRtt, frames::application_close(0));
    world.inject(shared, concat({Bytes{0x41}, Bytes(30, 0x55), Bytes(16, 7)}));
    world.run();
  }
  EXPECT_TRUE(world.serves_honest_client());
  world.clear();
  EXPECT_EQ(world.victim().connection_count(), 0u);
}

// ---- The end

// RFC 9000, 10.2.1: what arrives after the end is answered with little, and only where the peer was.
TEST_P(HostileReportsOpen, PacketsAfterTheEnd) {
  HostilePeer& peer = connect();
  peer.send(Level::kOneRtt, frames::raw(0x21, {}));
  world.run();
  ASSERT_TRUE(peer.closed());
  const size_t before = peer.received().size();
  const auto reflected = world.reflected();
  uint64_t sent = 0;
  for (uint64_t i = 0; i < 2000; ++i) {
    peer.send(Level::kOneRtt, frames::ping());
    const Bytes datagram = peer.packet(Level::kOneRtt, frames::ping());
    world.inject(bystander(i), datagram);
    sent += datagram.size();
    if (i % 10 == 9) world.run();
  }
  EXPECT_LE(peer.received().size() - before, 2000u);
  // A few stateless resets, once the connection is forgotten.
  EXPECT_LE(world.reflected().bytes - reflected.bytes, sent / 10);
  world.run_for(quic::Limits().idle_timeout);
  EXPECT_EQ(world.victim().connection_count(), 0u);
  expect_recovery();
}

// Clients that never send again: each costs a few probes, and ends.
TEST(HostileReportsOfOpenClient, SilentClients) {
  CheckedWorld world(1);
  std::vector<HostilePeer*> peers;
  for (int i = 0; i < 300; ++i) {
    peers.push_back(&world.add_client(i % 2 == 0 ? HostileWorld::hooks() : extended()));
    if (i % 20 == 19) world.run();
  }
  EXPECT_EQ(world.victim().connection_count(), 300u);
  EXPECT_EQ(world.victim().unfinished_handshakes(), 0u);
  for (HostilePeer* peer : peers) peer->set_acknowledging(false), peer->set_answering_path_challenges(false);
  EXPECT_TRUE(world.serves_honest_client());
  world.run_for(quic::Limits().idle_timeout + 15s);
  EXPECT_EQ(world.victim().connection_count(), 0u);
  for (const HostilePeer* peer : peers) EXPECT_LT(peer->received().size(), 100u);
  EXPECT_TRUE(world.serves_honest_client());
}

}  // namespace
}  // namespace culvert::sim
