#pragma once
#include "base/bytes.h"
#include "base/random.h"
#include "base/result.h"
#include "base/secret.h"

// Secrets that are kept where others may read: AES-256-GCM with a random nonce. 2^32 secrets under one key
// are safe (NIST SP 800-38D, 8.3).
namespace culvert {

using SealKey = SecretBytes<32>;

// 12 bytes of nonce, then the ciphertext with its tag. `context` is what the secret belongs to: it is needed
// to open it, so that nothing sealed is worth anything in another place.
Bytes seal(const SealKey& key, ByteView context, ByteView secret, Random& random);
// kUnauthorized: another key or context, or the bytes were changed, which look the same. kInvalid: there are
// too few, or too many.
Result<SecretBuffer> open_sealed(const SealKey& key, ByteView context, ByteView sealed);

}  // namespace culvert
