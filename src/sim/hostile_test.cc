// What a hostile peer can do to an engine: in either role, with keys of its own, or before it has any.
#include <gtest/gtest.h>

#include "sim/hostile_world.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;

// RFC 9001, 4.8: CRYPTO_ERROR with the TLS alert.
constexpr uint64_t kUnexpectedMessage = 0x10a;
constexpr uint64_t kMissingExtension = 0x16d;

std::string role_name(const testing::TestParamInfo<bool>& info) { return info.param ? "Server" : "Client"; }

// The parameter is the role of the hostile peer.
class Hostile : public testing::TestWithParam<bool> {
 protected:
  bool peer_is_server() const { return GetParam(); }
  HostilePeer& connect(HostilePeer::Config config = HostileWorld::hooks()) {
    HostilePeer& peer = world.add(peer_is_server(), std::move(config));
    EXPECT_TRUE(world.run());
    return peer;
  }
  // The victim closes with this code, forgets the connection, and serves the next one.
  void expect_closed(const HostilePeer& peer, uint64_t code) {
    ASSERT_TRUE(peer.closed());
    EXPECT_EQ(peer.closed()->code, code);
    EXPECT_FALSE(peer.closed()->application);
    world.run_for(20s);
    EXPECT_EQ(world.victim().connection_count(), 0u);
    EXPECT_TRUE(world.serves_honest_client());
  }

  HostileWorld world{1};
};
INSTANTIATE_TEST_SUITE_P(As, Hostile, testing::Bool(), role_name);

TEST_P(Hostile, WellBehavedPeerIsServed) {
  HostilePeer& peer = connect();
  EXPECT_TRUE(peer.complete());
  EXPECT_TRUE(peer.confirmed());
  EXPECT_TRUE(world.is_usable(peer));
  EXPECT_EQ(peer.malformed(), 0u);
  EXPECT_TRUE(world.serves_honest_client());
  world.clear();
  EXPECT_EQ(world.victim().connection_count(), 0u);
}

// RFC 9001, 8.2.
TEST_P(Hostile, TransportParametersAreRequired) {
  HostilePeer::Config config = HostileWorld::hooks();
  config.edit_extensions = [](uint8_t, tls::Extensions& extensions) {
    if (auto* found = tls::find(extensions, tls::kQuicTransportParameters)) found->type = 0xfafa;
  };
  HostilePeer& peer = connect(std::move(config));
  expect_closed(peer, kMissingExtension);
  EXPECT_EQ(world.victim().counters().tls_violations, 1u);
}

// RFC 9001, 6.
TEST_P(Hostile, TlsKeyUpdateIsRefused) {
  HostilePeer& peer = connect();
  peer.send_tls(Level::kOneRtt, tls::message(tls::kKeyUpdate, Bytes{0}));
  world.run();
  expect_closed(peer, kUnexpectedMessage);
  EXPECT_EQ(world.victim().counters().tls_violations, 1u);
}

// Behind the Finished, in the same CRYPTO frame: the TLS library sees it before the connection is open.
TEST_P(Hostile, TlsKeyUpdateWithTheFinishedIsRefused) {
  HostilePeer::Config config = HostileWorld::hooks();
  config.edit_message = [](uint8_t type, Bytes message) {
    return type == tls::kFinished ? concat({message, tls::message(tls::kKeyUpdate, Bytes{0})}) : message;
  };
  HostilePeer& peer = connect(std::move(config));
  expect_closed(peer, kUnexpectedMessage);
  EXPECT_EQ(world.victim().counters().tls_violations, 1u);
}

// And after it, at the same level. The victim may have dropped the level's keys, or read no more of it.
TEST_P(Hostile, TlsKeyUpdateAtTheHandshakeLevelIsRefusedOrIgnored) {
  HostilePeer::Config config = HostileWorld::hooks();
  config.send_handshake_done = false;  // a client may keep its Handshake keys until then
  HostilePeer& peer = world.add(peer_is_server(), std::move(config));
  peer.set_acknowledging(!peer_is_server());
  world.run();
  peer.send_tls(Level::kHandshake, tls::message(tls::kKeyUpdate, Bytes{0}));
  world.run();
  if (peer.closed()) {
    expect_closed(peer, kUnexpectedMessage);
  } else {
    EXPECT_TRUE(world.is_usable(peer));
  }
}

}  // namespace
}  // namespace culvert::sim
