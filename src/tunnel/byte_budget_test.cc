#include "tunnel/byte_budget.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace culvert::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint kStart = TimePoint() + 1h;

TEST(ByteBudget, WithoutALimitNobodyWaits) {
  ByteBudget budget;
  EXPECT_EQ(budget.charge(UINT64_MAX, kStart), 0ns);
  EXPECT_EQ(budget.debt(kStart), 0ns);
}

TEST(ByteBudget, ABurstIsFreeAndWhatIsMoreWaits) {
  ByteBudget budget(1'000'000);
  EXPECT_EQ(budget.charge(50'000, kStart), 0ns) << "50 ms of it";
  EXPECT_EQ(budget.debt(kStart), 0ns);
  EXPECT_EQ(budget.charge(10'000, kStart), 10ms);
  EXPECT_GT(budget.debt(kStart), 0ns);
  EXPECT_EQ(budget.charge(0, kStart + 4ms), 6ms);
  EXPECT_EQ(budget.debt(kStart + 10ms), 0ns);
  EXPECT_EQ(budget.charge(50'000, kStart + 10min), 0ns) << "a long rest gives no more than a burst";
  EXPECT_EQ(budget.charge(1'000, kStart + 10min), 1ms);
}

TEST(ByteBudget, TheRateHoldsHoweverLargeThePartsAre) {
  for (const uint64_t part : {100u, 1'400u, 65'536u, 1'000'000u}) {
    ByteBudget budget(500'000);
    TimePoint now = kStart;
    uint64_t moved = 0;
    while (moved < 5'000'000) {
      moved += part;
      now += budget.charge(part, now);
    }
    const double seconds = std::chrono::duration<double>(now - kStart + ByteBudget::kBurst).count();
    EXPECT_NEAR(static_cast<double>(moved) / seconds, 500'000, 500) << part;
  }
}

TEST(ByteBudget, AChangedRateIsThatOfWhatComes) {
  ByteBudget budget(1'000);
  EXPECT_GT(budget.charge(10'000, kStart), 9s);
  budget.set_rate(0);
  EXPECT_EQ(budget.debt(kStart), 0ns);
  EXPECT_EQ(budget.charge(10'000, kStart), 0ns);
  budget.set_rate(10);
  EXPECT_EQ(budget.charge(100, kStart), 10s - ByteBudget::kBurst);
  EXPECT_EQ(budget.changes(), 2u);
  budget.set_rate(10);
  EXPECT_EQ(budget.changes(), 2u) << "nothing changed";
  EXPECT_GT(budget.debt(kStart), 9s);
  budget.set_rate(100);
  EXPECT_EQ(budget.debt(kStart), 0ns) << "nobody waits for what was slow";
}

TEST(ByteBudget, ThreadsShareIt) {
  ByteBudget budget(1'000'000);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int each = 0; each < 1'000; ++each) (void)budget.charge(1'000, kStart);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(budget.charge(0, kStart), 4s - ByteBudget::kBurst);
}

}  // namespace
}  // namespace culvert::tunnel
