// Frames that break the rules of RFC 9000, in packets of every type.
#include "sim/hostile_fixture.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;

class HostileFrames : public Hostile {
 protected:
  // Sends to the newest id of the victim's from now on.
  static void use_next_id(HostilePeer& peer) {
    const auto ids = peer.received_frames<NewConnectionIdFrame>();
    if (!ids.empty()) peer.set_destination_id(ids.back().id);
  }
};
INSTANTIATE_TEST_SUITE_P(As, HostileFrames, testing::Bool(), role_name);

constexpr uint64_t kMaxVarint = (uint64_t{1} << 62) - 1;

std::string level_name(Level level) {
  switch (level) {
    case Level::kInitial:
      return "Initial";
    case Level::kZeroRtt:
      return "ZeroRtt";
    case Level::kHandshake:
      return "Handshake";
    case Level::kOneRtt:
      return "OneRtt";
  }
  return {};
}

// Sends `bytes` in a packet of this level while the victim can read it: in front of the first message of the
// peer that has its keys, or behind the ClientHello, or once the connection is open.
HostilePeer& attack(HostileWorld& world, bool is_server, Level level, const Bytes& bytes) {
  HostilePeer* peer = nullptr;
  HostilePeer::Config config = HostileWorld::hooks();
  const bool early = level == Level::kHandshake || (level == Level::kInitial && is_server);
  const uint8_t moment = level == Level::kInitial ? tls::kServerHello
                         : is_server              ? tls::kEncryptedExtensions
                                                  : tls::kCertificate;
  if (early) {
    config.edit_message = [&](uint8_t type, Bytes message) {
      if (type == moment) peer->send(level, bytes);
      return message;
    };
  }
  peer = &world.add(is_server, std::move(config));
  if (level == Level::kOneRtt) EXPECT_TRUE(world.run());
  if (!early) peer->send(level, bytes);
  EXPECT_TRUE(world.run());
  return *peer;
}

// Every type there is and some there are not, with bodies that fit none, few or many of them.
TEST_P(HostileFrames, EveryFrameInEveryPacket) {
  std::vector<uint64_t> types = {0x4000, 0x15228c00, kMaxVarint};
  for (uint64_t type = 0; type <= 0x40; ++type) types.push_back(type);
  Bytes noise(64);
  SeededRandom(7).fill(noise);
  const std::vector<Bytes> bodies = {
      {},    {0},         Bytes(8, 0), Bytes(20, 0xff), concat({Bytes{1, 0, 8}, Bytes(27, 1)}),
      noise, Bytes(7, 4), {0xc0}};
  for (Level level : {Level::kInitial, Level::kZeroRtt, Level::kHandshake, Level::kOneRtt}) {
    for (uint64_t type : types) {
      for (size_t i = 0; i < bodies.size(); ++i) {
        SCOPED_TRACE(testing::Message()
                     << level_name(level) << ", frame 0x" << std::hex << type << ", body " << i);
        HostilePeer& peer = attack(world, peer_is_server(), level, frames::raw(type, bodies[i]));
        if (type == 0x19) use_next_id(peer);  // it may have retired the one in use
        // A close of the peer itself is answered with nothing.
        const bool may_have_closed = type == 0x1c || type == 0x1d;
        if (may_have_closed) {
          EXPECT_EQ(peer.malformed(), 0u);
        } else {
          expect_contained(peer);
        }
        if (HasFailure()) return;
      }
      world.clear();
    }
    EXPECT_TRUE(world.serves_honest_client());
  }
  expect_recovery();
}

// The connection of an unreadable or empty packet.
TEST_P(HostileFrames, EmptyAndUnpaddedPackets) {
  for (Level level : {Level::kHandshake, Level::kOneRtt}) {
    HostilePeer& peer = attack(world, peer_is_server(), level, {});
    expect_contained(peer);
  }
  expect_recovery();
}

struct FrameCase {
  const char* name;
  std::function<Bytes(HostilePeer&)> frames;
  std::vector<uint64_t> codes;  // none: the connection goes on
};

