#include "base/crypto_seal.h"

#include <gtest/gtest.h>

namespace culvert {
namespace {

TEST(Seal, OpensWithItsKeyInItsPlaceAlone) {
  SeededRandom random(1);
  const auto key = SealKey::random(random), other = SealKey::random(random);
  for (const std::string_view text : {"", "a secret"}) {
    const Bytes sealed = seal(key, as_bytes("here"), as_bytes(text), random);
    auto opened = open_sealed(key, as_bytes("here"), sealed);
    ASSERT_TRUE(opened);
    EXPECT_EQ(as_text(opened->expose()), text);
    EXPECT_EQ(open_sealed(other, as_bytes("here"), sealed).error().code, ErrorCode::kUnauthorized);
    EXPECT_EQ(open_sealed(key, as_bytes("there"), sealed).error().code, ErrorCode::kUnauthorized);
    EXPECT_EQ(open_sealed(key, {}, sealed).error().code, ErrorCode::kUnauthorized);
    for (size_t i = 0; i < sealed.size(); ++i) {
      Bytes changed = sealed;
      changed[i] ^= 1;
      EXPECT_FALSE(open_sealed(key, as_bytes("here"), changed)) << i;
      EXPECT_FALSE(open_sealed(key, as_bytes("here"), ByteView(sealed).first(i))) << i;
    }
  }
}

TEST(Seal, NeverLooksTheSame) {
  SeededRandom random(2);
  const auto key = SealKey::random(random);
  EXPECT_NE(seal(key, {}, as_bytes("x"), random), seal(key, {}, as_bytes("x"), random));
}

}  // namespace
}  // namespace culvert
