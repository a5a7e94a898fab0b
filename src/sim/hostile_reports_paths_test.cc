// What other QUIC implementations were attacked with, by the public reports: on the paths of open
// connections.
#include <algorithm>

#include "sim/hostile_fixture.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;

constexpr uint64_t kMaxVarint = (uint64_t{1} << 62) - 1;
constexpr uint64_t kPathResourceLimit = 0x3e75;  // draft-ietf-quic-multipath
constexpr size_t kMaxGrowth = 6 * 1024 * 1024;
constexpr uint64_t kDatagram = 1452;

// An address that answers nothing, so that what is sent there counts as reflected.
SocketAddr bystander(uint64_t number) {
  return SocketAddr::v4({198, 51, static_cast<uint8_t>(number >> 8), static_cast<uint8_t>(number)}, 53);
}

// core/src/connection.rs: VALIDATION_BURST and VALIDATION_INTERVAL.
uint64_t validation_limit(Duration time) { return 512 + static_cast<uint64_t>(time / 16ms) + 1; }

HostilePeer::Config extended() {
  HostilePeer::Config config = HostileWorld::hooks();
  config.edit_parameters = HostilePeer::add_extensions;
  return config;
}

class HostileReportsPaths : public Hostile {
 protected:
  uint64_t own_stream(uint64_t index) const { return 4 * index + (peer_is_server() ? 1 : 0); }
  quic::Connection& victims_connection() { return world.connections().back()->connection(); }

  HostilePeer& connect_extended() {
    HostilePeer& peer = connect(extended());
    world.run_for(10ms);
    return peer;
  }

  // Whoever is the client opens it; the peer's end is at `other`.
  void open_path(HostilePeer& peer, uint32_t path, const SocketAddr& other) {
    peer.send(Level::kOneRtt, peer.issue_path_id(path, 0));
    world.run();
    peer.send_on_path(path, other, peer_is_server() ? frames::ping() : frames::path_challenge(path));
    world.run();
    if (peer_is_server()) {
      EXPECT_TRUE(victims_connection().paths().open(other, false, world.now()));
    }
    world.run_for(100ms);
  }

  uint64_t last_number(const HostilePeer& peer) const {
    for (auto packet = peer.received().rbegin(); packet != peer.received().rend(); ++packet)
      if (packet->level == Level::kOneRtt) return packet->number;
    return 0;
  }
};
INSTANTIATE_TEST_SUITE_P(As, HostileReportsPaths, testing::Bool(), role_name);

// ---- Paths

// Version Negotiation and Retry carry no proof of their sender, and long headers belong to the first path:
// with the id of another path, marked by the network or not, they are noise.
TEST_P(HostileReportsPaths, LongHeadersOnAPath) {
  for (bool opened : {false, true}) {
    SCOPED_TRACE(opened);
    HostilePeer& peer = connect_extended();
    const SocketAddr other = world.next_address();
    if (opened) open_path(peer, 1, other);
    const Bytes own = peer.destination_id();
    std::vector<Bytes> ids = {own, peer.original_id()};
    if (const auto id = peer.path_destination(opened ? 1 : 2)) ids.push_back(*id);
    for (const Bytes& id : ids) {
      const uint8_t sizes[] = {static_cast<uint8_t>(id.size()), 8};
      const Bytes rest = concat({ByteView(sizes, 1), id, ByteView(sizes + 1, 1), Bytes(8, 1)});
      const Bytes versions = concat({Bytes{0xc0, 0, 0, 0, 0}, rest, Bytes(40, 1)});
      const Bytes retry = concat({Bytes{0xf0, 0, 0, 0, 1}, rest, Bytes(60, 1)});
      peer.set_destination_id(id);
      for (const Bytes& datagram :
           {versions, retry, retry_packet(id, Bytes(8, 1), peer.original_id(), Bytes(20, 1)),
            peer.packet(Level::kInitial, Bytes(1200, 1)), peer.packet(Level::kHandshake, Bytes(1200, 1)),
            peer.packet(Level::kZeroRtt, Bytes(1200, 1)),
            concat({peer.packet(Level::kHandshake, Bytes(30, 1)), retry}),
            concat({peer.packet(Level::kHandshake, Bytes(30, 1)), versions})}) {
        for (uint8_t ecn = 0; ecn < 4; ++ecn) {
          world.inject(peer.address(), datagram, ecn);
          world.inject(other, datagram, ecn);
          EXPECT_TRUE(world.run());
        }
      }
      peer.set_destination_id(own);
      world.run_for(100ms);
      EXPECT_TRUE(world.is_usable(peer));
      if (HasFailure()) return;
    }
    world.clear();
  }
  expect_recovery();
}

