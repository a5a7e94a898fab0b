// What other QUIC implementations were attacked with, by the public reports: datagrams of no connection, and
// everything up to the end of the handshake.
#include "sim/hostile_fixture.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;

constexpr size_t kMinInitial = 1200;  // RFC 9000, 14.1
constexpr uint32_t kNobodysVersion = 0x1a2a3a4a;

class HostileReports : public Hostile {};
INSTANTIATE_TEST_SUITE_P(As, HostileReports, testing::Bool(), role_name);

// An address that answers nothing, so that what is sent there counts as reflected.
SocketAddr bystander(uint64_t number) {
  return SocketAddr::v4({198, 51, static_cast<uint8_t>(number >> 8), static_cast<uint8_t>(number)}, 53);
}

// A long header, filled up to `size`.
Bytes long_header(uint32_t version, const Bytes& destination, const Bytes& source, size_t size) {
  ByteWriter writer;
  writer.u8(0xc0);
  writer.u32(version);
  for (const Bytes& id : {destination, source}) {
    writer.u8(static_cast<uint8_t>(id.size()));
    writer.bytes(id);
  }
  Bytes out = writer.take();
  if (out.size() > size) return {};
  out.resize(size, 7);
  return out;
}

// The first datagram of a client that nobody delivers answers to.
Bytes first_datagram(HostilePeer& client) {
  client.start();
  return client.take()[0].data;
}

// ---- Datagrams of no connection

// RFC 9000, 5.2.2: only a datagram that could open a connection is answered with versions.
TEST(HostileReportsOfClient, VersionNegotiationIsNoReflector) {
  CheckedWorld world(1);
  uint64_t answers = 0;
  for (size_t size = 7; size < 1500; size += size < 64 ? 1 : 97) {
    for (size_t id_size : {0u, 8u, 20u}) {
      SCOPED_TRACE(testing::Message() << size << " bytes, ids of " << id_size);
      const Bytes id(id_size, 9);
      const Bytes datagram = long_header(kNobodysVersion, id, id, size);
      if (datagram.empty()) continue;
      const auto before = world.reflected();
      world.inject(bystander(size), datagram);
      world.run();
      const uint64_t answered = world.reflected().datagrams - before.datagrams;
      EXPECT_EQ(answered, size < kMinInitial ? 0u : 1u);
      EXPECT_LT(world.reflected().bytes - before.bytes, size);
      answers += answered;
      // Version 0 is that of the answers.
      world.inject(bystander(size), long_header(0, id, id, size));
      world.run();
    }
  }
  EXPECT_EQ(world.reflected().datagrams, answers);
  EXPECT_EQ(world.victim().connection_count(), 0u);
  EXPECT_TRUE(world.serves_honest_client());
}

// RFC 9000, 10.3.3: an answer is smaller than its cause, so that two endpoints cannot keep a pair of them
// going.
TEST(HostileReportsOfClient, StatelessResetsDoNotLoop) {
  CheckedWorld world(1);
  // Ids of the victim's begin with the number of its worker.
  auto unknown = [](size_t size, uint8_t fill) {
    Bytes datagram(size, fill);
    if (size > 0) datagram[0] = 0x41;
    if (size > 1) datagram[1] = 0;
    return datagram;
  };
  for (size_t size = 0; size < 1500; size += size < 64 ? 1 : 97) {
    SCOPED_TRACE(size);
    const auto before = world.reflected();
    world.inject(bystander(size), unknown(size, 5));
    world.run_for(25ms);
    EXPECT_LE(world.reflected().datagrams, before.datagrams + 1);
    if (size > 0) {
      EXPECT_LT(world.reflected().bytes - before.bytes, size);
    }
  }
  EXPECT_GT(world.reflected().datagrams, 0u);
  // Many at once are not answered each.
  const auto before = world.reflected();
  for (size_t i = 0; i < 1000; ++i) world.inject(bystander(i), unknown(100, static_cast<uint8_t>(i)));
  world.run();
  EXPECT_LE(world.reflected().datagrams, before.datagrams + 2);
  // From the address of another endpoint, which answers unknown packets too.
  const SocketAddr honest = SocketAddr::v4({10, 0, 0, 2}, 50000);
  for (uint8_t i = 0; i < 100; ++i) {
    world.inject(honest, unknown(1400, i));
    world.run_for(25ms);
  }
  EXPECT_TRUE(world.run());
  EXPECT_TRUE(world.serves_honest_client());
}

