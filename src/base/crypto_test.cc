#include "base/crypto.h"

#include <gtest/gtest.h>

#include "base/encoding.h"

namespace culvert {
namespace {

// FIPS 180-4 examples.
TEST(Sha256, KnownVectors) {
  EXPECT_EQ(to_hex(sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(to_hex(sha256(as_bytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

// RFC 4231, 4.2, 4.3 and 4.7.
TEST(HmacSha256, KnownVectors) {
  EXPECT_EQ(to_hex(hmac_sha256(Bytes(20, 0x0b), as_bytes("Hi There"))),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(to_hex(hmac_sha256(as_bytes("Jefe"), as_bytes("what do ya want for nothing?"))),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(to_hex(hmac_sha256(Bytes(131, 0xaa),
                               as_bytes("Test Using Larger Than Block-Size Key - Hash Key First"))),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(HmacSha256, EmptyKeyAndData) {
  EXPECT_EQ(to_hex(hmac_sha256({}, {})), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
  (void)hmac_sha256(as_bytes("a key that must not be remembered"), {});
  EXPECT_EQ(to_hex(hmac_sha256({}, {})), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

// RFC 4231, 4.3.
TEST(Hmac, KnownVectors) {
  const ByteView key = as_bytes("Jefe"), data = as_bytes("what do ya want for nothing?");
  EXPECT_EQ(to_hex(hmac(HashFunction::kSha256, key, data)), to_hex(hmac_sha256(key, data)));
  EXPECT_EQ(to_hex(hmac(HashFunction::kSha384, key, data)),
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
            "8e2240ca5e69e2c78b3239ecfab21649");
  EXPECT_EQ(to_hex(hmac(HashFunction::kSha512, key, data)),
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
            "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737");
}

// FIPS 202: the beginning of SHAKE128 of the empty message.
TEST(Shake128, KnownVector) {
  std::array<uint8_t, 32> out;
  shake128({}, out);
  EXPECT_EQ(to_hex(out), "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26");
}

TEST(EqualConstantTime, Compares) {
  EXPECT_TRUE(equal_constant_time({}, {}));
  EXPECT_TRUE(equal_constant_time(as_bytes("same"), as_bytes("same")));
  EXPECT_FALSE(equal_constant_time(as_bytes("same"), as_bytes("sane")));
  EXPECT_FALSE(equal_constant_time(as_bytes("same"), as_bytes("sam")));
  EXPECT_FALSE(equal_constant_time({}, as_bytes("x")));
}

TEST(Wipe, Zeroes) {
  Bytes secret(16, 0xaa);
  wipe(secret);
  EXPECT_EQ(secret, Bytes(16, 0));
  wipe({});
}

}  // namespace
}  // namespace culvert
