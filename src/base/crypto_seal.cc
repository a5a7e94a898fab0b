#include "base/crypto_seal.h"

#include <openssl/evp.h>

#include <climits>
#include <memory>

#include "base/check.h"

namespace culvert {
namespace {

constexpr size_t kNonce = 12;
constexpr size_t kTag = 16;

using Cipher = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

Cipher cipher(const SealKey& key, ByteView nonce, ByteView context, bool encrypts) {
  Cipher made(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
  CHECK(made != nullptr);
  CHECK(EVP_CipherInit_ex(made.get(), EVP_aes_256_gcm(), nullptr, key.expose().data(), nonce.data(),
                          encrypts ? 1 : 0) == 1);
  int taken = 0;
  CHECK(context.size() <= INT_MAX);
  CHECK(context.empty() ||
        EVP_CipherUpdate(made.get(), nullptr, &taken, context.data(), static_cast<int>(context.size())) == 1);
  return made;
}

}  // namespace

Bytes seal(const SealKey& key, ByteView context, ByteView secret, Random& random) {
  CHECK(secret.size() <= INT_MAX);
  Bytes sealed(kNonce + secret.size() + kTag);
  const MutableBytes all(sealed);
  random.fill(all.first(kNonce));
  const Cipher sealer = cipher(key, all.first(kNonce), context, true);
  uint8_t* const out = all.subspan(kNonce).data();
  int written = 0, rest = 0;
  CHECK(EVP_EncryptUpdate(sealer.get(), out, &written, secret.data(), static_cast<int>(secret.size())) == 1);
  CHECK(EVP_EncryptFinal_ex(sealer.get(), out + written, &rest) == 1);
  CHECK(EVP_CIPHER_CTX_ctrl(sealer.get(), EVP_CTRL_GCM_GET_TAG, static_cast<int>(kTag),
                            out + secret.size()) == 1);
  return sealed;
}

Result<SecretBuffer> open_sealed(const SealKey& key, ByteView context, ByteView sealed) {
  if (sealed.size() < kNonce + kTag || sealed.size() > INT_MAX)
    return fail(ErrorCode::kInvalid, "it is too short, or too long");
  const Cipher opener = cipher(key, sealed.first(kNonce), context, false);
  const ByteView text = sealed.subspan(kNonce, sealed.size() - kNonce - kTag);
  Bytes tag(sealed.end() - kTag, sealed.end());
  Bytes secret(text.size());
  WipeAtEnd wiper(secret);
  int written = 0, rest = 0;
  CHECK(EVP_DecryptUpdate(opener.get(), secret.data(), &written, text.data(),
                          static_cast<int>(text.size())) == 1);
  CHECK(EVP_CIPHER_CTX_ctrl(opener.get(), EVP_CTRL_GCM_SET_TAG, static_cast<int>(kTag), tag.data()) == 1);
  if (EVP_DecryptFinal_ex(opener.get(), secret.data() + written, &rest) != 1)
    return fail(ErrorCode::kUnauthorized, "the key is another one, or the bytes were changed");
  return SecretBuffer(std::move(secret));
}

}  // namespace culvert
