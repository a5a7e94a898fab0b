#include "base/random.h"

#include <gtest/gtest.h>

#include <set>

namespace culvert {
namespace {

TEST(SeededRandom, RepeatsFromItsSeed) {
  Bytes a(33), b(33), c(33);
  SeededRandom(5).fill(a);
  SeededRandom(5).fill(b);
  SeededRandom(6).fill(c);
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
}

TEST(Random, BelowStaysBelowAndReachesEveryValue) {
  SeededRandom random(1);
  std::set<uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t value = random.below(7);
    ASSERT_LT(value, 7u);
    seen.insert(value);
  }
  EXPECT_EQ(seen.size(), 7u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(random.below(1), 0u);
  // Half of all draws lie past the last whole multiple of such a bound and are drawn again.
  const uint64_t bound = (uint64_t{1} << 63) + 1;
  for (int i = 0; i < 100; ++i) EXPECT_LT(random.below(bound), bound);
}

TEST(SystemRandom, FillsEveryByte) {
  SystemRandom random;
  Bytes seen_set(64, 0);
  for (int round = 0; round < 20; ++round) {
    Bytes bytes(64, 0);
    random.fill(bytes);
    for (size_t i = 0; i < bytes.size(); ++i) seen_set[i] |= bytes[i];
  }
  for (uint8_t byte : seen_set) EXPECT_NE(byte, 0);
  random.fill({});
}

}  // namespace
}  // namespace culvert
