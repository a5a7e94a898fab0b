#include "base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <regex>

#include "base/json.h"

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
  log_warn("bare", "");
  const std::string text = testing::internal::GetCapturedStderr();
  set_log_level(LogLevel::kInfo);
  EXPECT_EQ(text.find("hidden"), std::string::npos);
  EXPECT_NE(text.find("level=error event=shown who=\"a\\x0ab\"\n"), std::string::npos) << text;
  EXPECT_NE(text.find("event=bare\n"), std::string::npos) << text;
}

TEST(Log, FieldsThatAreNotQuotedForgeNoLine) {
  testing::internal::CaptureStderr();
  log_warn("odd", "host={}", "a\nlevel=error\xe2\x80\xae\x9b");
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("event=odd host=a\\x0alevel=error\\u202e\\x9b\n"), std::string::npos) << text;
}

TEST(Log, IsOneJsonObjectALineWhereThatIsWanted) {
  set_log_options({.level = LogLevel::kInfo, .format = LogFormat::kJson});
  testing::internal::CaptureStderr();
  log_debug("hidden", "x={}", 1);
  log_warn("shown", "who={} bytes={}", quoted("a\n\x9b}"), 12);
  log_message(LogLevel::kError, "it is\nover");
  const std::string text = testing::internal::GetCapturedStderr();
  set_log_options({});
  const size_t end = text.find('\n');
  ASSERT_NE(end, std::string::npos);
  const auto first = parse_json_object("line", text.substr(0, end));
  ASSERT_TRUE(first) << text;
  EXPECT_EQ(first->at("level"), "warning");
  EXPECT_EQ(first->at("msg"), "shown");
  EXPECT_EQ(first->at("who"), "a\n\xef\xbf\xbd}");
  EXPECT_EQ(first->at("bytes"), 12);
  EXPECT_TRUE(std::regex_match(first->at("ts").as_string().c_str(),
                               std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)")))
      << text;
  const auto second = parse_json_object("line", text.substr(end));
  ASSERT_TRUE(second) << text;
  EXPECT_EQ(second->at("level"), "error");
  EXPECT_EQ(second->at("msg"), "it is\nover");
}

TEST(Log, AMessageIsTextByDefault) {
  testing::internal::CaptureStderr();
  log_message(LogLevel::kError, "it is\nover");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "culvert: it is\\x0aover\n");
}

// Runs `body` in a child process whose standard error is `fd`; returns its wait status.
template <class F>
int run_with_stderr(int fd, F body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    std::signal(SIGPIPE, SIG_IGN);
    dup2(fd, STDERR_FILENO);
    body();
    _Exit(0);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

TEST(Log, NobodyWaitsForAStuckReader) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  const int status = run_with_stderr(ends[1], [] {
    standard_error().start_thread();
    for (int i = 0; i < 20'000; ++i) log_warn("something", "number={}", i);
    if (standard_error().drain(std::chrono::milliseconds(50))) _Exit(1);
  });
  EXPECT_EQ(status, 0);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(Log, AFullDiskOrAReaderThatLeftEndsNothing) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  ::close(ends[0]);
  const int full = ::open("/dev/full", O_WRONLY);
  for (int fd : {ends[1], full}) {
    for (bool with_thread : {false, true}) {
      const int status = run_with_stderr(fd, [with_thread] {
        if (with_thread) standard_error().start_thread();
        log_warn("something", "number={}", 1);
        if (!standard_error().drain(std::chrono::seconds(30)) || standard_error().error() == 0) _Exit(1);
      });
      EXPECT_EQ(status, 0);
    }
  }
  ::close(full);
  ::close(ends[1]);
}

TEST(Log, SaysHowMuchIsLost) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  const int full = ::open("/dev/full", O_WRONLY);
  const int status = run_with_stderr(full, [&ends] {
    log_warn("something", "number={}", 1);
    log_warn("something", "number={}", 2);
    dup2(ends[1], STDERR_FILENO);
    log_warn("something", "number={}", 3);
  });
  EXPECT_EQ(status, 0);
  std::array<char, 1000> text{};
  EXPECT_GT(::read(ends[0], text.data(), text.size() - 1), 0);
  EXPECT_NE(std::string(text.data()).find(" level=warning event=log_lines_lost lines=2\n"), std::string::npos)
      << text.data();
  ::close(full);
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace culvert
