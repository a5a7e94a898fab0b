#include "ca/account_key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "acme/jws.h"
#include "base/encoding.h"

namespace culvert::ca {
namespace {

using ::testing::HasSubstr;

// RFC 7638, 3.1.
constexpr const char* kRsa =
    R"({"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"})";

TEST(AccountKey, ThumbprintOfRsa) {
  const auto key = parse_account_key(kRsa);
  ASSERT_TRUE(key) << key.error().message;
  EXPECT_EQ(key->thumbprint, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
  EXPECT_STREQ(key->key.algorithm(), "RS256");
  EXPECT_EQ(parse_account_key(key->jwk)->jwk, key->jwk);
}

// RFC 8037, A.1 to A.4.
TEST(AccountKey, Ed25519) {
  const auto key =
      parse_account_key(R"({"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})");
  ASSERT_TRUE(key) << key.error().message;
  EXPECT_EQ(key->thumbprint, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
  const std::string message = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
  const Bytes signature =
      from_base64url("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
          .value();
  EXPECT_TRUE(key->key.verify(as_bytes(message), signature));
  EXPECT_FALSE(key->key.verify(as_bytes(message + "x"), signature));
}

TEST(AccountKey, P256) {
  const tls::P256Key signer = tls::P256Key::generate();
  const auto key = parse_account_key(acme::jwk_text(signer.point()));
  ASSERT_TRUE(key) << key.error().message;
  EXPECT_EQ(key->thumbprint, acme::jwk_thumbprint(signer));
  const auto signature = signer.sign(as_bytes("message"));
  EXPECT_TRUE(key->key.verify(as_bytes("message"), signature));
  EXPECT_FALSE(key->key.verify(as_bytes("other"), signature));
  EXPECT_FALSE(key->key.verify(as_bytes("message"), ByteView(signature).first(63)));
  EXPECT_FALSE(key->key.verify(as_bytes("message"), Bytes(64)));
  EXPECT_FALSE(key->key.verify(as_bytes("message"), Bytes(64, 0xff)));
  EXPECT_FALSE(key->key.verify(as_bytes("message"), {}));
}

TEST(AccountKey, WhatIsWrong) {
  EXPECT_THAT(parse_account_key(R"({"kty":"EC","d":"x"})").error().message, HasSubstr("private part"));
  EXPECT_THAT(parse_account_key(R"({"kty":"RSA","e":"AAEAAQ","n":"AA"})").error().message,
              HasSubstr("shortest"));
  EXPECT_THAT(parse_account_key(R"({"kty":"x"})").error().message, HasSubstr("expected EC, RSA or OKP"));
}

}  // namespace
}  // namespace culvert::ca
