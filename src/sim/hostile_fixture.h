#pragma once
#include <gtest/gtest.h>

#include <string>

#include "sim/hostile_world.h"

// The sanitizers' allocator, where it is linked in.
extern "C" __attribute__((weak)) size_t __sanitizer_get_current_allocated_bytes();

// Tests only: what every attack must leave behind.
namespace culvert::sim {

// RFC 9000, 20.1.
enum TransportError : uint64_t {
  kInternalError = 0x01,
  kFlowControlError = 0x03,
  kStreamLimitError = 0x04,
  kStreamStateError = 0x05,
  kFinalSizeError = 0x06,
  kFrameEncodingError = 0x07,
  kTransportParameterError = 0x08,
  kConnectionIdLimitError = 0x09,
  kProtocolViolation = 0x0a,
  kCryptoBufferExceeded = 0x0d,
  kKeyUpdateError = 0x0e,
  kAeadLimitReached = 0x0f,
};

// RFC 9001, 4.8: CRYPTO_ERROR is 0x100 and the TLS alert.
constexpr uint64_t kUnexpectedMessage = 0x10a;
constexpr uint64_t kNoApplicationProtocol = 0x178;
constexpr uint64_t kMissingExtension = 0x16d;

inline std::string role_name(const testing::TestParamInfo<bool>& info) {
  return info.param ? "Server" : "Client";
}

// The parameter is the role of the hostile peer.
class Hostile : public testing::TestWithParam<bool> {
 protected:
  bool peer_is_server() const { return GetParam(); }

  HostilePeer& connect(HostilePeer::Config config = HostileWorld::hooks()) {
    HostilePeer& peer = world.add(peer_is_server(), std::move(config));
    EXPECT_TRUE(world.run());
    return peer;
  }

  // The victim closed with one of these codes.
  void expect_closed(const HostilePeer& peer, std::initializer_list<uint64_t> codes) {
    ASSERT_TRUE(peer.closed());
    EXPECT_NE(std::ranges::find(codes, peer.closed()->code), codes.end())
        << "closed with 0x" << std::hex << peer.closed()->code;
    EXPECT_FALSE(peer.closed()->application);
    EXPECT_EQ(peer.malformed(), 0u);
  }

  // It closed with an error that blames the peer, or the connection works, or the handshake did not get far
  // enough for either and runs into its timeout.
  void expect_contained(HostilePeer& peer) {
    EXPECT_EQ(peer.malformed(), 0u);
    if (peer.closed()) {
      EXPECT_FALSE(peer.closed()->application);
      EXPECT_GT(peer.closed()->code, kInternalError);
    } else if (peer.confirmed()) {
      EXPECT_TRUE(world.is_usable(peer));
    }
  }

  // After any attack the victim serves others; once its connections ended, nothing is left of them.
  void expect_recovery() {
    EXPECT_TRUE(world.serves_honest_client());
    world.clear();
    EXPECT_EQ(world.victim().connection_count(), 0u);
    EXPECT_EQ(world.victim().unfinished_handshakes(), 0u);
    EXPECT_TRUE(world.serves_honest_client());
  }

  // Bytes on the heap, 0 without a sanitizer's allocator.
  static size_t heap() {
    return __sanitizer_get_current_allocated_bytes == nullptr ? 0 : __sanitizer_get_current_allocated_bytes();
  }

  HostileWorld world{1};
};

}  // namespace culvert::sim