// The client may still have its handshake keys when the path ends that they belong to.
TEST_P(HostileReportsPaths, FirstPathEndsBeforeTheHandshakeIsConfirmed) {
  if (!peer_is_server()) return;
  for (bool confirmed_later : {false, true}) {
    HostilePeer::Config config = extended();
    config.send_handshake_done = false;
    HostilePeer& peer = connect(std::move(config));
    world.run_for(100ms);
    const SocketAddr other = world.next_address();
    open_path(peer, 1, other);
    ASSERT_EQ(victims_connection().paths().all().size(), 2u);
    peer.send(Level::kHandshake, frames::ping());
    peer.send(Level::kOneRtt, frames::path_abandon(0));
    world.run_for(1ms);
    peer.send(Level::kHandshake, frames::ping());
    for (int i = 0; i < 20; ++i) {
      peer.send_on_path(1, other, frames::ping());
      world.run_for(500ms);
    }
    peer.send(Level::kHandshake, frames::ping());
    if (confirmed_later) peer.send_on_path(1, other, frames::handshake_done());
    peer.send_on_path(1, other, frames::stream(1, 0, Bytes(10), true));
    world.run_for(5s);
    // noq-proto 1.4 cannot go on without the first path: the connection ends.
    const auto& reason = world.connections().back()->closed;
    ASSERT_TRUE(reason);
    EXPECT_EQ(reason->code, uint64_t{kProtocolViolation});
    world.clear();
  }
  expect_recovery();
}

// Packets of a path that was abandoned and forgotten, and of the first path, when only another is left.
TEST_P(HostileReportsPaths, PacketsOfAForgottenPath) {
  for (uint32_t gone : {0u, 1u}) {
    SCOPED_TRACE(gone);
    HostilePeer& peer = connect_extended();
    const SocketAddr other = world.next_address();
    open_path(peer, 1, other);
    ASSERT_EQ(victims_connection().paths().all().size(), 2u);
    const Bytes ends = frames::path_abandon(gone);
    if (gone == 1) {
      peer.send(Level::kOneRtt, ends);
    } else {
      peer.send_on_path(1, other, ends);
    }
    const Bytes body = concat({frames::ping(), frames::path_challenge(1), frames::path_ack(gone, {{0, 0}}),
                               frames::path_ack(1 - gone, {{0, 0}})});
    for (int i = 0; i < 100; ++i) {
      peer.send(Level::kOneRtt, body);
      peer.send_on_path(1, i % 3 == 0 ? world.next_address() : other, body);
      peer.send_datagram(
          concat({peer.packet(Level::kHandshake, Bytes(30, 1)), peer.packet(Level::kOneRtt, body)}));
      peer.send(Level::kOneRtt, frames::path_status(gone, static_cast<uint64_t>(i), i % 2 == 0));
      peer.send(Level::kOneRtt, peer.issue_path_id(gone, static_cast<uint64_t>(i) + 1));
      peer.send(Level::kOneRtt, frames::path_retire_connection_id(gone, 0));
      world.run_for(200ms);
    }
    EXPECT_EQ(peer.malformed(), 0u);
    if (gone == 1) {
      EXPECT_TRUE(world.is_usable(peer));
    }
    world.clear();
  }
  expect_recovery();
}

// Keys are those of all paths, packet numbers are not.
TEST_P(HostileReportsPaths, KeyUpdatesOnSeveralPaths) {
  HostilePeer& peer = connect_extended();
  const std::vector<SocketAddr> others = {world.next_address(), world.next_address(), world.next_address()};
  for (uint32_t path = 1; path <= others.size(); ++path) open_path(peer, path, others[path - 1]);
  for (uint32_t i = 0; i < 60 && !peer.closed(); ++i) {
    peer.update_keys();
    const uint32_t path = 1 + i % 3;
    if (i % 5 == 0) peer.skip_numbers(path, 1000);
    peer.send_on_path(path, others[path - 1], frames::ping());
    if (i % 2 == 0) peer.send(Level::kOneRtt, frames::ping());
    world.run_for(i % 4 == 0 ? 0ms : 600ms);
  }
  EXPECT_EQ(peer.malformed(), 0u);
  if (peer.closed()) expect_contained(peer);
  expect_recovery();
}

