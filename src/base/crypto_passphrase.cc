#include "base/crypto_passphrase.h"

#include <openssl/evp.h>

#include "base/check.h"
#include "base/crypto_seal.h"

namespace culvert {
namespace {

constexpr size_t kSalt = 16;
constexpr uint64_t kN = 1 << 17, kR = 8, kP = 1;
// 128 * N * r bytes, and a little of OpenSSL's own.
constexpr uint64_t kMaxMemory = 128 * kN * kR + (uint64_t{1} << 20);

Result<SealKey> derive(const SecretString& passphrase, ByteView salt) {
  Bytes key(32);
  WipeAtEnd wiper(key);
  const std::string& text = passphrase.expose();
  if (EVP_PBE_scrypt(text.data(), text.size(), salt.data(), salt.size(), kN, kR, kP, kMaxMemory, key.data(),
                     key.size()) != 1) {
    return fail(ErrorCode::kIo, "there is no memory to derive a key from the passphrase (128 MiB)");
  }
  return SealKey::from(key);
}

}  // namespace

Result<Bytes> seal_with_passphrase(const SecretString& passphrase, ByteView secret, Random& random) {
  Bytes out(kSalt);
  random.fill(out);
  auto key = derive(passphrase, out);
  if (!key) return std::unexpected(key.error());
  const Bytes sealed = seal(*key, {}, secret, random);
  out.insert(out.end(), sealed.begin(), sealed.end());
  return out;
}

Result<SecretBuffer> open_with_passphrase(const SecretString& passphrase, ByteView sealed) {
  if (sealed.size() < kSalt) return fail(ErrorCode::kInvalid, "it is too short, or too long");
  auto key = derive(passphrase, sealed.first(kSalt));
  if (!key) return std::unexpected(key.error());
  auto opened = open_sealed(*key, {}, sealed.subspan(kSalt));
  if (!opened && opened.error().code == ErrorCode::kUnauthorized)
    return fail(ErrorCode::kUnauthorized, "the passphrase is another one, or the text was changed");
  return opened;
}

}  // namespace culvert
