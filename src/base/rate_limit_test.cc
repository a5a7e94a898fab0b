#include "base/rate_limit.h"

#include <gtest/gtest.h>

namespace culvert {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint kStart = TimePoint(100h);

TEST(RateLimit, AllowsTheBurstThenOneEachInterval) {
  RateLimit limit(3, 10s);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limit.allow(kStart)) << i;
  EXPECT_FALSE(limit.allow(kStart));
  EXPECT_FALSE(limit.allow(kStart + 9999ms));
  EXPECT_TRUE(limit.allow(kStart + 10s));
  EXPECT_FALSE(limit.allow(kStart + 10s));
  EXPECT_TRUE(limit.allow(kStart + 20s));
}

TEST(RateLimit, RestRefillsTheBurstButNotMore) {
  RateLimit limit(2, 1s);
  EXPECT_TRUE(limit.allow(kStart));
  EXPECT_TRUE(limit.allow(kStart));
  const TimePoint later = kStart + 24h;
  EXPECT_TRUE(limit.allow(later));
  EXPECT_TRUE(limit.allow(later));
  EXPECT_FALSE(limit.allow(later));
}

TEST(RateLimit, WouldAllowWhatAllowAllowsAndUsesUpNothing) {
  RateLimit limit(3, 10s);
  for (TimePoint now = kStart; now < kStart + 5min; now += 3s) {
    for (int i = 0; i < 5; ++i) {
      bool expected = limit.would_allow(now);
      EXPECT_EQ(limit.would_allow(now), expected);
      if (now < kStart + 2min) EXPECT_EQ(limit.allow(now), expected);
    }
  }
  limit.take_refused();
  EXPECT_TRUE(limit.would_allow(kStart + 5min));
  EXPECT_EQ(limit.take_refused(), 0u);
}

TEST(RateLimit, CountsRefusals) {
  RateLimit limit(1, 1min);
  EXPECT_EQ(limit.take_refused(), 0u);
  EXPECT_TRUE(limit.allow(kStart));
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(limit.allow(kStart));
  EXPECT_EQ(limit.take_refused(), 5u);
  EXPECT_EQ(limit.take_refused(), 0u);
}

TEST(RateLimit, WithoutAnIntervalThereIsNoLimitAlsoWhenTimesComeOutOfOrder) {
  RateLimit limit(1, Duration::zero());
  for (const TimePoint now : {kStart, kStart + 1s, kStart, kStart - 1us, kStart + 2s}) {
    EXPECT_TRUE(limit.would_allow(now));
    EXPECT_TRUE(limit.allow(now));
    EXPECT_TRUE(limit.is_rested(now));
  }
  EXPECT_EQ(limit.take_refused(), 0u);
}

TEST(RateLimit, ZeroBurstAllowsNothing) {
  RateLimit limit(0, 1s);
  EXPECT_FALSE(limit.allow(kStart));
  EXPECT_FALSE(limit.allow(kStart + 1h));
}

}  // namespace
}  // namespace culvert