// The peer moves again and again while the victim sends; what is acknowledged late was sent on paths that are
// gone.
TEST_P(HostileReportsPaths, MigrationsWithDataInFlight) {
  enum Acks { kAll, kLast, kScattered, kNone, kAcksEnd };
  for (int acks = 0; acks < kAcksEnd; ++acks) {
    for (bool challenged : {false, true}) {
      SCOPED_TRACE(testing::Message() << acks << challenged);
      HostilePeer& peer = connect();
      world.connections().back()->answer = 200'000;
      peer.set_acknowledging(false);
      peer.set_answering_path_challenges(challenged);
      for (uint64_t i = 0; i < 60 && !peer.closed(); ++i) {
        peer.set_source(world.next_address());
        peer.send(Level::kOneRtt,
                  i % 10 == 0 ? frames::stream(own_stream(i), 0, Bytes(10), true) : frames::ping());
        peer.send(Level::kOneRtt, frames::new_connection_id(i + 1, i, Bytes(8, static_cast<uint8_t>(i)),
                                                            Bytes(16, static_cast<uint8_t>(i))));
        world.run_for(i % 3 == 0 ? 300ms : 1ms);
        const uint64_t last = last_number(peer);
        if (acks == kAll) peer.acknowledge();
        if (acks == kLast) peer.send(Level::kOneRtt, frames::ack({{last, last}}));
        if (acks == kScattered && last > 10 && i % 2 == 0)
          peer.send(Level::kOneRtt, frames::ack({{last - 2, last - 2}, {last - 9, last - 6}}));
      }
      peer.set_source(peer.address());
      peer.set_acknowledging(true);
      peer.set_answering_path_challenges(true);
      peer.acknowledge();
      world.run_for(5s);
      EXPECT_EQ(peer.malformed(), 0u);
      if (peer.closed()) expect_contained(peer);
      world.clear();
    }
  }
  expect_recovery();
}

// A client asks for much, and lets its packets seem to come from others: what they are sent is no more than
// three times of what came from there (RFC 9000, 8.2 and 9.3.1), apart from a limited number of datagrams
// that noq sends whole.
TEST(HostileReportsOfPathsClient, MigrationIsNoReflector) {
  enum Kind { kOtherHosts, kOtherPorts, kOtherPaths, kKinds };
  for (int kind = 0; kind < kKinds; ++kind) {
    for (bool with_extensions : {false, true}) {
      if (kind == kOtherPaths && !with_extensions) continue;
      SCOPED_TRACE(testing::Message() << kind << with_extensions);
      CheckedWorld world(1);
      HostilePeer& peer = world.add_client(with_extensions ? extended() : HostileWorld::hooks());
      world.run_for(5s);  // the victim finds out what size the path carries
      ASSERT_TRUE(world.is_usable(peer));
      world.connections().back()->answer = 900'000;
      peer.set_acknowledging(false);
      for (uint64_t i = 0; i < 4; ++i) peer.send(Level::kOneRtt, frames::stream(4 * i, 0, Bytes(10), true));
      for (uint32_t path = 1; kind == kOtherPaths && path <= 7; ++path)
        peer.send(Level::kOneRtt, peer.issue_path_id(path, 0));
      world.run();
      const TimePoint start = world.now();
      const auto before = world.reflected();
      uint64_t sent = 0;
      for (uint64_t i = 0; i < 5000; ++i) {
        const SocketAddr from =
            kind == kOtherPorts ? SocketAddr::v4({10, 0, 0, 66}, static_cast<uint16_t>(1 + i)) : bystander(i);
        if (kind == kOtherPaths) {
          peer.send_on_path(1 + static_cast<uint32_t>(i % 7), from, frames::ping());
        } else {
          peer.send(Level::kOneRtt, frames::ping());
        }
        const Bytes datagram = peer.take()[0].data;
        world.inject(from, datagram);
        sent += datagram.size();
        if (i % 10 == 9) world.run();
      }
      world.run_for(5s);
      EXPECT_LE(world.reflected().bytes - before.bytes,
                3 * sent + kDatagram * validation_limit(world.now() - start));
      EXPECT_TRUE(world.serves_honest_client());
    }
  }
}

