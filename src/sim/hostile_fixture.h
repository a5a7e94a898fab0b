#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

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
constexpr uint64_t kBadCertificate = 0x12a;
constexpr uint64_t kIllegalParameter = 0x12f;
constexpr uint64_t kDecodeError = 0x132;
constexpr uint64_t kDecryptError = 0x133;
constexpr uint64_t kMissingExtension = 0x16d;
constexpr uint64_t kUnsupportedExtension = 0x16e;

// A CONNECTION_CLOSE is paced like all packets: with the initial round trip time it may be due so much later.
constexpr Duration kPacing = std::chrono::milliseconds(300);

inline std::string role_name(const testing::TestParamInfo<bool>& info) {
  return info.param ? "Server" : "Client";
}

// No attack makes the QUIC core panic: a caught panic costs its connection only, and is a bug all the same.
class CheckedWorld : public HostileWorld {
 public:
  using HostileWorld::HostileWorld;
  ~CheckedWorld() override { EXPECT_EQ(core_faults(), 0u); }
};

// Bytes on the heap, 0 without a sanitizer's allocator.
inline size_t heap() {
  return __sanitizer_get_current_allocated_bytes == nullptr ? 0 : __sanitizer_get_current_allocated_bytes();
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
    if (!peer.closed()) world.run_for(kPacing);
    ASSERT_TRUE(peer.closed());
    EXPECT_NE(std::ranges::find(codes, peer.closed()->code), codes.end())
        << "closed with 0x" << std::hex << peer.closed()->code;
    EXPECT_FALSE(peer.closed()->application);
    EXPECT_EQ(peer.malformed(), 0u);
  }

  // Already closed with one of these codes; with none of them, the connection works.
  void expect_answer(HostilePeer& peer, const std::vector<uint64_t>& codes) {
    if (codes.empty()) {
      EXPECT_TRUE(world.is_usable(peer)) << std::hex << (peer.closed() ? peer.closed()->code : 0);
    } else if (!peer.closed()) {
      ADD_FAILURE() << "not closed";
    } else {
      EXPECT_NE(std::ranges::find(codes, peer.closed()->code), codes.end())
          << "closed with 0x" << std::hex << peer.closed()->code;
    }
  }

  // It closed with an error that blames the peer, or the connection works, or the handshake did not get far
  // enough for either and runs into its timeout.
  void expect_contained(HostilePeer& peer) {
    if (!peer.closed() && !peer.confirmed()) world.run_for(kPacing);
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

  CheckedWorld world{1};
};

}  // namespace culvert::sim
