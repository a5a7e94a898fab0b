#pragma once
#include <memory>

#include "base/bytes.h"
#include "base/result.h"

namespace culvert::tls {

// A public key of a peer that signs JSON (RFC 7518). The algorithm follows from the kind of key: a peer does
// not choose it. Copies share one immutable key.
class SignatureKey {
 public:
  // ECDSA on P-256, "ES256": the coordinates of a point, 32 bytes each. kInvalid: it is not on the curve.
  static Result<SignatureKey> p256(ByteView x, ByteView y);
  // RSA with PKCS #1 1.5, "RS256", big endian. kInvalid: a modulus that is not of 2048 to 4096 bits, which a
  // verification that anyone may ask for can afford, or an exponent that no generator of keys chooses.
  static Result<SignatureKey> rsa(ByteView modulus, ByteView exponent);
  // "EdDSA" (RFC 8037): 32 bytes.
  static Result<SignatureKey> ed25519(ByteView point);

  const char* algorithm() const;
  // `signature` in the form of JWS: r and s of 32 bytes for ES256.
  bool verify(ByteView message, ByteView signature) const;
  // The SubjectPublicKeyInfo in DER, as certificates and requests have it.
  const Bytes& public_key_der() const;

 private:
  struct Impl;
  explicit SignatureKey(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

  std::shared_ptr<const Impl> impl_;
};

}  // namespace culvert::tls