// RFC 9000, 9.3.3: an attacker sees each packet and sends its copy first, from elsewhere. When it stops, the
// connection works.
TEST(HostileReportsOfPathsClient, CopiesThatArriveFirst) {
  for (bool with_extensions : {false, true}) {
    for (int attacks : {1, 20}) {
      SCOPED_TRACE(testing::Message() << with_extensions << attacks);
      CheckedWorld world(1);
      HostilePeer& peer = world.add_client(with_extensions ? extended() : HostileWorld::hooks());
      world.run_for(100ms);
      ASSERT_TRUE(world.is_usable(peer));
      for (int i = 0; i < attacks; ++i) {
        const Bytes datagram = peer.packet(Level::kOneRtt, frames::ping());
        world.inject(bystander(static_cast<uint64_t>(i % 3)), datagram);
        peer.send_datagram(datagram);
        world.run_for(300ms);
      }
      world.run_for(5s);
      EXPECT_TRUE(world.is_usable(peer));
      world.run_for(5s);
      EXPECT_TRUE(world.is_usable(peer));
      EXPECT_TRUE(world.serves_honest_client());
    }
  }
}

// ---- Connection ids

// Retirement costs the peer nothing, and each must be answered: with the victim's packets never acknowledged,
// what waits to be sent must not grow.
TEST_P(HostileReportsPaths, RetirementsWithoutAcknowledgements) {
  enum Kind { kOldIds, kNewIds, kMoves, kPathIds, kKinds };
  for (int kind = 0; kind < kKinds; ++kind) {
    SCOPED_TRACE(kind);
    HostilePeer& peer = kind == kPathIds ? connect_extended() : connect();
    world.is_usable(peer);
    peer.set_acknowledging(false);
    peer.set_answering_path_challenges(false);
    const size_t before = heap();
    auto id = [](uint64_t i) {
      ByteWriter writer;
      writer.u64(i ^ 0x5555);
      return writer.take();
    };
    for (uint64_t i = 0; i < 10'000 && !peer.closed(); ++i) {
      Bytes frames;
      switch (kind) {
        case kOldIds:
          if (i == 0) frames = frames::new_connection_id(9, 9, id(9), Bytes(16, 9));
          for (uint64_t k = 0; k < 9; ++k)
            frames = concat({frames, frames::new_connection_id(k, 0, id(k), Bytes(16))});
          break;
        case kNewIds:
          for (uint64_t k = 0; k < 5; ++k)
            frames = concat(
                {frames, frames::new_connection_id(5 * i + k + 1, 5 * i + k + 1, id(i), Bytes(16, 9))});
          break;
        case kMoves:
          peer.set_source(world.next_address());
          frames = concat({frames::new_connection_id(i + 1, 0, id(i), Bytes(16, 9)), frames::ping()});
          break;
        case kPathIds:
          for (uint64_t k = 0; k < 8; ++k)
            frames = concat({frames, frames::path_new_connection_id(k, i + 1, i + 1, id(i), Bytes(16, 9))});
          break;
        default:
          break;
      }
      peer.send(Level::kOneRtt, frames);
      if (i % 10 == 9) world.run();
    }
    EXPECT_LT(heap(), before + kMaxGrowth / 4);
    EXPECT_TRUE(world.serves_honest_client());
    if (peer.closed()) expect_contained(peer);
    world.clear();
  }
  expect_recovery();
}

// ---- Address discovery and NAT traversal

