#include "base/limits.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

namespace culvert {
namespace {

TEST(Limits, SoftBecomesHard) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_GT(before.rlim_max, 256u);
  rlimit low = before;
  low.rlim_cur = 256;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);

  auto limit = raise_descriptor_limit();
  ASSERT_TRUE(limit) << limit.error().message;
  EXPECT_EQ(*limit, before.rlim_max);
  rlimit after{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &after), 0);
  EXPECT_EQ(after.rlim_cur, before.rlim_max);
  setrlimit(RLIMIT_NOFILE, &before);
}

}  // namespace
}  // namespace culvert
