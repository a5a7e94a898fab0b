#pragma once
#include <array>
#include <string_view>

#include "base/bytes.h"

namespace culvert {

using Sha256 = std::array<uint8_t, 32>;

Sha256 sha256(ByteView data);
Sha256 hmac_sha256(ByteView key, ByteView data);

enum class HashFunction { kSha256, kSha384, kSha512 };
// HMAC (RFC 2104), as long as the output of the function.
Bytes hmac(HashFunction function, ByteView key, ByteView data);

// SHAKE128 (FIPS 202) of `data`, as long as `out`.
void shake128(ByteView data, MutableBytes out);

// Compares without telling by its duration where the first difference is. Different lengths are unequal.
bool equal_constant_time(ByteView a, ByteView b);

// Overwrites so that the compiler cannot leave it out.
void wipe(MutableBytes bytes);

}  // namespace culvert
