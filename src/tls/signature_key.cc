#include "tls/signature_key.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include <array>

#include "base/check.h"
#include "tls/openssl.h"

namespace culvert::tls {
namespace {

using BignumPtr = std::unique_ptr<BIGNUM, OpenSslDelete<BN_free>>;
using ParamBuilderPtr = std::unique_ptr<OSSL_PARAM_BLD, OpenSslDelete<OSSL_PARAM_BLD_free>>;
using ParamsPtr = std::unique_ptr<OSSL_PARAM, OpenSslDelete<OSSL_PARAM_free>>;
using PkeyContextPtr = std::unique_ptr<EVP_PKEY_CTX, OpenSslDelete<EVP_PKEY_CTX_free>>;
using DigestContextPtr = std::unique_ptr<EVP_MD_CTX, OpenSslDelete<EVP_MD_CTX_free>>;
using EcdsaPtr = std::unique_ptr<ECDSA_SIG, OpenSslDelete<ECDSA_SIG_free>>;

constexpr size_t kCoordinate = 32;
constexpr int kMinRsaBits = 2048, kMaxRsaBits = 4096;

// nullptr: OpenSSL does not take the numbers.
PkeyPtr public_key(const char* kind, OSSL_PARAM_BLD* builder) {
  const ParamsPtr params(OSSL_PARAM_BLD_to_param(builder));
  const PkeyContextPtr context(EVP_PKEY_CTX_new_from_name(nullptr, kind, nullptr));
  CHECK(params && context && EVP_PKEY_fromdata_init(context.get()) == 1);
  EVP_PKEY* key = nullptr;
  if (EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get()) != 1) {
    ERR_clear_error();
    return nullptr;
  }
  return PkeyPtr(key);
}

Bytes der_of(EVP_PKEY* key) {
  unsigned char* data = nullptr;
  const int size = i2d_PUBKEY(key, &data);
  CHECK(size > 0);
  Bytes out(data, data + size);
  OPENSSL_free(data);
  return out;
}

// As X.509 and OpenSSL have it: a sequence of two integers.
Bytes ecdsa_der(ByteView raw) {
  const EcdsaPtr signature(ECDSA_SIG_new());
  BignumPtr r(BN_bin2bn(raw.data(), static_cast<int>(kCoordinate), nullptr));
  BignumPtr s(BN_bin2bn(raw.data() + kCoordinate, static_cast<int>(kCoordinate), nullptr));
  CHECK(signature && r && s && ECDSA_SIG_set0(signature.get(), r.release(), s.release()) == 1);
  unsigned char* data = nullptr;
  const int size = i2d_ECDSA_SIG(signature.get(), &data);
  CHECK(size > 0);
  Bytes out(data, data + size);
  OPENSSL_free(data);
  return out;
}

}  // namespace

struct SignatureKey::Impl {
  Impl(const char* name, PkeyPtr key)
      : algorithm(name), pkey(std::move(key)), public_key_der(der_of(pkey.get())) {}

  const char* algorithm;
  PkeyPtr pkey;
  Bytes public_key_der;
};

Result<SignatureKey> SignatureKey::p256(ByteView x, ByteView y) {
  if (x.size() != kCoordinate || y.size() != kCoordinate) {
    return fail(ErrorCode::kInvalid, "a coordinate of the P-256 key does not have {} bytes", kCoordinate);
  }
  Bytes point{POINT_CONVERSION_UNCOMPRESSED};
  point.insert(point.end(), x.begin(), x.end());
  point.insert(point.end(), y.begin(), y.end());
  const ParamBuilderPtr builder(OSSL_PARAM_BLD_new());
  CHECK(builder);
  CHECK(OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) == 1);
  CHECK(OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                         point.size()) == 1);
  PkeyPtr key = public_key("EC", builder.get());
  if (!key) return fail(ErrorCode::kInvalid, "the point of the P-256 key is not on the curve");
  return SignatureKey(std::make_shared<const Impl>("ES256", std::move(key)));
}

Result<SignatureKey> SignatureKey::rsa(ByteView modulus, ByteView exponent) {
  // Bounded before any arithmetic; one byte more is for a sign.
  constexpr size_t kMaxModulus = kMaxRsaBits / 8 + 1, kMaxExponent = 4;
  constexpr unsigned long kLeastExponent = 65537;
  if (modulus.size() > kMaxModulus || exponent.size() > kMaxExponent) {
    return fail(ErrorCode::kInvalid, "the RSA key has a modulus of more than {} bits, or a huge exponent",
                kMaxRsaBits);
  }
  const BignumPtr n(BN_bin2bn(modulus.data(), static_cast<int>(modulus.size()), nullptr));
  const BignumPtr e(BN_bin2bn(exponent.data(), static_cast<int>(exponent.size()), nullptr));
  CHECK(n && e);
  const int bits = BN_num_bits(n.get());
  if (bits < kMinRsaBits || bits > kMaxRsaBits || BN_is_odd(n.get()) == 0) {
    return fail(ErrorCode::kInvalid, "the RSA key has {} bits (expected {} to {})", bits, kMinRsaBits,
                kMaxRsaBits);
  }
  if (BN_is_odd(e.get()) == 0 || BN_get_word(e.get()) < kLeastExponent) {
    return fail(ErrorCode::kInvalid, "the exponent of the RSA key is even or less than {}", kLeastExponent);
  }
  const ParamBuilderPtr builder(OSSL_PARAM_BLD_new());
  CHECK(builder && OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) == 1);
  PkeyPtr key = public_key("RSA", builder.get());
  if (!key) return fail(ErrorCode::kInvalid, "the RSA key cannot be used");
  return SignatureKey(std::make_shared<const Impl>("RS256", std::move(key)));
}

Result<SignatureKey> SignatureKey::ed25519(ByteView point) {
  PkeyPtr key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, point.data(), point.size()));
  ERR_clear_error();
  if (!key) return fail(ErrorCode::kInvalid, "the Ed25519 key does not have 32 bytes");
  return SignatureKey(std::make_shared<const Impl>("EdDSA", std::move(key)));
}

const char* SignatureKey::algorithm() const { return impl_->algorithm; }
const Bytes& SignatureKey::public_key_der() const { return impl_->public_key_der; }

bool SignatureKey::verify(ByteView message, ByteView signature) const {
  EVP_PKEY* key = impl_->pkey.get();
  const int kind = EVP_PKEY_get_base_id(key);
  Bytes der;
  if (kind == EVP_PKEY_EC) {
    if (signature.size() != 2 * kCoordinate) return false;
    der = ecdsa_der(signature);
    signature = der;
  }
  const DigestContextPtr context(EVP_MD_CTX_new());
  const EVP_MD* digest = kind == EVP_PKEY_ED25519 ? nullptr : EVP_sha256();
  CHECK(context && EVP_DigestVerifyInit(context.get(), nullptr, digest, nullptr, key) == 1);
  const int outcome =
      EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(), message.size());
  ERR_clear_error();
  return outcome == 1;
}

}  // namespace culvert::tls
