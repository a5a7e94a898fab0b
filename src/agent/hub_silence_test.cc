#include "agent/hub_silence.h"

#include <gtest/gtest.h>

#include <vector>

namespace culvert::agent {
namespace {

using namespace std::chrono_literals;

const TimePoint kStart{1h};

TEST(HubSilence, IsReportedAtOnceAndThenLessAndLessOften) {
  HubSilence silence;
  EXPECT_FALSE(silence.ended(kStart));
  std::vector<Duration> reports;
  for (Duration elapsed{}; elapsed <= 20min; elapsed += 1s) {
    if (auto report = silence.failed("refused", kStart + elapsed)) reports.push_back(*report);
  }
  EXPECT_EQ(reports, (std::vector<Duration>{0s, 10s, 30s, 70s, 150s, 310s, 610s, 910s}));
  EXPECT_EQ(silence.ended(kStart + 21min), 21min);
  EXPECT_FALSE(silence.ended(kStart + 22min));
  EXPECT_EQ(silence.failed("refused", kStart + 22min), 0s);
}

TEST(HubSilence, AnotherReasonIsReportedEarlierButNotInEveryAttempt) {
  HubSilence silence;
  EXPECT_TRUE(silence.failed("a", kStart));
  EXPECT_TRUE(silence.failed("a", kStart + 10s));
  EXPECT_FALSE(silence.failed("b", kStart + 11s));
  EXPECT_EQ(silence.failed("b", kStart + 20s), 20s);
}

}  // namespace
}  // namespace culvert::agent
