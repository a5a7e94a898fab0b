// Frames and packets of the extensions: multipath, NAT traversal, observed addresses, acknowledgement
// frequency, datagrams. Each with a peer that negotiated it, and with one that did not.
#include "sim/hostile_fixture.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;

constexpr uint64_t kMaxVarint = (uint64_t{1} << 62) - 1;
constexpr uint64_t kNoViablePath = 0x10;
constexpr uint64_t kPathResourceLimit = 0x3e75;

const SocketAddr kElsewhere = SocketAddr::v4({192, 0, 2, 1}, 9);

SocketAddr bystander(uint64_t number) {
  return SocketAddr::v4({198, 51, static_cast<uint8_t>(number >> 8), static_cast<uint8_t>(number)}, 53);
}

class HostilePaths : public Hostile {
 protected:
  HostilePeer& connect_extended(std::function<void(TransportParameters&)> edit = {}) {
    HostilePeer::Config config = HostileWorld::hooks();
    config.edit_parameters = [edit](TransportParameters& parameters) {
      HostilePeer::add_extensions(parameters);
      if (edit) edit(parameters);
    };
    HostilePeer& peer = connect(std::move(config));
    world.run_for(10ms);
    return peer;
  }

  // Clients open paths, after the victim has issued ids for them.
  void open_path(HostilePeer& peer, uint32_t path, const SocketAddr& source) {
    peer.send(Level::kOneRtt, peer.issue_path_id(path, 0));
    world.run();
    peer.send_on_path(path, source, frames::path_challenge(path));
    world.run_for(10ms);
  }

  // Sends what `next` makes, a few packets at a time.
  void flood(HostilePeer& peer, int rounds, const std::function<Bytes(uint64_t)>& next) {
    for (int i = 0; i < rounds && !peer.closed(); ++i) {
      peer.send(Level::kOneRtt, next(static_cast<uint64_t>(i)));
      if (i % 10 == 9) world.run();
    }
    EXPECT_TRUE(world.run());
  }

  quic::Connection& victims_connection() { return world.connections().back()->connection(); }
};
INSTANTIATE_TEST_SUITE_P(As, HostilePaths, testing::Bool(), role_name);

TEST_P(HostilePaths, WellBehavedPeerIsServedOnEachPath) {
  HostilePeer& peer = connect_extended();
  EXPECT_TRUE(world.is_usable(peer));
  EXPECT_TRUE(victims_connection().paths().is_multipath());
  if (!peer_is_server()) {
    for (uint32_t path : {1u, 2u, 3u}) {
      open_path(peer, path, world.next_address());
      peer.send_on_path(path, peer.address(), frames::stream(4 * path, 0, Bytes(10), true));
      world.run_for(20ms);
      EXPECT_TRUE(std::ranges::any_of(peer.received_frames<StreamFrame>(), [&](const auto& frame) {
        return frame.stream == 4 * path && frame.fin;
      }));
    }
    EXPECT_EQ(victims_connection().paths().all().size(), 4u);
  }
  EXPECT_TRUE(world.is_usable(peer));
  EXPECT_EQ(peer.malformed(), 0u);
  expect_recovery();
}

struct NamedFrame {
  const char* name;
  Bytes frame;
};

std::vector<NamedFrame> extension_frames() {
  return {{"PATH_ACK", frames::path_ack(0, {{0, 0}})},
          {"PATH_ABANDON", frames::path_abandon(0)},
          {"PATH_STATUS_BACKUP", frames::path_status(0, 1, true)},
          {"PATH_STATUS_AVAILABLE", frames::path_status(0, 1, false)},
          {"PATH_NEW_CONNECTION_ID", frames::path_new_connection_id(0, 1, 0, Bytes(8, 1), Bytes(16, 1))},
          {"MAX_PATH_ID", frames::max_path_id(10)},
          {"PATHS_BLOCKED", frames::paths_blocked(0)},
          {"PATH_CIDS_BLOCKED", frames::path_cids_blocked(0, 0)},
          {"ADD_ADDRESS", frames::add_address(0, kElsewhere)},
          {"REACH_OUT", frames::reach_out(1, kElsewhere)},
          {"REMOVE_ADDRESS", frames::remove_address(0)},
          {"OBSERVED_ADDRESS", frames::observed_address(0, kElsewhere)}};
}