// Whatever the client is to be: less than three times of what came goes to an address that proved nothing
// (RFC 9000, 8.1), apart from the last datagram, which noq sends whole.
TEST(HostileReportsOfClient, HandshakeIsNoReflector) {
  constexpr uint64_t kLastDatagram = 1452;
  CheckedWorld world(1);
  enum Kind { kOnce, kAgain, kPing, kGarbage, kHalf, kKinds };
  for (int kind = 0; kind < kKinds; ++kind) {
    SCOPED_TRACE(kind);
    HostilePeer client(HostileWorld::hooks(), world.random());
    const Bytes first = first_datagram(client);
    const auto before = world.reflected();
    uint64_t sent = 0;
    auto inject = [&](const Bytes& datagram) {
      world.inject(bystander(static_cast<uint64_t>(kind)), datagram);
      sent += datagram.size();
      world.run();
    };
    if (kind == kHalf) {
      client.send(Level::kInitial, frames::crypto(200, Bytes(10)));
      inject(client.take()[0].data);
    } else {
      inject(first);
    }
    for (int i = 0; i < 20; ++i) {
      world.run_for(1s);
      if (kind == kAgain) inject(first);
      if (kind == kPing) {
        client.send(Level::kInitial, frames::ping());
        inject(client.take()[0].data);
      }
      if (kind == kGarbage) inject(long_header(1, client.original_id(), client.source_id(), 60));
    }
    EXPECT_LE(world.reflected().bytes - before.bytes, 3 * sent + kLastDatagram);
    world.run_for(11s);
    EXPECT_EQ(world.victim().connection_count(), 0u);
  }
  EXPECT_TRUE(world.serves_honest_client());
}

// Packets behind the ClientHello, for connections that do not exist: they must leave nothing behind.
TEST(HostileReportsOfClient, CoalescedInitialsOfOtherConnections) {
  CheckedWorld world(1);
  EXPECT_TRUE(world.serves_honest_client());
  const size_t before = heap();
  for (int i = 0; i < 1000; ++i) {
    HostilePeer client(HostileWorld::hooks(), world.random());
    Bytes datagram = first_datagram(client);
    for (uint8_t k = 0; k < 6; ++k) {
      const Bytes id(8 + k, static_cast<uint8_t>(i));
      const PacketHeader header{
          .level = Level::kInitial, .destination = id, .source = client.source_id(), .token = {}};
      const Bytes payload = k % 2 == 0 ? frames::crypto(0, Bytes(30)) : Bytes(30, 0xff);
      datagram = concat({datagram, seal(header, payload, initial_keys(id).client)});
    }
    world.inject(world.next_address(), datagram);
    if (i % 10 == 9) world.run();
  }
  EXPECT_LE(world.victim().unfinished_handshakes(), quic::EndpointLimits().max_unvalidated);
  EXPECT_TRUE(world.serves_honest_client());
  world.run_for(60s);
  EXPECT_EQ(world.victim().connection_count(), 0u);
  EXPECT_LT(heap(), before + 1024 * 1024);
}

// ---- Tokens