// In 1-RTT packets. `own` and `other`: the low bit of streams that the peer and the victim open.
std::vector<FrameCase> frame_cases(uint64_t own, uint64_t other) {
  auto fixed = [](Bytes bytes) { return [bytes](HostilePeer&) { return bytes; }; };
  const Bytes byte{1};
  const Bytes token(16, 1);
  const Bytes id(8, 1);
  return {
      // Streams.
      {"data beyond the stream window", fixed(frames::stream(own, 100'000'000, byte)), {kFlowControlError}},
      {"data beyond 2^62",
       fixed(frames::stream(own, kMaxVarint, byte)),
       {kFrameEncodingError, kFlowControlError}},
      {"a stream past the limit", fixed(frames::stream(4 * 100'000 + own, 0, byte)), {kStreamLimitError}},
      {"a unidirectional stream past the limit",
       fixed(frames::stream(4 * 1000 + 2 + own, 0, byte)),
       {kStreamLimitError}},
      {"the largest stream id", fixed(frames::stream(kMaxVarint - 3 + own, 0, byte)), {kStreamLimitError}},
      {"a stream of the victim that is not open", fixed(frames::stream(other, 0, byte)), {kStreamStateError}},
      {"data on a stream that only sends", fixed(frames::stream(2 + other, 0, byte)), {kStreamStateError}},
      // RFC 9000, 4.5 wants FINAL_SIZE_ERROR but does not require it: noq-proto 1.4 does not look, and the
      // stream never
      // ends.
      {"a final size below what came",
       fixed(concat({frames::stream(own, 0, Bytes(10)), frames::stream(own, 0, byte, true)})),
       {}},
      {"data past the final size",
       fixed(concat({frames::stream(own, 0, byte, true), frames::stream(own, 1, byte)})),
       {kFinalSizeError}},
      {"another final size",
       fixed(concat({frames::stream(own, 0, byte, true), frames::reset_stream(own, 0, 5)})),
       {kFinalSizeError}},
      {"a reset beyond the window", fixed(frames::reset_stream(own, 0, kMaxVarint)), {kFlowControlError}},
      {"a reset of a stream that is not open", fixed(frames::reset_stream(other, 0, 0)), {kStreamStateError}},
      {"a reset of a stream that only sends",
       fixed(frames::reset_stream(2 + other, 0, 0)),
       {kStreamStateError, kProtocolViolation}},
      {"STOP_SENDING of a stream that is not open",
       fixed(frames::stop_sending(other, 0)),
       {kStreamStateError}},
      {"STOP_SENDING of a stream that only receives",
       fixed(frames::stop_sending(2 + own, 0)),
       {kStreamStateError}},
      {"STOP_SENDING of a new stream", fixed(frames::stop_sending(own, kMaxVarint)), {}},
      {"the same data twice, differing",
       fixed(concat({frames::stream(own, 5, Bytes(10, 1)), frames::stream(own, 0, Bytes(12, 2))})),
       {}},
      // Flow control.
      {"MAX_STREAM_DATA of a stream that is not open",
       fixed(frames::max_stream_data(other, 1)),
       {kStreamStateError}},
      {"MAX_STREAM_DATA of a stream that only receives",
       fixed(frames::max_stream_data(2 + own, 1)),
       {kStreamStateError}},
      {"the largest limits",
       fixed(concat({frames::max_data(kMaxVarint), frames::max_stream_data(own, kMaxVarint),
                     frames::max_streams(true, uint64_t{1} << 60),
                     frames::max_streams(false, uint64_t{1} << 60)})),
       {}},
      {"limits that shrink",
       fixed(concat({frames::max_data(0), frames::max_stream_data(own, 0), frames::max_streams(true, 0),
                     frames::max_streams(false, 0)})),
       {}},
      {"MAX_STREAMS past 2^60",
       fixed(frames::max_streams(true, (uint64_t{1} << 60) + 1)),
       {kFrameEncodingError}},
      {"STREAMS_BLOCKED past 2^60",
       fixed(frames::streams_blocked(false, (uint64_t{1} << 60) + 1)),
       {kFrameEncodingError, kStreamLimitError}},
      {"blocked at anything",
       fixed(concat({frames::data_blocked(1000), frames::stream_data_blocked(own, 0),
                     frames::streams_blocked(true, 0)})),
       {}},
      {"STREAM_DATA_BLOCKED of a stream that only sends",
       fixed(frames::stream_data_blocked(2 + other, 0)),
       {kStreamStateError}},
      // Acknowledgements.
      {"of a packet never sent", fixed(frames::ack({{1'000'000, 1'000'000}})), {kProtocolViolation}},
      {"of the largest number", fixed(frames::ack({{0, kMaxVarint}})), {kProtocolViolation}},
      {"ranges below zero", fixed(frames::raw(0x02, Bytes{2, 0, 0, 5})), {kFrameEncodingError}},
      {"gaps below zero", fixed(frames::raw(0x02, Bytes{2, 0, 1, 0, 60, 0})), {kFrameEncodingError}},
      {"ECN counts that nothing explains",
       fixed(concat({frames::raw(0x03, Bytes{0, 0, 0, 0, 63, 63, 63})})),
       {}},
      {"a delay without end", fixed(frames::ack({{0, 0}}, kMaxVarint)), {}},
      // Connection ids.
      {"an id of no bytes", fixed(frames::new_connection_id(1, 0, {}, token)), {kFrameEncodingError}},
      {"an id of 21 bytes",
       fixed(frames::new_connection_id(1, 0, Bytes(21, 1), token)),
       {kFrameEncodingError}},
      {"retire_prior_to past the sequence",
       fixed(frames::new_connection_id(1, 2, id, token)),
       {kFrameEncodingError}},
      // RFC 9000, 19.15 allows an error for these two; noq-proto 1.4 uses the later one.
      {"the same id under two numbers",
       fixed(
           concat({frames::new_connection_id(1, 0, id, token), frames::new_connection_id(2, 0, id, token)})),
       {}},
      {"two ids under one number",
       fixed(concat({frames::new_connection_id(1, 0, id, token),
                     frames::new_connection_id(1, 0, Bytes(8, 2), token)})),
       {}},
      {"one reset token for two ids",
       fixed(concat({frames::new_connection_id(1, 0, id, token),
                     frames::new_connection_id(2, 0, Bytes(8, 2), token)})),
       {}},
      {"the largest sequence number",  // and with it all before
       fixed(frames::new_connection_id(kMaxVarint, 0, id, token)),
       {kConnectionIdLimitError}},
      {"retirement of an id never issued", fixed(frames::retire_connection_id(1000)), {kProtocolViolation}},
      {"retirement of the largest number",
       fixed(frames::retire_connection_id(kMaxVarint)),
       {kProtocolViolation}},
      // Others.
      {"CRYPTO far ahead", fixed(frames::crypto(1'000'000, byte)), {kCryptoBufferExceeded}},
      {"CRYPTO beyond 2^62",
       fixed(frames::crypto(kMaxVarint, byte)),
       {kFrameEncodingError, kCryptoBufferExceeded}},
      {"CRYPTO with a gap", fixed(frames::crypto(10, byte)), {}},
      {"PATH_RESPONSE that nobody asked for", fixed(frames::path_response(1)), {}},
      {"an empty payload of DATAGRAM", fixed(frames::datagram({})), {}},
      {"a length past the packet", fixed(frames::raw(0x06, Bytes{0, 40, 1})), {kFrameEncodingError}},
      {"an unknown frame", fixed(frames::raw(0x21, {})), {kFrameEncodingError}},
      {"an unknown frame of eight bytes", fixed(frames::raw(kMaxVarint, {})), {kFrameEncodingError}},
      {"a type in more bytes than needed", fixed(varint(1, 2)), {}},  // RFC 9000, 12.4 allows an error
      {"nothing", fixed({}), {kProtocolViolation}},
  };
}

TEST_P(HostileFrames, ForbiddenFrames) {
  const uint64_t own = peer_is_server() ? 1 : 0;
  for (const FrameCase& c : frame_cases(own, 1 - own)) {
    SCOPED_TRACE(c.name);
    HostilePeer& peer = connect();
    peer.send(Level::kOneRtt, c.frames(peer));
    EXPECT_TRUE(world.run());
    expect_answer(peer, c.codes);
    world.clear();
  }
  expect_recovery();
}

// Only servers send these.
TEST_P(HostileFrames, FramesOfServers) {
  for (const Bytes& frame : {frames::handshake_done(), frames::new_token(Bytes(20, 1))}) {
    HostilePeer& peer = connect();
    peer.send(Level::kOneRtt, frame);
    world.run();
    if (peer_is_server()) {
      EXPECT_TRUE(world.is_usable(peer));
    } else {
      expect_closed(peer, {kProtocolViolation});
    }
  }
  HostilePeer& peer = connect();
  peer.send(Level::kOneRtt, frames::new_token({}));
  world.run();
  expect_closed(peer, {kFrameEncodingError, kProtocolViolation});
  expect_recovery();
}

// The peer retires the id that its own packet carries. RFC 9000, 19.16 allows a connection error; noq-proto
// retires the id, and the peer may go on with another.
TEST_P(HostileFrames, RetirementOfTheIdInUse) {
  HostilePeer& peer = connect();
  peer.send(Level::kOneRtt, frames::retire_connection_id(0));
  world.run();
  EXPECT_FALSE(world.is_usable(peer));
  use_next_id(peer);
  EXPECT_TRUE(world.is_usable(peer));
  expect_recovery();
}

TEST_P(HostileFrames, OverlappingCrypto) {
  HostilePeer::Config config = HostileWorld::hooks();
  HostilePeer* peer = nullptr;
  config.edit_message = [&](uint8_t type, Bytes message) {
    if (type == tls::kFinished) {
      // Pieces of the level's stream that contradict what is sent next, and one far ahead.
      for (uint64_t offset : {3u, 40u, 20u, 1u})
        peer->send(Level::kHandshake, frames::crypto(offset, Bytes(30, 9)));
      peer->send(Level::kHandshake, frames::crypto(60'000, Bytes(30, 9)));
    }
    return message;
  };
  peer = &world.add(peer_is_server(), std::move(config));
  world.run();
  expect_contained(*peer);
  expect_recovery();
}

// Allowed: the handshake's messages in pieces, the last one first, and then all of them again.
TEST_P(HostileFrames, HandshakeInPieces) {
  for (size_t size : {1u, 7u, 100u}) {
    SCOPED_TRACE(size);
    HostilePeer* peer = nullptr;
    Bytes flight;
    HostilePeer::Config config = HostileWorld::hooks();
    config.edit_message = [&](uint8_t type, Bytes message) {
      if (type == tls::kClientHello || type == tls::kServerHello) return message;
      flight.insert(flight.end(), message.begin(), message.end());
      if (type != tls::kFinished) return message;
      for (size_t end = flight.size(); end > 0; end -= std::min(end, size)) {
        const size_t start = end - std::min(end, size);
        peer->send(Level::kHandshake, frames::crypto(start, ByteView(flight).subspan(start, end - start)));
      }
      return message;
    };
    peer = &world.add(peer_is_server(), std::move(config));
    world.run();
    EXPECT_TRUE(world.is_usable(*peer));
    world.clear();
  }
  expect_recovery();
}

TEST_P(HostileFrames, CryptoFarAheadInTheHandshake) {
  for (Level level : {Level::kInitial, Level::kHandshake}) {
    for (uint64_t offset : {uint64_t{65'536}, uint64_t{1} << 32, kMaxVarint}) {
      SCOPED_TRACE(testing::Message() << level_name(level) << " " << offset);
      HostilePeer& peer = attack(world, peer_is_server(), level, frames::crypto(offset, Bytes(1)));
      // Anybody can make Initial packets: a victim may drop a bad one.
      world.run_for(kPacing);
      if (level == Level::kInitial && !peer.closed()) {
        // noq-proto 1.4 ends the connection instead, and does not tell an address that it has not validated.
        EXPECT_FALSE(world.is_usable(peer));
        EXPECT_EQ(world.victim().unfinished_handshakes(), 0u);
      } else {
        expect_closed(peer, {kCryptoBufferExceeded, kFrameEncodingError});
      }
    }
  }
  expect_recovery();
}

}  // namespace
}  // namespace culvert::sim