TEST_P(HostilePaths, FramesThatWereNotNegotiated) {
  for (const NamedFrame& each : extension_frames()) {
    SCOPED_TRACE(each.name);
    HostilePeer& peer = connect();
    peer.send(Level::kOneRtt, each.frame);
    world.run();
    expect_closed(peer, {kProtocolViolation, kFrameEncodingError});
    world.clear();
  }
  EXPECT_EQ(world.reflected().datagrams, 0u);
  expect_recovery();
}

// In packets of the handshake: whatever was negotiated, they are for 1-RTT only.
TEST_P(HostilePaths, FramesInTheHandshake) {
  for (const NamedFrame& each : extension_frames()) {
    SCOPED_TRACE(each.name);
    HostilePeer* peer = nullptr;
    HostilePeer::Config config = HostileWorld::hooks();
    config.edit_parameters = HostilePeer::add_extensions;
    const uint8_t moment = peer_is_server() ? tls::kEncryptedExtensions : tls::kCertificate;
    config.edit_message = [&](uint8_t type, Bytes message) {
      if (type == moment) peer->send(Level::kHandshake, each.frame);
      return message;
    };
    peer = &world.add(peer_is_server(), std::move(config));
    world.run();
    expect_closed(*peer, {kProtocolViolation, kFrameEncodingError});
    world.clear();
  }
  expect_recovery();
}

TEST_P(HostilePaths, EveryExtensionFrameWithAnyBody) {
  std::vector<uint64_t> types = {0x1f, 0x30, 0x31, 0x3e, 0x3f, 0xaf, 0x9f81a6, 0x9f81a7};
  for (uint64_t type = 0x3e74; type <= 0x3e7d; ++type) types.push_back(type);
  for (uint64_t type = 0x3d7f8f; type <= 0x3d7f95; ++type) types.push_back(type);
  Bytes noise(64);
  SeededRandom(7).fill(noise);
  const std::vector<Bytes> bodies = {{},
                                     {0},
                                     {1},
                                     {0, 0},
                                     {1, 1, 0, 8},
                                     Bytes(7, 0),
                                     Bytes(20, 0xff),
                                     concat({Bytes{1, 1, 0, 8}, Bytes(24, 1)}),
                                     noise,
                                     Bytes(7, 4),
                                     {0xc0},
                                     concat({varint(uint64_t{1} << 32), Bytes(20, 0)}),
                                     concat({varint(0xffffffff), Bytes(20, 0)})};
  for (bool negotiated : {true, false}) {
    for (uint64_t type : types) {
      for (size_t i = 0; i < bodies.size(); ++i) {
        SCOPED_TRACE(testing::Message() << negotiated << ", frame 0x" << std::hex << type << ", body " << i);
        HostilePeer& peer = negotiated ? connect_extended() : connect();
        peer.send(Level::kOneRtt, frames::raw(type, bodies[i]));
        EXPECT_TRUE(world.run());
        // The peer may have retired the id that it uses, or abandoned its only path.
        EXPECT_EQ(peer.malformed(), 0u);
        const bool may_end = type == 0x3e79 || type == 0x3e75;
        if (!may_end) expect_contained(peer);
        if (HasFailure()) return;
      }
      world.clear();
    }
  }
  expect_recovery();
}

struct ExtensionCase {
  const char* name;
  Bytes frames;
  std::vector<uint64_t> codes;  // none: the connection goes on
};

