#include "acme/challenge_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace culvert::acme {
namespace {

const UnixTime kNow{std::chrono::seconds(1'800'000'000)};

Challenge challenge(ChallengeType type, const std::string& token = "token-1") {
  static const tls::P256Key key = tls::P256Key::generate();
  return Challenge::make(type, "a.test", token, key);
}

TEST(ChallengeTable, AnswersWhatIsPending) {
  ChallengeTable table;
  const Challenge http = challenge(ChallengeType::kHttp01), tls = challenge(ChallengeType::kTlsAlpn01);
  ASSERT_TRUE(table.add(http, kNow));
  ASSERT_TRUE(table.add(tls, kNow));
  EXPECT_EQ(table.http_answer("A.test", http.http_path()), http.key_authorization);
  EXPECT_EQ(table.http_answer("b.test", http.http_path()), std::nullopt);
  EXPECT_EQ(table.http_answer("a.test", http.http_path() + "x"), std::nullopt);
  EXPECT_NE(table.certificate("a.TEST"), nullptr);
  EXPECT_EQ(table.certificate("b.test"), nullptr);
  table.remove(http);
  table.remove(tls);
  EXPECT_EQ(table.http_answer("a.test", http.http_path()), std::nullopt);
  EXPECT_EQ(table.certificate("a.test"), nullptr);
  EXPECT_EQ(table.size(), 0u);
}

// A name and its wildcard are proven at one place, at once.
TEST(ChallengeTable, TextsAreASet) {
  ChallengeTable table;
  const Challenge one = challenge(ChallengeType::kDns01, "one"),
                  two = challenge(ChallengeType::kDns01, "two");
  ASSERT_TRUE(table.add(one, kNow));
  ASSERT_TRUE(table.add(two, kNow));
  EXPECT_THAT(table.texts("_ACME-challenge.a.test"),
              ::testing::UnorderedElementsAre(one.dns_text(), two.dns_text()));
  table.remove(one);
  EXPECT_THAT(table.texts("_acme-challenge.a.test"), ::testing::ElementsAre(two.dns_text()));
  table.remove(one);
  table.remove(two);
  EXPECT_EQ(table.size(), 0u);
}

TEST(ChallengeTable, IsBounded) {
  ChallengeTable table;
  for (size_t i = 0; i < ChallengeTable::kMaxChallenges; ++i) {
    ASSERT_TRUE(table.add(challenge(ChallengeType::kDns01, fmt::format("t{}", i)), kNow));
  }
  EXPECT_EQ(table.add(challenge(ChallengeType::kHttp01), kNow).error().code, ErrorCode::kLimit);
}

TEST(ChallengeTable, AChallengeThatWasReplacedTakesNothingAway) {
  ChallengeTable table;
  const Challenge first = challenge(ChallengeType::kTlsAlpn01, "token-1");
  const Challenge second = challenge(ChallengeType::kTlsAlpn01, "token-2");
  ASSERT_TRUE(table.add(first, kNow) && table.add(second, kNow));
  table.remove(first);
  EXPECT_NE(table.certificate("a.test"), nullptr);
  table.remove(second);
  EXPECT_EQ(table.size(), 0u);
}

}  // namespace
}  // namespace culvert::acme
