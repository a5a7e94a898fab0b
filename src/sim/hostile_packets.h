#pragma once
#include <optional>

#include "base/bytes.h"

// Tests only: QUIC version 1 packets and their protection (RFC 9000, 17; RFC 9001, 5) on OpenSSL's
// primitives. Independent of the QUIC core.
namespace culvert::sim {

// The first three are the type bits of their long headers (RFC 9000, 17.2).
enum class Level { kInitial, kZeroRtt, kHandshake, kOneRtt };
constexpr size_t kLevels = 4;

// RFC 8446, 7.1, with SHA-256.
Bytes hkdf_extract(ByteView salt, ByteView key);
Bytes hkdf_expand_label(ByteView secret, std::string_view label, ByteView context, size_t size);

// One direction of one level, AEAD_AES_128_GCM.
struct PacketKeys {
  Bytes secret;
  Bytes key;
  Bytes iv;
  Bytes header_key;

  static PacketKeys from_secret(ByteView secret);
  // RFC 9001, 6.1: the header key stays.
  PacketKeys next() const;
};

struct InitialKeys {
  PacketKeys client;
  PacketKeys server;
};
// `id`: the destination of the client's first Initial.
InitialKeys initial_keys(ByteView id);

struct PacketHeader {
  Level level = Level::kInitial;
  Bytes destination;
  Bytes source;  // long headers only
  Bytes token;   // Initial only
  uint64_t number = 0;
  bool key_phase = false;
  uint32_t path = 0;  // 1-RTT only: not in the header, but in the nonce (draft-ietf-quic-multipath, 2.4)
};

// Long headers carry version 1; packet numbers take four bytes.
Bytes seal(const PacketHeader& header, ByteView payload, const PacketKeys& keys);

// A valid one (RFC 9001, 5.8): whoever sees the client's first Initial can make it.
Bytes retry_packet(ByteView destination, ByteView source, ByteView original_destination, ByteView token);

// A packet found in a datagram, still protected.
struct ProtectedPacket {
  Level level;
  bool is_retry = false;
  Bytes destination;
  Bytes source;
  Bytes token;
  ByteView bytes;        // from its first byte to its end
  size_t number_offset;  // in `bytes`
};
// Cuts the first packet off. nullopt: none is left, it is malformed, or its version is another.
std::optional<ProtectedPacket> next_packet(ByteView& datagram, size_t own_id_size);

struct OpenedPacket {
  uint64_t number;
  bool key_phase;
  Bytes payload;
};
// `expected`: one more than the highest packet number opened before. `other_phase`: keys for the case that
// the key phase bit differs from `phase`. `path` is that of the packet's destination. nullopt: not for these
// keys.
std::optional<OpenedPacket> open(const ProtectedPacket& packet, const PacketKeys& keys, bool phase,
                                 const PacketKeys* other_phase, uint64_t expected, uint32_t path = 0);

}  // namespace culvert::sim
