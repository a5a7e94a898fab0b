#include "quic/flow_window.h"

#include <gtest/gtest.h>

namespace culvert::quic {
namespace {

using namespace std::chrono_literals;
const TimePoint kStart{1h};

TEST(FlowWindow, DoublesWhileItIsUsedUpQuickly) {
  WindowBudget budget(1'000'000);
  FlowWindow window(1000, 64'000);
  EXPECT_EQ(window.consumed(100, kStart, 10ms, budget), 0u);
  EXPECT_EQ(window.consumed(900, kStart + 5ms, 10ms, budget), 1000u);
  EXPECT_EQ(window.size(), 2000u);
  EXPECT_EQ(budget.left(), 999'000u);
}

TEST(FlowWindow, StaysForASlowReader) {
  WindowBudget budget(1'000'000);
  FlowWindow window(1000, 64'000);
  TimePoint now = kStart;
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(window.consumed(600, now += 100ms, 10ms, budget), i == 0 ? 1000u : 0u);
}

TEST(FlowWindow, StopsAtItsCapAndAtTheBudget) {
  WindowBudget budget(2500);
  FlowWindow window(1000, 3000);
  TimePoint now = kStart;
  for (int i = 0; i < 10; ++i) window.consumed(window.size(), now += 1us, 10ms, budget);
  EXPECT_EQ(window.size(), 3000u);
  FlowWindow other(1000, 64'000);
  for (int i = 0; i < 10; ++i) other.consumed(other.size(), now += 1us, 10ms, budget);
  EXPECT_EQ(other.size(), 1500u);
  EXPECT_EQ(budget.left(), 0u);
  window.release(budget);
  other.release(budget);
  EXPECT_EQ(budget.left(), 2500u);
  window.release(budget);
  EXPECT_EQ(budget.left(), 2500u);
}

}  // namespace
}  // namespace culvert::quic