std::vector<ExtensionCase> extension_cases(bool from_server) {
  const Bytes token(16, 1);
  const Bytes id(8, 1);
  std::vector<ExtensionCase> out = {
      {"PATH_ACK of a path never used", frames::path_ack(5, {{0, 0}}), {kProtocolViolation}},
      {"PATH_ACK of a path above all limits", frames::path_ack(0xffffffff, {{0, 0}}), {kProtocolViolation}},
      {"PATH_ACK of a path id of 33 bits",
       frames::path_ack(uint64_t{1} << 32, {{0, 0}}),
       {kFrameEncodingError}},
      {"PATH_ACK of a packet never sent",
       frames::path_ack(0, {{1'000'000, 1'000'000}}),
       {kProtocolViolation}},
      {"PATH_ACK below zero", frames::raw(0x3e, Bytes{0, 2, 0, 0, 5}), {kFrameEncodingError}},
      {"PATH_ABANDON of a path never opened", frames::path_abandon(3), {}},
      {"PATH_ABANDON of the largest path", frames::path_abandon(0xffffffff), {}},
      {"PATH_STATUS of a path never opened", frames::path_status(6, 1, true), {}},
      {"PATH_STATUS of the largest path", frames::path_status(0xffffffff, kMaxVarint, true), {}},
      {"the only path is a backup", frames::path_status(0, 1, true), {}},
      {"an id for a path past the limit",
       frames::path_new_connection_id(1000, 0, 0, id, token),
       {kProtocolViolation}},
      {"an id for a path that skips numbers",
       frames::path_new_connection_id(3, kMaxVarint, 0, id, token),
       {kConnectionIdLimitError}},
      {"an id for a path that retires all before", frames::path_new_connection_id(3, 9, 9, id, token), {}},
      {"an id of no bytes for a path",
       frames::path_new_connection_id(1, 0, 0, {}, token),
       {kFrameEncodingError}},
      {"an id of 21 bytes for a path",
       frames::path_new_connection_id(1, 0, 0, Bytes(21, 1), token),
       {kFrameEncodingError}},
      {"retire_prior_to past the sequence",
       frames::path_new_connection_id(1, 1, 2, id, token),
       {kFrameEncodingError, kProtocolViolation}},
      {"one id for two paths",
       concat({frames::path_new_connection_id(1, 0, 0, id, token),
               frames::path_new_connection_id(2, 0, 0, id, token)}),
       {}},
      {"retirement for a path that has no ids", frames::path_retire_connection_id(1000, 0), {}},
      {"retirement of an id never issued", frames::path_retire_connection_id(1, 1000), {kProtocolViolation}},
      {"retirement of the largest number",
       frames::path_retire_connection_id(1, kMaxVarint),
       {kProtocolViolation}},
      {"MAX_PATH_ID of 32 bits", frames::max_path_id(0xffffffff), {}},
      {"MAX_PATH_ID of 33 bits", frames::max_path_id(uint64_t{1} << 32), {kFrameEncodingError}},
      {"MAX_PATH_ID that shrinks", frames::max_path_id(0), {}},
      {"PATHS_BLOCKED at less than is allowed", frames::paths_blocked(1), {}},
      {"PATHS_BLOCKED past the limit", frames::paths_blocked(1000), {kProtocolViolation}},
      {"PATH_CIDS_BLOCKED past the limit", frames::path_cids_blocked(1000, 0), {kProtocolViolation}},
      {"PATH_CIDS_BLOCKED at an id never issued", frames::path_cids_blocked(0, 1000), {kProtocolViolation}},
      {"PATH_CIDS_BLOCKED at the largest id", frames::path_cids_blocked(0, kMaxVarint), {kProtocolViolation}},
      {"OBSERVED_ADDRESS that was not asked for",
       frames::observed_address(1, kElsewhere),
       {kProtocolViolation}},
      {"ACK_FREQUENCY without delay", frames::ack_frequency(0, 1, 0, 1), {kProtocolViolation}},
      {"ACK_FREQUENCY with a delay below min_ack_delay",
       frames::ack_frequency(0, 1, 1, 1),
       {kProtocolViolation}},
      {"ACK_FREQUENCY with the largest values",
       frames::ack_frequency(kMaxVarint, kMaxVarint, kMaxVarint, kMaxVarint),
       {}},
      {"ACK_FREQUENCY with zeros", frames::ack_frequency(0, 0, 1'000'000, 0), {}},
      {"IMMEDIATE_ACK", frames::immediate_ack(), {}},
      {"a DATAGRAM of nothing", frames::datagram({}), {}},
  };
  const std::vector<SocketAddr> odd = {
      SocketAddr::v4({0, 0, 0, 0}, 0),         SocketAddr::v4({255, 255, 255, 255}, 65535),
      SocketAddr::v4({224, 0, 0, 1}, 1),       SocketAddr::v4({127, 0, 0, 1}, 0),
      SocketAddr::v4({10, 0, 0, 1}, 443),      SocketAddr::v6({0}, 1),
      SocketAddr::v6({0xff, 0x02, 0, 0, 1}, 1)};
  if (from_server) {
    out.push_back({"REACH_OUT of a server", frames::reach_out(1, kElsewhere), {kProtocolViolation}});
    out.push_back({"REMOVE_ADDRESS of none", frames::remove_address(7), {}});
    for (const SocketAddr& address : odd)
      out.push_back({"an odd address", frames::add_address(1, address), {}});
  } else {
    out.push_back({"ADD_ADDRESS of a client", frames::add_address(1, kElsewhere), {kProtocolViolation}});
    out.push_back({"REMOVE_ADDRESS of a client", frames::remove_address(1), {kProtocolViolation}});
    Bytes many;
    for (uint64_t i = 0; i <= quic::Limits().max_nat_candidates; ++i)
      many = concat({many, frames::reach_out(1, bystander(i))});
    out.push_back({"REACH_OUT with too many addresses", many, {kProtocolViolation}});
    for (const SocketAddr& address : odd)
      out.push_back({"an odd address", frames::reach_out(1, address), {}});
    out.push_back({"the largest round", frames::reach_out(kMaxVarint, kElsewhere), {}});
  }
  return out;
}

