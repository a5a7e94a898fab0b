#include "base/crypto_passphrase.h"

#include <openssl/evp.h>

#include <climits>
#include <memory>

#include "base/check.h"

namespace culvert {
namespace {

constexpr size_t kSalt = 16;
constexpr size_t kNonce = 12;
constexpr size_t kTag = 16;
constexpr uint64_t kN = 1 << 17, kR = 8, kP = 1;
// 128 * N * r bytes, and a little of OpenSSL's own.
constexpr uint64_t kMaxMemory = 128 * kN * kR + (uint64_t{1} << 20);

using Cipher = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

Result<SecretBytes<32>> derive(const SecretString& passphrase, ByteView salt) {
  Bytes key(32);
  WipeAtEnd wiper(key);
  const std::string& text = passphrase.expose();
  if (EVP_PBE_scrypt(text.data(), text.size(), salt.data(), salt.size(), kN, kR, kP, kMaxMemory, key.data(),
                     key.size()) != 1) {
    return fail(ErrorCode::kIo, "there is no memory to derive a key from the passphrase (128 MiB)");
  }
  return SecretBytes<32>::from(key);
}

Cipher cipher(const SecretBytes<32>& key, ByteView nonce, bool encrypts) {
  Cipher context(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
  CHECK(context != nullptr);
  CHECK(EVP_CipherInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key.expose().data(), nonce.data(),
                          encrypts ? 1 : 0) == 1);
  return context;
}

}  // namespace

Result<Bytes> seal_with_passphrase(const SecretString& passphrase, ByteView secret, Random& random) {
  CHECK(secret.size() <= INT_MAX);
  Bytes sealed(kSalt + kNonce + secret.size() + kTag);
  const MutableBytes all(sealed);
  random.fill(all.first(kSalt + kNonce));
  auto key = derive(passphrase, all.first(kSalt));
  if (!key) return std::unexpected(key.error());
  const Cipher context = cipher(*key, all.subspan(kSalt, kNonce), true);
  uint8_t* const out = all.subspan(kSalt + kNonce).data();
  int written = 0, rest = 0;
  CHECK(EVP_EncryptUpdate(context.get(), out, &written, secret.data(), static_cast<int>(secret.size())) == 1);
  CHECK(EVP_EncryptFinal_ex(context.get(), out + written, &rest) == 1);
  CHECK(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, static_cast<int>(kTag),
                            out + secret.size()) == 1);
  return sealed;
}

Result<SecretBuffer> open_with_passphrase(const SecretString& passphrase, ByteView sealed) {
  if (sealed.size() < kSalt + kNonce + kTag || sealed.size() > INT_MAX)
    return fail(ErrorCode::kInvalid, "it is too short, or too long");
  auto key = derive(passphrase, sealed.first(kSalt));
  if (!key) return std::unexpected(key.error());
  const Cipher context = cipher(*key, sealed.subspan(kSalt, kNonce), false);
  const ByteView text = sealed.subspan(kSalt + kNonce, sealed.size() - kSalt - kNonce - kTag);
  Bytes tag(sealed.end() - kTag, sealed.end());
  Bytes secret(text.size());
  WipeAtEnd wiper(secret);
  int written = 0, rest = 0;
  CHECK(EVP_DecryptUpdate(context.get(), secret.data(), &written, text.data(),
                          static_cast<int>(text.size())) == 1);
  CHECK(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, static_cast<int>(kTag), tag.data()) == 1);
  if (EVP_DecryptFinal_ex(context.get(), secret.data() + written, &rest) != 1)
    return fail(ErrorCode::kUnauthorized, "the passphrase is another one, or the text was changed");
  return SecretBuffer(std::move(secret));
}

}  // namespace culvert