// Challenges from many addresses to a client that takes part in NAT traversal: it answers with one of its
// own, which noq-proto 1.4 keeps until the next round. The core limits how many.
TEST(HostileReportsOfPathsServer, ChallengesFromManyAddresses) {
  CheckedWorld world(1);
  HostilePeer& peer = world.add_server(extended());
  world.run_for(100ms);
  ASSERT_TRUE(world.is_usable(peer));
  const TimePoint start = world.now();
  const auto before = world.reflected();
  const size_t heap_before = heap();
  auto challenge = [&](uint64_t count) {
    for (uint64_t i = 0; i < count && !peer.closed(); ++i) {
      world.inject(bystander(i), peer.packet(Level::kOneRtt, frames::path_challenge(i)));
      if (i % 10 == 9) world.run();
    }
  };
  challenge(10'000);
  EXPECT_TRUE(world.is_usable(peer));
  challenge(50'000);
  ASSERT_TRUE(peer.closed());
  EXPECT_EQ(peer.closed()->code, kPathResourceLimit);
  EXPECT_LE(world.reflected().datagrams - before.datagrams, validation_limit(world.now() - start));
  EXPECT_LT(heap(), heap_before + kMaxGrowth);
  EXPECT_TRUE(world.serves_honest_client());
}

// While the client probes, its server replaces the addresses, and the probes go on for as long as it does.
// noq-proto 1.4 counts the attempts in eight bits: with overflow checks it panics, which ends this
// connection; without, it begins again with short pauses. What is sent is limited all the same.
TEST(HostileReportsOfPathsServer, AddressesThatChangeDuringProbes) {
  HostileWorld world(1);
  HostilePeer& peer = world.add_server(extended());
  world.run_for(100ms);
  quic::Connection& connection = world.connections().back()->connection();
  peer.send(Level::kOneRtt, frames::add_address(1, bystander(1)));
  world.run();
  EXPECT_TRUE(connection.paths().add_candidate(bystander(7)));
  ASSERT_TRUE(connection.paths().punch(world.now()));
  const TimePoint start = world.now();
  const auto before = world.reflected();
  for (uint64_t i = 0; i < 1200; ++i) {
    peer.send(Level::kOneRtt, frames::add_address(1, bystander(100 + i % 2)));
    world.run_for(500ms);
  }
  EXPECT_LE(world.reflected().datagrams - before.datagrams, validation_limit(world.now() - start));
  EXPECT_LE(world.core_faults(), 1u);
  EXPECT_EQ(world.connections().front()->closed.has_value(), world.core_faults() == 1);
  EXPECT_TRUE(world.serves_honest_client());
}

TEST_P(HostileReportsPaths, ObservedAddresses) {
  for (bool receives : {false, true}) {
    quic::Limits limits;
    limits.receive_observed_addresses = receives;
    limits.send_observed_addresses = true;
    CheckedWorld observing(1, limits);
    HostilePeer& peer = observing.add(peer_is_server(), extended());
    observing.run_for(100ms);
    const SocketAddr odd[] = {SocketAddr::v4({0, 0, 0, 0}, 0),
                              SocketAddr::v4({255, 255, 255, 255}, 65535),
                              SocketAddr::v4({224, 0, 0, 1}, 1),
                              SocketAddr::v4({127, 0, 0, 1}, 0),
                              SocketAddr::v6({0}, 1),
                              SocketAddr::v6({0xff, 0x02, 0, 0, 1}, 1)};
    const size_t before = heap();
    for (uint64_t i = 0; i < 3000 && !peer.closed(); ++i) {
      const uint64_t number = i % 3 == 0 ? i : i % 3 == 1 ? 3000 - i : kMaxVarint;
      Bytes frames = frames::observed_address(number, odd[i % 6]);
      if (i % 2 == 0) frames = concat({frames, frames::observed_address(number + i % 2, bystander(i))});
      if (i % 7 == 0) peer.set_source(observing.next_address());
      peer.send(Level::kOneRtt, frames);
      if (i % 10 == 9) observing.run();
    }
    EXPECT_LT(heap(), before + kMaxGrowth);
    EXPECT_EQ(peer.malformed(), 0u);
    peer.set_source(peer.address());
    observing.run_for(5s);
    if (receives) {
      EXPECT_TRUE(observing.is_usable(peer));
    } else {
      const auto& reason = observing.connections().front()->closed;
      ASSERT_TRUE(reason);
      EXPECT_EQ(reason->code, uint64_t{kProtocolViolation});
    }
    EXPECT_TRUE(observing.serves_honest_client());
  }
}

}  // namespace
}  // namespace culvert::sim