TEST_P(HostilePaths, ForbiddenFrames) {
  for (const ExtensionCase& c : extension_cases(peer_is_server())) {
    SCOPED_TRACE(c.name);
    HostilePeer& peer = connect_extended();
    peer.send(Level::kOneRtt, c.frames);
    EXPECT_TRUE(world.run());
    expect_answer(peer, c.codes);
    if (c.codes.empty()) {
      world.run_for(5s);
      EXPECT_FALSE(peer.closed());
    }
    world.clear();
  }
  expect_recovery();
}

// The last path, by its number, and with it anything that may still arrive there.
TEST_P(HostilePaths, AbandonedLastPath) {
  for (bool goes_on : {false, true}) {
    for (bool multiple : {false, true}) {
      if (multiple && peer_is_server()) continue;
      SCOPED_TRACE(testing::Message() << goes_on << multiple);
      HostilePeer& peer = connect_extended();
      if (multiple) open_path(peer, 1, world.next_address());
      peer.send(Level::kOneRtt,
                concat({frames::path_abandon(0), frames::stream(peer_is_server() ? 1 : 0, 0, Bytes(9))}));
      if (multiple) peer.send(Level::kOneRtt, frames::path_abandon(1));
      world.run();
      for (int i = 0; i < 100 && goes_on; ++i) {
        peer.send(Level::kOneRtt, concat({frames::ping(), frames::path_challenge(1),
                                          frames::stream(4 * 9 + (peer_is_server() ? 1 : 0), 0, Bytes(9))}));
        world.run_for(100ms);
      }
      world.run_for(10s);
      EXPECT_TRUE(victims_connection().close_reason());
      if (victims_connection().close_reason()) {
        EXPECT_EQ(victims_connection().close_reason()->code, kNoViablePath);
      }
      world.run_for(30s);
      world.clear();
    }
  }
  expect_recovery();
}

