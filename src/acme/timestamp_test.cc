#include "acme/timestamp.h"

#include <gtest/gtest.h>

namespace culvert::acme {
namespace {

int64_t seconds_of(std::string_view text) {
  const auto time = parse_timestamp(text);
  return time ? time->time_since_epoch().count() : -1;
}

TEST(Timestamp, IsRead) {
  EXPECT_EQ(seconds_of("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(seconds_of("2025-01-02T04:00:00Z"), 1735790400);
  EXPECT_EQ(seconds_of("2025-01-02t04:00:00.123456789z"), 1735790400);
  EXPECT_EQ(seconds_of("2025-01-02T05:00:00+01:00"), 1735790400);
  EXPECT_EQ(seconds_of("2025-01-02T03:30:00-00:30"), 1735790400);
  EXPECT_EQ(seconds_of("2024-02-29T00:00:00Z"), 1709164800);
}

TEST(Timestamp, OthersAreRefused) {
  for (const char* text :
       {"", "2025-01-02", "2025-01-02T04:00:00", "2025-01-02T04:00:00.Z", "2025-01-02 04:00:00Z",
        "2025-02-29T00:00:00Z", "2025-13-01T00:00:00Z", "2025-00-01T00:00:00Z", "2025-01-02T24:00:00Z",
        "2025-01-02T04:60:00Z", "2025-01-02T04:00:61Z", "2025-01-02T04:00:00+1:00",
        "2025-01-02T04:00:00+24:00", "2025-01-02T04:00:00Zx", "9999-01-01T00:00:00Z", "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+01:00", "-025-01-02T04:00:00Z", "2025-01-02T04:00:00.1"}) {
    EXPECT_EQ(seconds_of(text), -1) << text;
  }
}

TEST(Timestamp, IsWrittenAsItIsRead) {
  for (const std::string text : {"1970-01-01T00:00:00Z", "2028-02-29T23:59:59Z"}) {
    EXPECT_EQ(to_timestamp(parse_timestamp(text).value()), text);
  }
}

}  // namespace
}  // namespace culvert::acme
