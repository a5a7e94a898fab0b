#include "base/crypto.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <climits>
#include <memory>

#include "base/check.h"

namespace culvert {
namespace {

const EVP_MD* evp_of(HashFunction function) {
  switch (function) {
    case HashFunction::kSha256:
      return EVP_sha256();
    case HashFunction::kSha384:
      return EVP_sha384();
    case HashFunction::kSha512:
      return EVP_sha512();
  }
  check_failed(__FILE__, __LINE__, "a hash function that exists");
}

// Of the function's size.
void hmac_into(HashFunction function, ByteView key, ByteView data, MutableBytes out) {
  CHECK(key.size() <= INT_MAX);
  // HMAC() reads a null key as "the key of last time"; an empty span may have a null pointer.
  const void* key_data = key.empty() ? "" : static_cast<const void*>(key.data());
  CHECK(HMAC(evp_of(function), key_data, static_cast<int>(key.size()), data.data(), data.size(), out.data(),
             nullptr) != nullptr);
}

}  // namespace

Sha256 sha256(ByteView data) {
  Sha256 digest;
  CHECK(EVP_Digest(data.data(), data.size(), digest.data(), nullptr, EVP_sha256(), nullptr) == 1);
  return digest;
}

Sha256 hmac_sha256(ByteView key, ByteView data) {
  Sha256 digest;
  hmac_into(HashFunction::kSha256, key, data, digest);
  return digest;
}

Bytes hmac(HashFunction function, ByteView key, ByteView data) {
  Bytes digest(static_cast<size_t>(EVP_MD_get_size(evp_of(function))));
  hmac_into(function, key, data, digest);
  return digest;
}

void shake128(ByteView data, MutableBytes out) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  CHECK(context != nullptr && EVP_DigestInit_ex(context.get(), EVP_shake128(), nullptr) == 1);
  CHECK(EVP_DigestUpdate(context.get(), data.data(), data.size()) == 1);
  CHECK(EVP_DigestFinalXOF(context.get(), out.data(), out.size()) == 1);
}

bool equal_constant_time(ByteView a, ByteView b) {
  if (a.size() != b.size()) return false;
  return a.empty() || CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

void wipe(MutableBytes bytes) {
  if (!bytes.empty()) OPENSSL_cleanse(bytes.data(), bytes.size());
}

}  // namespace culvert
