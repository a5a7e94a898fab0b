#include "base/backoff.h"

#include <gtest/gtest.h>

#include <set>

namespace culvert {
namespace {

// Always the largest or the smallest value that below() may give.
class Extreme final : public Random {
 public:
  explicit Extreme(uint8_t byte) : byte_(byte) {}
  void fill(MutableBytes out) override { std::ranges::fill(out, byte_); }

 private:
  uint8_t byte_;
};

TEST(Backoff, StaysBelowABoundThatDoublesToTheCap) {
  SeededRandom random(7);
  for (int run = 0; run < 200; ++run) {
    Backoff backoff;
    Duration bound = Backoff::kFirst;
    for (int i = 0; i < 20; ++i) {
      Duration wait = backoff.next(random);
      EXPECT_GE(wait, Duration::zero());
      EXPECT_LE(wait, bound) << i;
      bound = std::min(bound * 2, Backoff::kCap);
    }
    EXPECT_EQ(bound, Backoff::kCap);
  }
}

TEST(Backoff, UsesTheWholeRange) {
  SeededRandom random(7);
  Duration least = Backoff::kCap, most{};
  Backoff backoff;
  for (int i = 0; i < 10; ++i) backoff.next(random);
  for (int i = 0; i < 2000; ++i) {
    Duration wait = backoff.next(random);
    least = std::min(least, wait);
    most = std::max(most, wait);
  }
  EXPECT_LT(least, Backoff::kCap / 50);
  EXPECT_GT(most, Backoff::kCap / 50 * 49);
}

TEST(Backoff, AgentsOfOneRestartedNodeComeBackApartAndWithinFiveSeconds) {
  static_assert(Backoff::kCap < std::chrono::seconds(5));
  std::set<Duration> waits;
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    SeededRandom random(seed);
    waits.insert(Backoff().next(random));
  }
  EXPECT_GT(waits.size(), 990u);
}

TEST(Backoff, ARefusalHasACapOfItsOwnThatEndsWithIt) {
  SeededRandom random(7);
  Backoff backoff;
  Duration most{};
  for (int i = 0; i < 500; ++i) {
    Duration wait = backoff.next(random, Backoff::kRefusedCap);
    EXPECT_LE(wait, Backoff::kRefusedCap);
    most = std::max(most, wait);
  }
  EXPECT_GT(most, Backoff::kRefusedCap / 10 * 9);
  for (int i = 0; i < 100; ++i) EXPECT_LE(backoff.next(random), Backoff::kCap);
}

TEST(Backoff, ResetStartsAgain) {
  Extreme smallest(0);
  SeededRandom random(1);
  Backoff backoff;
  for (int i = 0; i < 10; ++i) backoff.next(random);
  backoff.reset();
  EXPECT_LE(backoff.next(random), Backoff::kFirst);
  EXPECT_EQ(backoff.next(smallest), Duration::zero());
}

}  // namespace
}  // namespace culvert
