#include "hubapi/hub_clock.h"

#include <gtest/gtest.h>

namespace culvert::hubapi {
namespace {

using namespace std::chrono_literals;

UnixTime g_local{};
UnixTime local() { return g_local; }
const UnixTime kHub{1'700'000'000s};
const TimePoint kStart{100h};

TEST(HubClock, IsTheLocalOneUntilTheHubAnswers) {
  HubClock clock(local);
  g_local = kHub - 75s;
  EXPECT_EQ(clock.time_at(kStart), g_local);
  EXPECT_FALSE(clock.warning());
  clock.learn(kHub, kStart, kStart + 4s);
  EXPECT_EQ(clock.time_at(kStart + 2s), kHub);
  EXPECT_EQ(clock.time_at(kStart + 60s), kHub + 58s);
  g_local += 3600s;
  EXPECT_EQ(clock.time_at(kStart + 60s), kHub + 58s) << "whatever happens to the local one";
}

TEST(HubClock, SaysWhichClockDiffersAndByHowMuch) {
  HubClock clock(local);
  const auto warning = [&](std::chrono::seconds ahead) {
    g_local = kHub + ahead;
    clock.learn(kHub, kStart, kStart);
    return clock.warning().value_or("");
  };
  EXPECT_EQ(warning(60s), "");
  EXPECT_EQ(warning(-60s), "");
  EXPECT_EQ(warning(-75s), "this machine's clock is 75 s behind the hub's");
  EXPECT_EQ(warning(61s), "this machine's clock is 61 s ahead of the hub's");
  EXPECT_EQ(warning(-3h), "this machine's clock is 3 h behind the hub's");
  EXPECT_EQ(warning(24h * 400), "this machine's clock is 400 days ahead of the hub's");
  EXPECT_EQ(warning(0s), "") << "it was set";
}

}  // namespace
}  // namespace culvert::hubapi
