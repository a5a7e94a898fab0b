#include "base/result.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace culvert {
namespace {

Result<int> half(int value) {
  if (value % 2 != 0) return fail(ErrorCode::kInvalid, "{} is odd", value);
  return value / 2;
}

TEST(Result, FailFormatsItsMessage) {
  auto odd = half(3);
  ASSERT_FALSE(odd);
  EXPECT_EQ(odd.error().code, ErrorCode::kInvalid);
  EXPECT_EQ(odd.error().message, "3 is odd");
  EXPECT_EQ(half(4), 2);
}

TEST(Result, CodeNamesAreStableAndDistinct) {
  EXPECT_STREQ(to_string(ErrorCode::kNotFound), "not_found");
  EXPECT_STREQ(to_string(ErrorCode::kUnavailable), "unavailable");
  std::set<std::string> names;
  for (int code = 0; code <= static_cast<int>(ErrorCode::kIo); ++code) {
    names.insert(to_string(static_cast<ErrorCode>(code)));
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(ErrorCode::kIo) + 1);
  EXPECT_FALSE(names.contains("unknown"));
}

}  // namespace
}  // namespace culvert