// A server's packets on paths that the client never opened, but issued ids for; a client's with what it may
// not send.
TEST_P(HostilePaths, PacketsOnPathsThatAreNotOpen) {
  const Bytes bodies[] = {frames::ping(),
                          frames::path_challenge(1),
                          frames::path_response(1),
                          frames::stream(peer_is_server() ? 1 : 0, 0, Bytes(10)),
                          frames::path_abandon(1),
                          frames::path_abandon(0),
                          frames::path_status(1, 1, true),
                          frames::path_ack(1, {{0, 0}}),
                          frames::path_ack(0, {{0, 0}}),
                          frames::ack({{0, 0}}),
                          frames::path_retire_connection_id(1, 0),
                          frames::path_retire_connection_id(0, 0),
                          frames::observed_address(1, kElsewhere),
                          frames::handshake_done(),
                          frames::immediate_ack(),
                          frames::ack_frequency(1, 1, 100'000, 1),
                          frames::crypto(0, Bytes(10)),
                          frames::datagram(Bytes(10)),
                          frames::application_close(1),
                          frames::raw(0x21, {}),
                          {}};
  for (const Bytes& body : bodies) {
    for (bool with_id : {false, true}) {
      SCOPED_TRACE(testing::PrintToString(body));
      HostilePeer& peer = connect_extended();
      if (with_id) peer.send(Level::kOneRtt, peer.issue_path_id(1, 0));
      world.run();
      peer.send_on_path(1, peer.address(), body);
      peer.send_on_path(1, world.next_address(), concat({body, frames::ping()}));
      peer.send_on_path(7, world.next_address(), concat({body, frames::ping()}));
      world.run_for(1s);
      EXPECT_EQ(peer.malformed(), 0u);
      world.clear();
    }
  }
  expect_recovery();
}

// Packets sealed for another path than their destination's.
TEST_P(HostilePaths, PacketsOfAnotherPath) {
  HostilePeer& peer = connect_extended();
  if (!peer_is_server()) open_path(peer, 1, world.next_address());
  const auto destination = peer.path_destination(1);
  ASSERT_TRUE(destination);
  const Bytes own = peer.destination_id();
  peer.set_destination_id(*destination);
  for (int i = 0; i < 100; ++i) peer.send(Level::kOneRtt, frames::raw(0x21, {}));
  world.run();
  EXPECT_FALSE(peer.closed());
  peer.set_destination_id(own);
  EXPECT_TRUE(world.is_usable(peer));
  expect_recovery();
}

// ---- Floods

constexpr size_t kMaxGrowth = 6 * 1024 * 1024;

Bytes id_of(uint64_t number) {
  ByteWriter writer;
  writer.u64(number ^ 0x5555);
  return writer.take();
}

Bytes token_of(uint64_t number) { return concat({id_of(number), id_of(~number)}); }

TEST_P(HostilePaths, FrameFloods) {
  struct Flood {
    const char* name;
    int rounds;
    std::function<Bytes(uint64_t)> frames;
  };
  const std::vector<Flood> floods = {
      {"ids for a path, each retires all before", 3000,
       [](uint64_t i) { return frames::path_new_connection_id(1, i + 1, i + 1, id_of(i), token_of(i)); }},
      {"ids for all paths, each retires all before", 3000,
       [](uint64_t i) {
         return frames::path_new_connection_id(i % 8, i / 8 + 1, i / 8 + 1, id_of(i), token_of(i));
       }},
      {"retirement of ids of all paths", 3000,
       [](uint64_t i) { return frames::path_retire_connection_id(1 + i % 7, i / 7); }},
      {"PATH_STATUS", 5000, [](uint64_t i) { return frames::path_status(0, i, i % 2 == 0); }},
      {"PATH_STATUS of any path", 5000, [](uint64_t i) { return frames::path_status(i * 7, i, i % 2 == 0); }},
      {"MAX_PATH_ID", 3000, [](uint64_t i) { return frames::max_path_id(10 + i); }},
      {"PATHS_BLOCKED", 3000, [](uint64_t i) { return frames::paths_blocked(i % 8); }},
      {"PATH_CIDS_BLOCKED", 3000, [](uint64_t i) { return frames::path_cids_blocked(i % 8, 0); }},
      {"PATH_ABANDON of paths never opened", 5000, [](uint64_t i) { return frames::path_abandon(1 + i); }},
      {"PATH_ACK again", 3000, [](uint64_t) { return frames::path_ack(0, {{0, 0}}); }},
      {"ACK_FREQUENCY", 3000,
       [](uint64_t i) { return frames::ack_frequency(i, i, 1000 + i * 1'000'000, i % 3); }},
      {"IMMEDIATE_ACK", 3000, [](uint64_t) { return frames::immediate_ack(); }},
      {"addresses", 5000,
       [this](uint64_t i) {
         return peer_is_server() ? frames::add_address(i, bystander(i)) : frames::reach_out(i, bystander(i));
       }},
      {"addresses that change", 5000,
       [this](uint64_t i) {
         return peer_is_server() ? frames::add_address(i % 32, bystander(i))
                                 : frames::reach_out(i, bystander(i));
       }},
      {"addresses that come and go", 5000,
       [this](uint64_t i) {
         return peer_is_server() ? concat({frames::add_address(i, bystander(i)), frames::remove_address(i)})
                                 : frames::ping();
       }},
  };
  for (const Flood& each : floods) {
    SCOPED_TRACE(each.name);
    HostilePeer& peer = connect_extended();
    const size_t before = heap();
    flood(peer, each.rounds, each.frames);
    EXPECT_LT(heap(), before + kMaxGrowth);
    EXPECT_LE(world.victim().connection_count(), 2u);
    EXPECT_EQ(peer.malformed(), 0u);
    EXPECT_TRUE(world.serves_honest_client());
    world.clear();
  }
  expect_recovery();
}

// Nobody takes them.
TEST_P(HostilePaths, DatagramFlood) {
  for (size_t size : {0u, 1u, 100u, 1000u}) {
    SCOPED_TRACE(size);
    HostilePeer& peer = connect_extended();
    victims_connection().set_observer(nullptr);
    const size_t before = heap();
    Bytes several;
    while (several.size() < 1000) several = concat({several, frames::datagram(Bytes(size))});
    flood(peer, 2000, [&](uint64_t) { return several; });
    EXPECT_LT(heap(), before + kMaxGrowth);
    EXPECT_FALSE(peer.closed());
    size_t kept = 0;
    while (victims_connection().datagrams().receive()) ++kept;
    EXPECT_LE(kept, quic::Limits().max_queued_datagrams);
    world.clear();
  }
  expect_recovery();
}

// Each path is opened, used and abandoned; the victim allows a further one for each. Late acknowledgements
// make the paths drain for long.
TEST(HostilePathsOfClient, OpenedAndAbandoned) {
  for (Duration delay : {0ms, 3000ms}) {
    SCOPED_TRACE(delay / 1ms);
    CheckedWorld world(1);
    HostilePeer::Config config = HostileWorld::hooks();
    config.edit_parameters = HostilePeer::add_extensions;
    HostilePeer& peer = world.add_client(std::move(config));
    world.run_for(100ms);
    ASSERT_TRUE(peer.confirmed());
    const size_t before = heap();
    peer.set_acknowledging(delay == 0ms);
    uint32_t opened = 0;
    for (uint32_t path = 1; path < 3000 && !peer.closed(); ++path) {
      peer.send(Level::kOneRtt, concat({frames::max_path_id(path + 1000), peer.issue_path_id(path, 0)}));
      world.run();
      for (int i = 0; i < 20 && delay > 0ms && !peer.path_destination(path); ++i) {
        world.run_for(delay);
        peer.acknowledge();
        world.run();
      }
      if (!peer.path_destination(path)) break;
      peer.send_on_path(path, peer.address(), concat({frames::path_challenge(path), frames::ping()}));
      peer.send(Level::kOneRtt, frames::path_abandon(path));
      world.run();
      ++opened;
    }
    if (delay == 0ms) {
      EXPECT_EQ(opened, 2999u);
    } else {
      ASSERT_TRUE(peer.closed()) << opened;
      EXPECT_EQ(peer.closed()->code, kPathResourceLimit);
    }
    EXPECT_LT(heap(), before + kMaxGrowth);
    EXPECT_TRUE(world.serves_honest_client());
    world.clear();
    EXPECT_EQ(world.victim().connection_count(), 0u);
  }
}

// ---- Traffic to others

// core/src/connection.rs: VALIDATION_BURST and VALIDATION_INTERVAL.
uint64_t validation_limit(Duration time) { return 512 + static_cast<uint64_t>(time / 16ms) + 1; }

// A client names addresses; the server probes each of them, whoever is there. The core limits what it sends
// so: noq-proto 1.4 does not.
TEST(HostilePathsOfClient, ReachOutIsNoReflector) {
  CheckedWorld world(1);
  HostilePeer::Config config = HostileWorld::hooks();
  config.edit_parameters = HostilePeer::add_extensions;
  HostilePeer& peer = world.add_client(std::move(config));
  world.run_for(100ms);
  ASSERT_TRUE(peer.confirmed());
  const TimePoint start = world.now();
  for (uint64_t round = 1; round <= 1000 && !peer.closed(); ++round) {
    Bytes frames;
    for (uint64_t i = 0; i < quic::Limits().max_nat_candidates; ++i)
      frames = concat({frames, frames::reach_out(round, bystander(round * 32 + i))});
    peer.send(Level::kOneRtt, frames);
    world.run_for(10ms);
  }
  world.run_for(10s);
  EXPECT_LE(world.reflected().datagrams, validation_limit(world.now() - start));
  EXPECT_TRUE(world.is_usable(peer));
  EXPECT_TRUE(world.serves_honest_client());
}

// Challenges from addresses of others: the answer goes there, and is larger. RFC 9000, 8.2.2 wants no more
// than three times of what came; noq-proto 1.4 always sends 1200 bytes, which its own NAT traversal counts
// on.
TEST(HostilePathsOfClient, PathResponsesAreNoReflector) {
  CheckedWorld world(1);
  HostilePeer::Config config = HostileWorld::hooks();
  config.edit_parameters = HostilePeer::add_extensions;
  HostilePeer& peer = world.add_client(std::move(config));
  world.run_for(100ms);
  ASSERT_TRUE(peer.confirmed());
  const TimePoint start = world.now();
  for (uint64_t i = 0; i < 5000; ++i) {
    world.inject(bystander(i), peer.packet(Level::kOneRtt, frames::path_challenge(i)));
    if (i % 10 == 9) world.run_for(10ms);
  }
  world.run_for(10s);
  EXPECT_LE(world.reflected().datagrams, validation_limit(world.now() - start));
  EXPECT_TRUE(world.is_usable(peer));
  EXPECT_TRUE(world.serves_honest_client());
}

// A server names addresses; the client probes them when its application asks for it, and only then.
TEST(HostilePathsOfServer, AddressesAreProbedOnDemand) {
  CheckedWorld world(1);
  HostilePeer::Config config = HostileWorld::hooks();
  config.edit_parameters = HostilePeer::add_extensions;
  HostilePeer& peer = world.add_server(std::move(config));
  world.run_for(100ms);
  for (uint64_t i = 0; i < 1000; ++i) peer.send(Level::kOneRtt, frames::add_address(i, bystander(i)));
  world.run_for(10s);
  EXPECT_EQ(world.reflected().datagrams, 0u);
  quic::Connection& connection = world.connections().back()->connection();
  EXPECT_TRUE(connection.paths().add_candidate(kElsewhere));
  const auto probed = connection.paths().punch(world.now());
  ASSERT_TRUE(probed);
  EXPECT_LE(*probed, quic::Limits().max_nat_candidates);
  world.run_for(20s);
  EXPECT_LE(world.reflected().datagrams, 9u * quic::Limits().max_nat_candidates);
  EXPECT_TRUE(world.is_usable(peer));
}

// As many gaps on as many paths as there can be. noq-proto 1.4 writes an acknowledgement for each without
// looking for room in the packet and panics, in release builds too: this connection ends without a word, and
// nothing else.
TEST(HostilePathsOfClient, AcknowledgementsLargerThanAPacket) {
  HostileWorld world(1);
  HostilePeer::Config config = HostileWorld::hooks();
  config.edit_parameters = HostilePeer::add_extensions;
  HostilePeer& peer = world.add_client(std::move(config));
  world.run_for(100ms);
  ASSERT_TRUE(peer.confirmed());
  peer.send(Level::kOneRtt, frames::ack_frequency(0, 1'000'000, 16'000'000, 0));
  for (uint32_t path = 1; path <= 7; ++path) {
    peer.send(Level::kOneRtt, peer.issue_path_id(path, 0));
    world.run();
    peer.send_on_path(path, peer.address(), frames::path_challenge(path));
    world.run();
  }
  peer.set_acknowledging(false);
  for (uint64_t i = 0; i < 300; ++i) {
    for (uint32_t path = 1; path <= 7; ++path) {
      peer.skip_numbers(path, 1 + 100'000 * (i % 2));
      peer.send_on_path(path, peer.address(), frames::ping());
    }
  }
  world.run_for(1s);
  EXPECT_LE(world.core_faults(), 1u);
  const auto& reason = world.connections().back()->closed;
  EXPECT_EQ(reason.has_value(), world.core_faults() == 1);
  EXPECT_TRUE(world.serves_honest_client());
  world.clear();
  EXPECT_EQ(world.victim().connection_count(), 0u);
  EXPECT_TRUE(world.serves_honest_client());
}

}  // namespace
}  // namespace culvert::sim