// RFC 9000, 8.1.4: for one address, and for a short time.
TEST(HostileReportsOfClient, RetryTokensAreForOneAddressAndMoment) {
  CheckedWorld world(1, {}, {.max_unvalidated = 0});
  HostilePeer& owner = world.add_client();
  world.run();
  ASSERT_TRUE(world.is_usable(owner));
  ASSERT_FALSE(owner.token().empty());
  const size_t open = world.victim().connection_count();
  // How many handshakes a first datagram with this token starts.
  auto started = [&](const Bytes& token, const SocketAddr& from) {
    HostilePeer::Config config = HostileWorld::hooks();
    config.token = token;
    HostilePeer client(std::move(config), world.random());
    const uint64_t before = world.victim().counters().handshakes_started;
    world.inject(from, first_datagram(client));
    world.run();
    return world.victim().counters().handshakes_started - before;
  };
  const SocketAddr elsewhere = world.next_address();
  EXPECT_EQ(started(owner.token(), elsewhere), 0u);
  EXPECT_EQ(started(owner.token(), SocketAddr::v4(std::array<uint8_t, 4>{10, 0, 0, 66}, 1)), 0u);
  for (size_t i = 0; i < owner.token().size(); ++i) {
    Bytes damaged = owner.token();
    damaged[i] ^= 1;
    EXPECT_EQ(started(damaged, owner.address()), 0u);
    EXPECT_EQ(started(Bytes(owner.token().begin(), owner.token().begin() + static_cast<std::ptrdiff_t>(i)),
                      owner.address()),
              0u);
  }
  // Again from its own address: as many as in its lifetime, and they end like others.
  for (int i = 0; i < 50; ++i) EXPECT_EQ(started(owner.token(), owner.address()), 1u);
  EXPECT_LE(world.victim().connection_count(), open + 50);
  world.run_for(11s);
  EXPECT_EQ(world.victim().unfinished_handshakes(), 0u);
  EXPECT_EQ(started(owner.token(), owner.address()), 0u);
  EXPECT_TRUE(world.is_usable(owner));
  EXPECT_TRUE(world.serves_honest_client());
}

TEST(HostileReportsOfClient, JunkTokens) {
  CheckedWorld world(1);
  uint64_t sent = 0;
  for (size_t size = 0; size < 1400; size += 1 + size / 8) {
    for (uint8_t fill : {uint8_t{0}, uint8_t{1}, uint8_t{0xff}}) {
      HostilePeer::Config config = HostileWorld::hooks();
      config.token = Bytes(size, fill);
      if (size > 1 && fill == 1) world.random().fill(config.token);
      HostilePeer client(std::move(config), world.random());
      const Bytes datagram = first_datagram(client);
      world.inject(bystander(sent), datagram);
      sent += datagram.size();
      // A token that ends behind the packet.
      Bytes cut = datagram;
      cut.resize(kMinInitial);
      world.inject(bystander(sent), cut);
      sent += cut.size();
    }
    world.run();
    EXPECT_LE(world.victim().connection_count(), quic::EndpointLimits().max_unvalidated);
  }
  EXPECT_TRUE(world.serves_honest_client());
  world.run_for(30s);
  EXPECT_LE(world.reflected().bytes, 3 * sent);
  EXPECT_EQ(world.victim().connection_count(), 0u);
}

