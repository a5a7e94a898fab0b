#include "base/log.h"

#include <spdlog/pattern_formatter.h>
#include <unistd.h>

#include <atomic>
#include <mutex>

#include "base/settings.h"

namespace culvert {
namespace {

std::atomic<LogLevel> g_level{LogLevel::kInfo};

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

std::string format_line(LogLevel level, std::string_view text) {
  static std::mutex& mutex = *new std::mutex;  // the formatter caches the second it wrote last
  static auto& formatter = *new spdlog::pattern_formatter("%Y-%m-%dT%H:%M:%S.%eZ level=%l %v",
                                                          spdlog::pattern_time_type::utc, "\n");
  const spdlog::details::log_msg message("culvert", to_spdlog(level), text);
  spdlog::memory_buf_t line;
  std::lock_guard lock(mutex);
  formatter.format(message, line);
  return {line.data(), line.size()};
}

std::string report_loss(uint64_t lines) {
  return format_line(LogLevel::kWarn, fmt::format("event=log_lines_lost lines={}", lines));
}

}  // namespace

Result<LogLevel> parse_log_level(std::string_view text) {
  if (text == "debug") return LogLevel::kDebug;
  if (text == "info") return LogLevel::kInfo;
  if (text == "warn") return LogLevel::kWarn;
  if (text == "error") return LogLevel::kError;
  return fail(ErrorCode::kInvalid, "log level {} is unknown; use debug, info, warn or error", quoted(text));
}

const char* to_string(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kError:
      return "error";
  }
  return "error";
}

void describe(SettingsBuilder& settings, LogLevel& level) {
  settings.section("log").add({.name = "level",
                               .help = "debug, info, warn or error",
                               .details = "The log goes to standard error, one event a line.",
                               .value_name = "LEVEL",
                               .default_text = to_string(level),
                               .flag = "log-level",
                               .choices = {"debug", "info", "warn", "error"},
                               .may_change = true,
                               .apply = store(level, parse_log_level)});
}

void set_log_level(LogLevel level) { g_level = level; }

bool log_enabled(LogLevel level) { return level >= g_level.load(std::memory_order_relaxed); }

Output& standard_error() {
  static Output& instance = *new Output(STDERR_FILENO, report_loss);
  return instance;
}

void log_line(LogLevel level, std::string_view event, std::string_view fields) {
  const std::string text = fmt::format("event={}{}{}", event, fields.empty() ? "" : " ", fields);
  // Also fields that should have been quoted forge no line.
  standard_error().write(format_line(level, printable(text)));
}

}  // namespace culvert
