#pragma once
#include "base/bytes.h"
#include "base/random.h"
#include "base/result.h"
#include "base/secret.h"

// Secrets that are kept under a passphrase: scrypt (RFC 7914) with N = 2^17, r = 8, p = 1 makes the key of
// AES-256-GCM. One guess takes 128 MiB and some tenths of a second. Argon2id needs OpenSSL 3.2, which Debian
// 12 does not have.
namespace culvert {

// 16 bytes of salt, 12 of nonce, then the ciphertext with its tag. kIo: there is no memory for scrypt.
Result<Bytes> seal_with_passphrase(const SecretString& passphrase, ByteView secret, Random& random);
// kUnauthorized: another passphrase, or the bytes were changed, which look the same. kInvalid: there are too
// few. kIo as above.
Result<SecretBuffer> open_with_passphrase(const SecretString& passphrase, ByteView sealed);

}  // namespace culvert
