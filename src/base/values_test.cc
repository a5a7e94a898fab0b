#include "base/values.h"

#include <gtest/gtest.h>

namespace culvert {
namespace {

using namespace std::chrono_literals;

TEST(YesOrNo, HasThreeSpellings) {
  for (const char* yes : {"yes", "true", "1"}) EXPECT_EQ(parse_yes_or_no(yes).value(), true) << yes;
  for (const char* no : {"no", "false", "0"}) EXPECT_EQ(parse_yes_or_no(no).value(), false) << no;
  for (const char* neither : {"", "maybe", "Yes ", "TRUE", "on", "2", "01"}) {
    const auto parsed = parse_yes_or_no(neither);
    ASSERT_FALSE(parsed) << neither;
    EXPECT_NE(parsed.error().message.find("expected yes or no, true or false, 1 or 0"), std::string::npos);
  }
}

TEST(Duration, ReadsEveryUnit) {
  EXPECT_EQ(*parse_duration("250ms"), 250ms);
  EXPECT_EQ(*parse_duration("0s"), 0s);
  EXPECT_EQ(*parse_duration("10s"), 10s);
  EXPECT_EQ(*parse_duration("5m"), 5min);
  EXPECT_EQ(*parse_duration("48h"), 48h);
  EXPECT_EQ(*parse_duration("30d"), 30 * 24h);
  EXPECT_EQ(*parse_duration("365d"), kMaxDuration);
  EXPECT_EQ(*parse_duration("8760h"), kMaxDuration);
}

TEST(ByteCount, ReadsEveryUnit) {
  EXPECT_EQ(*parse_byte_count("0"), 0u);
  EXPECT_EQ(*parse_byte_count("65536"), 65536u);
  EXPECT_EQ(*parse_byte_count("3k"), 3000u);
  EXPECT_EQ(*parse_byte_count("250M"), 250'000'000u);
  EXPECT_EQ(*parse_byte_count("2G"), 2'000'000'000u);
  EXPECT_EQ(*parse_byte_count("64KiB"), 65536u);
  EXPECT_EQ(*parse_byte_count("1MiB"), 1u << 20);
  EXPECT_EQ(*parse_byte_count("8GiB"), uint64_t{8} << 30);
  EXPECT_EQ(*parse_byte_count("9223372036854775807"), uint64_t{INT64_MAX});
}

TEST(ByteCount, RefusesTheRest) {
  for (std::string_view text :
       {"", "M", "-1", "+1", "1.5M", "1 M", " 1", "1 ", "1m", "1MB", "1KB", "1K", "1T", "0x10",
        "9223372036854775808", "9223372036854776k", "8589934592GiB", "99999999999999999999"}) {
    const auto parsed = parse_byte_count(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, ErrorCode::kInvalid) << text;
    EXPECT_NE(parsed.error().message.find("expected a whole number"), std::string::npos);
  }
}

TEST(Duration, RefusesTheRest) {
  for (std::string_view text : {"", "10", "s", "ms", "-1s", "+1s", "1.5s", "10 s", " 10s", "10s ", "10S",
                                "10sec", "1m30s", "99999999999999999999s"}) {
    auto duration = parse_duration(text);
    ASSERT_FALSE(duration) << text;
    EXPECT_EQ(duration.error().code, ErrorCode::kInvalid);
  }
  for (std::string_view text :
       {"366d", "8761h", "31536001s", "31536000001ms", "100000d", "9223372036854775807s", "300000000d"}) {
    auto duration = parse_duration(text);
    ASSERT_FALSE(duration) << text;
    EXPECT_EQ(duration.error().code, ErrorCode::kLimit);
  }
}

TEST(Number, KeepsItsRange) {
  EXPECT_EQ(*parse_number("1", 1, 5), 1u);
  EXPECT_EQ(*parse_number("5", 1, 5), 5u);
  for (std::string_view text : {"0", "6", "", "-1", "1.0", "0x1", "five", "1 ", "99999999999999999999999"}) {
    EXPECT_FALSE(parse_number(text, 1, 5)) << text;
  }
}

TEST(ListenAddr, ReadsAddressesNotNames) {
  EXPECT_EQ(parse_listen_addr("0.0.0.0:443")->to_string(), "0.0.0.0:443");
  EXPECT_EQ(parse_listen_addr("[::1]:0")->to_string(), "[::1]:0");
  for (std::string_view text : {"", "443", ":443", "localhost:443", "1.2.3.4", "1.2.3.4:99999", "::1:443"}) {
    auto address = parse_listen_addr(text);
    ASSERT_FALSE(address) << text;
    EXPECT_NE(address.error().message.find("e.g. 0.0.0.0:443"), std::string::npos) << text;
  }
}

TEST(Duration, IsWrittenAsItIsRead) {
  for (std::string_view text : {"0s", "1ms", "1500ms", "90s", "1m", "90m", "1h", "36h", "2d", "365d"}) {
    EXPECT_EQ(format_duration(*parse_duration(text)), text);
  }
  EXPECT_EQ(format_duration(60s), "1m");
  EXPECT_EQ(format_duration(48h), "2d");
}

}  // namespace
}  // namespace culvert
