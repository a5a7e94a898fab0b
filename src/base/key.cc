#include "base/key.h"

#include <openssl/bn.h>
#include <openssl/evp.h>

#include <algorithm>
#include <memory>

#include "base/check.h"
#include "base/crypto.h"
#include "base/encoding.h"

namespace culvert {
namespace {

using KeyBytes = std::array<uint8_t, PublicKey::kSize>;

struct OpensslFree {
  void operator()(BIGNUM* p) const { BN_free(p); }
  void operator()(BN_CTX* p) const { BN_CTX_free(p); }
  void operator()(BN_MONT_CTX* p) const { BN_MONT_CTX_free(p); }
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  void operator()(EVP_MD_CTX* p) const { EVP_MD_CTX_free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, OpensslFree>;

constexpr const char* kP = "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed";
constexpr const char* kD = "52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3";

// L, the order of the base point, little-endian as in a signature. RFC 8032, 5.1.
constexpr KeyBytes kOrder = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
                             0xa2, 0xde, 0xf9, 0xde, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                             0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10};

// The y of the eight points whose order divides 8, without the sign of x: Chalkias, Garillot and Nikolaenko,
// "Taming the many EdDSAs" (2020), table 1. A signature by such a key, or with such an R, is valid for
// messages that were never signed. Non-canonical encodings of these points do not decompress.
constexpr std::array<KeyBytes, 5> kSmallOrder = {{
    {0x01},
    {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    {0x00},
    {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
     0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
    {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
     0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
}};

bool is_small_order(KeyBytes point) {
  point.back() &= 0x7f;
  return std::ranges::find(kSmallOrder, point) != kSmallOrder.end();
}

// The field that Ed25519 lives in. Made at first use and never destroyed: threads may verify while the
// program ends.
struct Field {
  Owned<BIGNUM> p;
  Owned<BIGNUM> d;
  Owned<BIGNUM> half;  // (p - 1) / 2
  Owned<BN_MONT_CTX> mont;

  static const Field& instance() {
    static const Field* field = new Field();
    return *field;
  }

 private:
  Field() : p(from_text(kP)), d(from_text(kD)), half(BN_dup(p.get())), mont(BN_MONT_CTX_new()) {
    Owned<BN_CTX> scratch(BN_CTX_new());
    CHECK(half && mont && scratch);
    CHECK(BN_rshift1(half.get(), half.get()) == 1);
    CHECK(BN_MONT_CTX_set(mont.get(), p.get(), scratch.get()) == 1);
  }
  static Owned<BIGNUM> from_text(const char* hex) {
    BIGNUM* number = nullptr;
    CHECK(BN_hex2bn(&number, hex) > 0);
    return Owned<BIGNUM>(number);
  }
};

// RFC 8032, 5.1.3 without computing x: y decompresses when x^2 = (y^2 - 1) / (d y^2 + 1) is a square mod p.
// The divisor is never zero, and a quotient is a square exactly when the product is, so one power (Euler's
// criterion) decides.
bool decompresses(const KeyBytes& bytes) {
  const Field& field = Field::instance();
  const BIGNUM* p = field.p.get();
  const bool x_is_odd = (bytes.back() & 0x80) != 0;
  KeyBytes y_bytes = bytes;
  y_bytes.back() &= 0x7f;

  Owned<BN_CTX> scratch(BN_CTX_new());
  Owned<BIGNUM> y(BN_lebin2bn(y_bytes.data(), static_cast<int>(y_bytes.size()), nullptr));
  Owned<BIGNUM> divisor(BN_new());
  CHECK(scratch && y && divisor);
  if (BN_cmp(y.get(), p) >= 0) return false;

  BIGNUM* square = y.get();
  CHECK(BN_mod_sqr(square, y.get(), p, scratch.get()) == 1);
  CHECK(BN_mod_mul(divisor.get(), field.d.get(), square, p, scratch.get()) == 1);
  CHECK(BN_add_word(divisor.get(), 1) == 1);
  if (BN_is_zero(square)) CHECK(BN_copy(square, p) != nullptr);
  CHECK(BN_sub_word(square, 1) == 1);
  if (BN_is_zero(square)) return !x_is_odd;  // x is 0, which has no odd form

  Owned<BIGNUM> product(BN_new());
  CHECK(product);
  CHECK(BN_mod_mul(product.get(), square, divisor.get(), p, scratch.get()) == 1);
  CHECK(BN_mod_exp_mont(product.get(), product.get(), field.half.get(), p, scratch.get(), field.mont.get()) ==
        1);
  return BN_is_one(product.get());
}

// S < L: otherwise S + L would be a second signature of the same message.
bool is_canonical_s(const Signature& signature) {
  const auto s = ByteView(signature).last<32>();
  return std::lexicographical_compare(s.rbegin(), s.rend(), kOrder.rbegin(), kOrder.rend());
}

Owned<EVP_PKEY> private_key(ByteView seed) {
  Owned<EVP_PKEY> key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()));
  CHECK(key);
  return key;
}

// Never of small order: the clamped scalar is a multiple of 8 below 8 L, so it is not a multiple of L.
KeyBytes derive_public(ByteView seed) {
  KeyBytes bytes;
  size_t size = bytes.size();
  CHECK(EVP_PKEY_get_raw_public_key(private_key(seed).get(), bytes.data(), &size) == 1 &&
        size == bytes.size());
  return bytes;
}

}  // namespace

Result<PublicKey> PublicKey::from_bytes(ByteView bytes) {
  if (bytes.size() != kSize) {
    return fail(ErrorCode::kInvalid, "a public key has {} bytes, not {}", kSize, bytes.size());
  }
  KeyBytes copy;
  std::ranges::copy(bytes, copy.begin());
  if (!decompresses(copy))
    return fail(ErrorCode::kInvalid, "these {} bytes are no Ed25519 public key", kSize);
  if (is_small_order(copy)) {
    return fail(ErrorCode::kInvalid,
                "these {} bytes are an Ed25519 point of small order, which identifies no peer", kSize);
  }
  return PublicKey(copy);
}

Result<PublicKey> PublicKey::parse(std::string_view text) {
  auto bytes = text.size() == 2 * kSize ? from_hex(text) : from_base32(text);
  if (!bytes || bytes->size() != kSize) {
    return fail(ErrorCode::kInvalid,
                "a key is 64 lower-case hex characters or 52 base32 characters; this text of {} characters "
                "is neither",
                text.size());
  }
  return from_bytes(*bytes);
}

std::string PublicKey::to_string() const { return to_hex(bytes_); }
std::string PublicKey::short_text() const { return to_hex(ByteView(bytes_).first(5)); }
std::string PublicKey::to_zbase32() const { return culvert::to_zbase32(bytes_); }
std::string PublicKey::tls_name() const { return to_base32hex(bytes_) + ".iroh.invalid"; }

bool PublicKey::verify(ByteView message, const Signature& signature) const {
  KeyBytes r;
  std::copy_n(signature.begin(), r.size(), r.begin());
  if (is_small_order(r) || !is_canonical_s(signature)) return false;

  Owned<EVP_PKEY> key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, bytes_.data(), bytes_.size()));
  Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
  CHECK(key && context);
  CHECK(EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1);
  return EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(),
                          message.size()) == 1;
}

SecretKey::SecretKey(const SecretBytes<kSize>& seed)
    : seed_(seed), public_key_(derive_public(seed.expose())) {}

SecretKey SecretKey::generate(Random& random) { return SecretKey(SecretBytes<kSize>::random(random)); }

Result<SecretKey> SecretKey::from_seed(ByteView seed) {
  if (seed.size() != kSize) {
    return fail(ErrorCode::kInvalid, "a secret key has {} bytes, not {}", kSize, seed.size());
  }
  return SecretKey(SecretBytes<kSize>::from(seed));
}

Signature SecretKey::sign(ByteView message) const {
  Signature signature;
  size_t size = signature.size();
  Owned<EVP_PKEY> key = private_key(seed_.expose());
  Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
  CHECK(context);
  CHECK(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1);
  CHECK(EVP_DigestSign(context.get(), signature.data(), &size, message.data(), message.size()) == 1);
  CHECK(size == signature.size());
  return signature;
}

}  // namespace culvert
