#include "base/crypto_passphrase.h"

#include <gtest/gtest.h>

namespace culvert {
namespace {

TEST(Passphrase, OnlyTheSameOneOpensWhatWasNotChanged) {
  SeededRandom random(1);
  const std::string secret = "the secret";
  auto sealed = seal_with_passphrase("correct horse", as_bytes(secret), random);
  ASSERT_TRUE(sealed);
  ASSERT_EQ(sealed->size(), 16u + 12u + secret.size() + 16u);
  auto opened = open_with_passphrase("correct horse", *sealed);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(as_text(opened->expose()), secret);
  EXPECT_EQ(open_with_passphrase("correct horsf", *sealed).error().code, ErrorCode::kUnauthorized);
  for (const size_t at : {size_t{0}, size_t{20}, size_t{30}, sealed->size() - 1}) {
    Bytes changed = *sealed;
    changed[at] ^= 1;
    EXPECT_EQ(open_with_passphrase("correct horse", changed).error().code, ErrorCode::kUnauthorized) << at;
  }
  EXPECT_EQ(open_with_passphrase("correct horse", ByteView(*sealed).first(43)).error().code,
            ErrorCode::kInvalid);
  auto again = seal_with_passphrase("correct horse", as_bytes(secret), random);
  EXPECT_NE(*again, *sealed) << "salt and nonce are fresh";
  EXPECT_TRUE(open_with_passphrase("", *seal_with_passphrase("", {}, random)))
      << "nothing is a secret as well";
}

}  // namespace
}  // namespace culvert
