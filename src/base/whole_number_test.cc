#include "base/whole_number.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace culvert {
namespace {

TEST(WholeNumber, TakesTheWholeTextOrNothing) {
  EXPECT_EQ(whole_number<uint16_t>("65535"), 65535);
  EXPECT_EQ(whole_number<uint16_t>("007"), 7);
  EXPECT_EQ(whole_number<int>("-5"), -5);
  EXPECT_EQ(whole_number<uint64_t>("ff", 16), 255u);
  for (const char* bad : {"", " 1", "1 ", "+1", "-1", "1.5", "0x2", "one", "65536"})
    EXPECT_EQ(whole_number<uint16_t>(bad), std::nullopt) << bad;
  EXPECT_EQ(whole_number<uint16_t>(std::string_view("1\0", 2)), std::nullopt);
  EXPECT_EQ(whole_number<uint16_t>({}), std::nullopt);
}

}  // namespace
}  // namespace culvert
