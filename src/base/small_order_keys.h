#pragma once
#include <array>

// Tests only.
namespace culvert {

// Every encoding of the eight points whose order divides 8, in hex: table 1 of Chalkias, Garillot and
// Nikolaenko, "Taming the many EdDSAs" (2020, ePrint 2020/1244). RFC 8032, 5.1.3 decodes the first eight.
// Non-canonical ones follow: x = 0 with the sign bit, and y >= p; lenient decoders accept them.
inline constexpr std::array<const char*, 14> kSmallOrderKeys = {
    "0100000000000000000000000000000000000000000000000000000000000000",  // order 1, the identity
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  // order 2
    "0000000000000000000000000000000000000000000000000000000000000000",  // order 4
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",  // order 8
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",  // order 1, non-canonical
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",  // order 2, non-canonical
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  // order 4, non-canonical
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
};

}  // namespace culvert