// A Retry is not protected: an observer of the first packet can make one, with a token of any size. The
// client carries it in each of its Initial packets, so it must leave room there.
TEST(HostileReportsOfServer, RetryTokensOfAnySize) {
  CheckedWorld world(1);
  for (size_t size : {1u,    100u,  500u,  900u,  1000u, 1080u, 1090u, 1100u, 1110u, 1120u,  1130u,
                      1140u, 1150u, 1160u, 1170u, 1184u, 1200u, 1300u, 1400u, 4000u, 60'000u}) {
    SCOPED_TRACE(size);
    HostilePeer* peer = nullptr;
    HostilePeer::Config config = HostileWorld::hooks();
    config.edit_message = [&](uint8_t type, Bytes message) {
      if (type == tls::kServerHello) {
        peer->send_datagram(
            retry_packet(peer->destination_id(), Bytes(8, 7), peer->original_id(), Bytes(size, 5)));
      }
      return message;
    };
    peer = &world.add_server(std::move(config));
    EXPECT_TRUE(world.run());
    world.run_for(15s);
    // It follows the Retry, which this peer does not, or drops it and goes on.
    if (!peer->confirmed()) {
      EXPECT_GT(peer->undecryptable(), 0u);
      EXPECT_LT(peer->undecryptable(), 50u);
      EXPECT_EQ(world.victim().connection_count(), 0u);
    } else {
      EXPECT_GT(size, 500u);
      EXPECT_TRUE(world.is_usable(*peer));
    }
    EXPECT_EQ(world.core_faults(), 0u);
    world.clear();
    if (testing::Test::HasFailure()) break;
  }
  EXPECT_TRUE(world.serves_honest_client());
}

// RFC 9000, 17.2.5.2: at most one is followed, and none behind another packet of the server.
TEST(HostileReportsOfServer, SecondRetryIsIgnored) {
  for (bool behind_hello : {false, true}) {
    SCOPED_TRACE(behind_hello);
    CheckedWorld world(1);
    HostilePeer* peer = nullptr;
    HostilePeer::Config config = HostileWorld::hooks();
    auto retry = [&](uint8_t from, const Bytes& original) {
      peer->send_datagram(retry_packet(peer->destination_id(), Bytes(8, from), original, Bytes(50, from)));
    };
    config.edit_message = [&](uint8_t type, Bytes message) {
      if (type == (behind_hello ? tls::kEncryptedExtensions : tls::kServerHello)) {
        retry(1, peer->original_id());
        for (uint8_t i = 1; i < 20; ++i) retry(i + 1, Bytes(8, i));
      }
      return message;
    };
    peer = &world.add_server(std::move(config));
    EXPECT_TRUE(world.run());
    if (behind_hello) {
      EXPECT_TRUE(world.is_usable(*peer));
    } else {
      world.run_for(15s);
      EXPECT_FALSE(peer->confirmed());
      EXPECT_LT(peer->undecryptable(), 50u);
    }
    world.clear();
    EXPECT_TRUE(world.serves_honest_client());
  }
}

// The next connection to the server carries a token in its Initial packets.
TEST(HostileReportsOfServer, NewTokensOfAnySize) {
  CheckedWorld world(1);
  for (size_t size : {1u, 100u, 900u, 1000u, 1050u, 1100u, 1120u, 1140u, 1160u, 1184u, 1200u, 1400u, 8000u}) {
    SCOPED_TRACE(size);
    HostilePeer& first = world.add_server();
    world.run();
    for (int i = 0; i < 100; ++i) first.send(Level::kOneRtt, frames::new_token(Bytes(size, 5)));
    EXPECT_TRUE(world.is_usable(first));
    for (int i = 0; i < 3; ++i) {
      HostilePeer& next = world.add_server();
      EXPECT_TRUE(world.run());
      EXPECT_TRUE(world.is_usable(next));
      EXPECT_EQ(world.core_faults(), 0u);
    }
    world.clear();
    if (testing::Test::HasFailure()) break;
  }
  EXPECT_TRUE(world.serves_honest_client());
}

// ---- Handshakes that do not end

const std::vector<uint8_t>& messages_of(bool server) {
  static const std::vector<uint8_t> of_client = {tls::kClientHello, tls::kCertificate,
                                                 tls::kCertificateVerify, tls::kFinished};
  static const std::vector<uint8_t> of_server = {tls::kServerHello,        tls::kEncryptedExtensions,
                                                 tls::kCertificateRequest, tls::kCertificate,
                                                 tls::kCertificateVerify,  tls::kFinished};
  return server ? of_server : of_client;
}

// Nothing from this message on; silence, or packets that say nothing, or the rest byte by byte.
TEST_P(HostileReports, StalledHandshakesEnd) {
  enum Kind { kSilence, kPings, kBytes, kKinds };
  for (uint8_t stage : messages_of(peer_is_server())) {
    for (int kind = 0; kind < kKinds; ++kind) {
      SCOPED_TRACE(testing::Message() << "message " << int{stage} << ", kind " << kind);
      HostilePeer::Config config = HostileWorld::hooks();
      bool stalled = false;
      Bytes held;
      config.edit_message = [&](uint8_t type, Bytes message) {
        stalled |= type == stage;
        if (!stalled) return message;
        held.insert(held.end(), message.begin(), message.end());
        return Bytes();
      };
      HostilePeer& peer = world.add(peer_is_server(), std::move(config));
      const Level level =
          stage == tls::kClientHello || stage == tls::kServerHello ? Level::kInitial : Level::kHandshake;
      const TimePoint start = world.now();
      for (size_t i = 0; world.now() < start + quic::Limits().handshake_timeout + 1s; ++i) {
        if (kind == kPings) {
          peer.send(Level::kInitial, frames::ping());
          peer.send(Level::kHandshake, frames::ping());
        }
        if (kind == kBytes && i < held.size()) peer.send_tls(level, ByteView(held).subspan(i, 1));
        world.run_for(500ms);
      }
      EXPECT_FALSE(peer.confirmed());
      EXPECT_EQ(world.victim().unfinished_handshakes(), 0u);
      world.clear();
    }
  }
  expect_recovery();
}

// The hello in pieces, the last one first: as many packets as it has bytes.
TEST_P(HostileReports, HelloInPiecesBackwards) {
  for (size_t size : {1u, 3u, 50u}) {
    SCOPED_TRACE(size);
    Bytes hello;
    HostilePeer* peer = nullptr;
    auto send_pieces = [&] {
      for (size_t end = hello.size(); end > 0; end -= std::min(end, size)) {
        const size_t start = end - std::min(end, size);
        peer->send(Level::kInitial, frames::crypto(start, ByteView(hello).subspan(start, end - start)));
      }
    };
    HostilePeer::Config config = HostileWorld::hooks();
    config.edit_message = [&](uint8_t type, Bytes message) {
      if (type == tls::kServerHello) {
        hello = message;
        send_pieces();
      }
      if (type == tls::kClientHello) hello = message;
      return message;
    };
    peer = &world.add(peer_is_server(), std::move(config));
    if (!peer_is_server()) {
      peer->take();  // the whole one
      send_pieces();
    }
    EXPECT_TRUE(world.run());
    EXPECT_TRUE(world.is_usable(*peer));
    world.clear();
  }
  expect_recovery();
}

// A peer that gives up at once: its connection does not stay.
TEST_P(HostileReports, ClosedDuringTheHandshake) {
  for (uint8_t stage : messages_of(peer_is_server())) {
    for (bool coalesced : {false, true}) {
      for (const Bytes& close : {frames::connection_close(0, 0, std::string(900, 'x')),
                                 frames::connection_close(0x100 + 40), frames::application_close(1)}) {
        SCOPED_TRACE(testing::Message() << "message " << int{stage} << coalesced << int{close[0]});
        HostilePeer* peer = nullptr;
        HostilePeer::Config config = HostileWorld::hooks();
        const Level level =
            stage == tls::kClientHello || stage == tls::kServerHello ? Level::kInitial : Level::kHandshake;
        const auto send_close = [&] {
          if (coalesced) {
            peer->send_datagram(concat({peer->packet(Level::kInitial, frames::padding(kMinInitial)),
                                        peer->packet(level, close), peer->packet(level, close)}));
          } else {
            peer->send(level, close);
          }
        };
        config.edit_message = [&](uint8_t type, Bytes message) {
          if (type == stage && peer != nullptr) send_close();
          return message;
        };
        peer = &world.add(peer_is_server(), std::move(config));
        if (stage == tls::kClientHello) send_close();
        EXPECT_TRUE(world.run());
        world.run_for(12s);
        EXPECT_EQ(world.victim().connection_count(), 0u);
        world.clear();
      }
    }
  }
  expect_recovery();
}

// 1-RTT packets ahead of the peer's Finished. What they ask for waits for it, or is lost.
TEST_P(HostileReports, EarlyOneRttPackets) {
  const std::vector<Bytes> bodies = {frames::ping(),
                                     frames::handshake_done(),
                                     frames::stream(peer_is_server() ? 1 : 0, 0, Bytes(10), true),
                                     frames::path_challenge(1),
                                     frames::new_connection_id(1, 1, Bytes(8, 1), Bytes(16, 1)),
                                     frames::retire_connection_id(0),
                                     frames::crypto(0, Bytes(10)),
                                     frames::datagram(Bytes(10)),
                                     frames::max_path_id(100),
                                     frames::path_abandon(0),
                                     frames::ack({{0, 0}}),
                                     frames::raw(0x21, {}),
                                     frames::application_close(1),
                                     {}};
  for (const Bytes& body : bodies) {
    SCOPED_TRACE(testing::PrintToString(body));
    HostilePeer* peer = nullptr;
    HostilePeer::Config config = HostileWorld::hooks();
    config.edit_parameters = HostilePeer::add_extensions;
    config.on_early_keys = [&] {
      for (int i = 0; i < 3; ++i) peer->send(Level::kOneRtt, body);
      peer->send_datagram(concat(
          {peer->packet(Level::kInitial, frames::padding(kMinInitial)), peer->packet(Level::kOneRtt, body)}));
    };
    peer = &world.add(peer_is_server(), std::move(config));
    EXPECT_TRUE(world.run());
    world.run_for(1s);
    EXPECT_EQ(peer->malformed(), 0u);
    if (peer->confirmed() && !peer->closed()) {
      world.is_usable(*peer);
    }
    world.clear();
  }
  expect_recovery();
}

// ---- Parameters

// RFC 8446, 4.2 forbids an extension that occurs twice; each costs the same as one.
TEST_P(HostileReports, TransportParametersManyTimes) {
  size_t before = 0;
  for (int i = 0; i < 200; ++i) {
    if (i == 20) before = heap();
    HostilePeer::Config config = HostileWorld::hooks();
    config.edit_extensions = [](uint8_t, tls::Extensions& extensions) {
      const tls::Extension* found = tls::find(extensions, tls::kQuicTransportParameters);
      if (found == nullptr) return;
      const tls::Extension copy = *found;
      for (int k = 0; k < 31; ++k) extensions.push_back(copy);
    };
    HostilePeer& peer = connect(std::move(config));
    EXPECT_FALSE(peer.confirmed());
    if (i % 10 == 9) world.clear();
  }
  EXPECT_LT(heap(), before + 512 * 1024);
  expect_recovery();
}

TEST_P(HostileReports, ConnectionIdsOfAnySize) {
  for (size_t size = 0; size <= 20; ++size) {
    SCOPED_TRACE(size);
    HostilePeer::Config config = HostileWorld::hooks();
    config.id_size = size;
    HostilePeer& peer = connect(config);
    EXPECT_TRUE(world.is_usable(peer));
    // A peer without ids cannot issue any (RFC 9000, 19.15).
    peer.send(Level::kOneRtt,
              frames::new_connection_id(1, 0, Bytes(std::max<size_t>(size, 1), 1), Bytes(16, 1)));
    world.run();
    expect_answer(peer, size == 0 ? std::vector<uint64_t>{kProtocolViolation} : std::vector<uint64_t>{});
    // Nor can it have several paths (draft-ietf-quic-multipath, 2.1).
    config.edit_parameters = HostilePeer::add_extensions;
    HostilePeer& extended = connect(config);
    if (size == 0) {
      expect_closed(extended, {kProtocolViolation, kTransportParameterError});
    } else {
      EXPECT_TRUE(world.is_usable(extended));
    }
    world.clear();
  }
  expect_recovery();
}

// RFC 9000, 9.6. Nothing is sent to an address because the server names it.
TEST(HostileReportsOfServer, PreferredAddress) {
  CheckedWorld world(1);
  for (size_t size : {0u, 1u, 8u, 20u, 21u}) {
    for (bool extended : {false, true}) {
      SCOPED_TRACE(testing::Message() << size << extended);
      HostilePeer::Config config = HostileWorld::hooks();
      config.edit_parameters = [&](TransportParameters& parameters) {
        if (extended) HostilePeer::add_extensions(parameters);
        ByteWriter writer;
        writer.bytes(bystander(1).ip());
        writer.u16(443);
        writer.bytes(Bytes(16, 0x20));
        writer.u16(443);
        writer.u8(static_cast<uint8_t>(size));
        writer.bytes(Bytes(size, 3));
        writer.bytes(Bytes(16, 4));
        parameters.set(0x0d, writer.take());
      };
      const uint64_t before = world.reflected().datagrams;
      HostilePeer& peer = world.add_server(std::move(config));
      EXPECT_TRUE(world.run());
      world.run_for(1s);
      if (size == 0 || size == 21) {
        ASSERT_TRUE(peer.closed());
        EXPECT_EQ(peer.closed()->code, uint64_t{kTransportParameterError});
      } else {
        EXPECT_TRUE(world.is_usable(peer));
        // Number 1 was issued with the address.
        peer.send(Level::kOneRtt, frames::new_connection_id(1, 1, Bytes(8, 3), Bytes(16, 5)));
        world.run();
        EXPECT_TRUE(world.is_usable(peer));
      }
      world.run_for(10s);
      EXPECT_EQ(world.reflected().datagrams, before);
      world.clear();
    }
  }
  EXPECT_TRUE(world.serves_honest_client());
}

}  // namespace
}  // namespace culvert::sim
