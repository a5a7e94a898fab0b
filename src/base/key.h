#pragma once
#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/random.h"
#include "base/result.h"
#include "base/secret.h"

// Ed25519 keys (RFC 8032) and their text forms, the same as iroh 1.x.
namespace culvert {

// A signature, 64 bytes.
using Signature = std::array<uint8_t, 64>;

// A public key: the identity and, as EndpointId, the address of a QUIC peer. Always the canonical encoding of
// a point of the curve that is not of small order: with such a point any peer can make a signature that
// verifies, so it identifies none.
class PublicKey {
 public:
  static constexpr size_t kSize = 32;

  // kInvalid unless 32 bytes that decode to such a point.
  static Result<PublicKey> from_bytes(ByteView bytes);
  // 64 characters are lower-case hex; anything else is unpadded base32.
  static Result<PublicKey> parse(std::string_view text);

  const std::array<uint8_t, kSize>& bytes() const { return bytes_; }
  std::string to_string() const;   // 64 lower-case hex characters
  std::string short_text() const;  // first 10 of them, for logs
  std::string to_zbase32() const;  // DNS label form
  std::string tls_name() const;    // "<base32hex>.iroh.invalid"

  // Strict verification: refuses non-canonical signatures and those with an R of small order.
  bool verify(ByteView message, const Signature& signature) const;

  auto operator<=>(const PublicKey&) const = default;

 private:
  explicit PublicKey(const std::array<uint8_t, kSize>& bytes) : bytes_(bytes) {}
  friend class SecretKey;

  std::array<uint8_t, kSize> bytes_;
};

using EndpointId = PublicKey;

// The 32-byte seed, with the public key that follows from it.
class SecretKey {
 public:
  static constexpr size_t kSize = 32;

  static SecretKey generate(Random& random);
  static Result<SecretKey> from_seed(ByteView seed);  // kInvalid unless 32 bytes

  const PublicKey& public_key() const { return public_key_; }
  ByteView expose_seed() const { return seed_.expose(); }
  Signature sign(ByteView message) const;

 private:
  explicit SecretKey(const SecretBytes<kSize>& seed);

  SecretBytes<kSize> seed_;
  PublicKey public_key_;
};

}  // namespace culvert

template <>
struct std::hash<culvert::PublicKey> {
  size_t operator()(const culvert::PublicKey& key) const noexcept {
    size_t value;  // key bytes are uniform already
    static_assert(sizeof value <= culvert::PublicKey::kSize);
    __builtin_memcpy(&value, key.bytes().data(), sizeof value);
    return value;
  }
};
