#include "acme/challenge.h"

#include <gtest/gtest.h>

#include "acme/jws.h"

namespace culvert::acme {
namespace {

TEST(Challenge, TypesHaveTheirNames) {
  for (const ChallengeType type :
       {ChallengeType::kTlsAlpn01, ChallengeType::kHttp01, ChallengeType::kDns01}) {
    EXPECT_EQ(parse_challenge_type(to_string(type)), type);
  }
  EXPECT_EQ(parse_challenge_type("dns-persist-01"), std::nullopt);
}

TEST(Challenge, TokensAreSafeInPaths) {
  EXPECT_TRUE(is_challenge_token("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"));
  for (const std::string& token : {std::string(), std::string("a/b"), std::string(".."), std::string("a b"),
                                   std::string("a="), std::string("\xc3\xa4"), std::string(257, 'a')}) {
    EXPECT_FALSE(is_challenge_token(token)) << token;
  }
}

TEST(Challenge, WhatTheCaLooksFor) {
  const tls::P256Key key = tls::P256Key::generate();
  const Challenge challenge = Challenge::make(ChallengeType::kDns01, "a.test", "token_1", key);
  EXPECT_EQ(challenge.key_authorization, "token_1." + jwk_thumbprint(key));
  EXPECT_EQ(challenge.http_path(), "/.well-known/acme-challenge/token_1");
  EXPECT_EQ(challenge.dns_name(), "_acme-challenge.a.test");
  // Computed by Python's hashlib, from the key of RFC 7515, A.3.
  const Challenge known{.type = ChallengeType::kDns01,
                        .name = "a.test",
                        .token = "token_1",
                        .key_authorization = "token_1.oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"};
  EXPECT_EQ(known.dns_text(), "BnKgLzQ4N8f_X9g_84Hn4L9LyA8Eg2ur9vdVh-yriEo");
}

}  // namespace
}  // namespace culvert::acme
