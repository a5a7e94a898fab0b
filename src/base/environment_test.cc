#include "base/environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace culvert {
namespace {

TEST(Environment, NamesWhatIsSetUnderAPrefix) {
  setenv("CULVERT_ENVIRONMENT_TEST_A", "1", 1);
  setenv("CULVERT_ENVIRONMENT_TEST_B", "", 1);
  EXPECT_THAT(environment_names("CULVERT_ENVIRONMENT_TEST_"),
              testing::ElementsAre("CULVERT_ENVIRONMENT_TEST_A"));
  unsetenv("CULVERT_ENVIRONMENT_TEST_A");
  unsetenv("CULVERT_ENVIRONMENT_TEST_B");
}

}  // namespace
}  // namespace culvert
