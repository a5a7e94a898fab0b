#include "tls/p256_key.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>

#include "base/check.h"
#include "tls/openssl.h"

namespace culvert::tls {
namespace {

using BignumPtr = std::unique_ptr<BIGNUM, OpenSslDelete<BN_free>>;
using EcdsaPtr = std::unique_ptr<ECDSA_SIG, OpenSslDelete<ECDSA_SIG_free>>;
using DigestContextPtr = std::unique_ptr<EVP_MD_CTX, OpenSslDelete<EVP_MD_CTX_free>>;

std::array<uint8_t, 32> coordinate(EVP_PKEY* key, const char* name) {
  BIGNUM* number = nullptr;
  CHECK(EVP_PKEY_get_bn_param(key, name, &number) == 1);
  const BignumPtr owner(number);
  std::array<uint8_t, 32> out;
  CHECK(BN_bn2binpad(number, out.data(), static_cast<int>(out.size())) == static_cast<int>(out.size()));
  return out;
}

bool is_p256(EVP_PKEY* key) {
  std::array<char, 32> group{};
  return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
         EVP_PKEY_get_group_name(key, group.data(), group.size(), nullptr) == 1 &&
         std::string_view(group.data()) == SN_X9_62_prime256v1;
}

}  // namespace

struct P256Key::Impl {
  explicit Impl(PkeyPtr key)
      : pkey(std::move(key)),
        point{.x = coordinate(pkey.get(), OSSL_PKEY_PARAM_EC_PUB_X),
              .y = coordinate(pkey.get(), OSSL_PKEY_PARAM_EC_PUB_Y)} {}

  PkeyPtr pkey;
  Point point;
};

P256Key P256Key::generate() { return P256Key(std::make_shared<const Impl>(new_p256_key())); }

Result<P256Key> P256Key::from_pem(const SecretString& pem) {
  PkeyPtr key = read_private_key(pem);
  if (!key)
    return fail(ErrorCode::kInvalid, "not an unencrypted private key in PEM: {}", take_openssl_error());
  if (!is_p256(key.get())) return fail(ErrorCode::kInvalid, "the private key is not one of ECDSA on P-256");
  return P256Key(std::make_shared<const Impl>(std::move(key)));
}

SecretString P256Key::to_pem() const { return tls::to_pem(impl_->pkey.get()); }

const P256Key::Point& P256Key::point() const { return impl_->point; }

std::array<uint8_t, 64> P256Key::sign(ByteView message) const {
  const DigestContextPtr context(EVP_MD_CTX_new());
  CHECK(context && EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, impl_->pkey.get()) == 1);
  Bytes der(static_cast<size_t>(EVP_PKEY_get_size(impl_->pkey.get())));
  size_t size = der.size();
  CHECK(EVP_DigestSign(context.get(), der.data(), &size, message.data(), message.size()) == 1);
  const uint8_t* at = der.data();
  const EcdsaPtr signature(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(size)));
  CHECK(signature);
  std::array<uint8_t, 64> out;
  CHECK(BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), out.data(), 32) == 32);
  CHECK(BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), out.data() + 32, 32) == 32);
  return out;
}

EVP_PKEY* pkey_of(const P256Key& key) { return key.impl_->pkey.get(); }

}  // namespace culvert::tls
