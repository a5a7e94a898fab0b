#include "base/log.h"

#include <gtest/gtest.h>

namespace culvert {
namespace {

TEST(Quoted, EscapesWhatCouldForgeALine) {
  EXPECT_EQ(quoted("plain text"), "\"plain text\"");
  EXPECT_EQ(quoted(""), "\"\"");
  EXPECT_EQ(quoted("a\"b\\c"), R"("a\"b\\c")");
  EXPECT_EQ(quoted("a\nlevel=error\r\t"), R"("a\x0alevel=error\x0d\x09")");
  EXPECT_EQ(quoted(std::string_view("\0\x1b[31m\x7f", 7)), R"("\x00\x1b[31m\x7f")");
}

TEST(Quoted, IsCutAt200Bytes) {
  EXPECT_EQ(quoted(std::string(200, 'x')), '"' + std::string(200, 'x') + '"');
  EXPECT_EQ(quoted(std::string(201, 'x')), '"' + std::string(200, 'x') + "...\"");
  EXPECT_LT(quoted(std::string(1 << 20, '\n')).size(), 1000u);
}

TEST(LogLevel, ParsesItsFourNames) {
  EXPECT_EQ(parse_log_level("debug"), LogLevel::kDebug);
  EXPECT_EQ(parse_log_level("info"), LogLevel::kInfo);
  EXPECT_EQ(parse_log_level("warn"), LogLevel::kWarn);
  EXPECT_EQ(parse_log_level("error"), LogLevel::kError);
  for (auto text : {"", "INFO", "trace", "info "}) {
    auto level = parse_log_level(text);
    ASSERT_FALSE(level) << text;
    EXPECT_NE(level.error().message.find("debug, info, warn or error"), std::string::npos);
  }
}

TEST(LogLevel, DecidesWhatIsWritten) {
  set_log_level(LogLevel::kWarn);
  EXPECT_FALSE(log_enabled(LogLevel::kInfo));
  EXPECT_TRUE(log_enabled(LogLevel::kWarn));
  testing::internal::CaptureStderr();
  log_info("hidden", "x={}", 1);
  log_error("shown", "who={}", quoted("a\nb"));
  log_line(LogLevel::kWarn, "bare", "");
  const std::string text = testing::internal::GetCapturedStderr();
  set_log_level(LogLevel::kInfo);
  EXPECT_EQ(text.find("hidden"), std::string::npos);
  EXPECT_NE(text.find("level=error event=shown who=\"a\\x0ab\"\n"), std::string::npos) << text;
  EXPECT_NE(text.find("event=bare\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace culvert
