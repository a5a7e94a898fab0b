#include "origin/health.h"

#include <gtest/gtest.h>

namespace culvert::origin {
namespace {

using enum HealthJudge::Source;

std::optional<OriginFault> fault(std::string reason = "refused") {
  return OriginFault{OriginFault::Kind::kNotReached, std::move(reason), "start it", "it is down"};
}

TEST(HealthJudge, FailuresInARowMakeItUnhealthyAndSuccessesInARowHealthy) {
  HealthJudge judge(3, 2);
  for (int round = 0; round < 3; ++round) {
    EXPECT_FALSE(judge.saw(fault(), kClient));
    EXPECT_FALSE(judge.saw(fault(), kClient));
    EXPECT_TRUE(judge.is_healthy());
    EXPECT_TRUE(judge.saw(fault("last"), kClient));
    EXPECT_FALSE(judge.is_healthy());
    EXPECT_EQ(judge.fault()->reason, "last");
    EXPECT_FALSE(judge.saw(std::nullopt, kClient));
    EXPECT_FALSE(judge.is_healthy());
    EXPECT_TRUE(judge.saw(std::nullopt, kClient));
    EXPECT_TRUE(judge.is_healthy());
    EXPECT_FALSE(judge.fault());
  }
}

TEST(HealthJudge, WhatComesAndGoesChangesNothing) {
  HealthJudge judge(3, 2);
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(judge.saw(i % 3 == 2 ? std::nullopt : fault(), kClient));
  EXPECT_TRUE(judge.is_healthy());
  for (int i = 0; i < 3; ++i) judge.saw(fault(), kClient);
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(judge.saw(i % 2 == 0 ? std::nullopt : fault(), kClient));
  EXPECT_FALSE(judge.is_healthy());
}

TEST(HealthJudge, TheFirstCheckDecidesAlone) {
  HealthJudge dead(3, 2);
  EXPECT_TRUE(dead.saw(fault(), kCheck));
  EXPECT_FALSE(dead.is_healthy());
  EXPECT_FALSE(dead.saw(std::nullopt, kCheck));
  EXPECT_TRUE(dead.saw(std::nullopt, kCheck));

  HealthJudge alive(3, 2);
  EXPECT_FALSE(alive.saw(std::nullopt, kCheck));
  EXPECT_FALSE(alive.saw(fault(), kCheck));
  EXPECT_TRUE(alive.is_healthy());
}

TEST(HealthJudge, ClientsDoNotMakeHealthyWhatItsCheckFindsBroken) {
  HealthJudge judge(2, 2);
  EXPECT_TRUE(judge.saw(fault("status 503"), kCheck));
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(judge.saw(std::nullopt, kClient));
  EXPECT_FALSE(judge.is_healthy());
  EXPECT_EQ(judge.fault()->reason, "status 503");
  EXPECT_FALSE(judge.saw(std::nullopt, kCheck));
  EXPECT_TRUE(judge.saw(std::nullopt, kClient));
}

TEST(HealthJudge, TheNewestReasonIsKept) {
  HealthJudge judge(1, 2);
  judge.saw(fault("first"), kCheck);
  EXPECT_FALSE(judge.saw(fault("second"), kCheck));
  EXPECT_EQ(judge.fault()->reason, "second");
}

}  // namespace
}  // namespace culvert::origin
