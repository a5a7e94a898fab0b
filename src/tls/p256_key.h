#pragma once
#include <array>
#include <memory>

#include "base/bytes.h"
#include "base/result.h"
#include "base/secret.h"

struct evp_pkey_st;

namespace culvert::tls {

// An ECDSA key on P-256 (FIPS 186-5) with its private part: that of an ACME account or of a certificate.
// Copies share one immutable key.
class P256Key {
 public:
  static P256Key generate();
  // PKCS #8 or SEC 1, unencrypted. kInvalid; the message does not repeat the text.
  static Result<P256Key> from_pem(const SecretString& pem);
  SecretString to_pem() const;  // PKCS #8

  // The public point, big endian.
  struct Point {
    std::array<uint8_t, 32> x;
    std::array<uint8_t, 32> y;
  };
  const Point& point() const;

  // ECDSA over the message's SHA-256: r and s, 32 bytes each (RFC 7518, 3.4).
  std::array<uint8_t, 64> sign(ByteView message) const;

 private:
  struct Impl;
  friend evp_pkey_st* pkey_of(const P256Key& key);  // tls/openssl.h

  explicit P256Key(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

  std::shared_ptr<const Impl> impl_;
};

}  // namespace culvert::tls
