#pragma once
#include <fmt/format.h>

#include <string>
#include <string_view>

#include "base/output.h"
#include "base/result.h"
#include "base/text.h"

// One event, one line: a stable event name, then key=value pairs, or one JSON object with the same members.
// Lines go to standard error.
//
//   log_info("agent_connected", "agent={} edge={}", agent.short_text(), address);
//
// The pattern is a literal: names and the quotes around a text stand in it. No field is called ts, level or
// msg, which are every line's.
//
// Thread-safe. Nothing that an unauthenticated peer can trigger without limit is logged at info or above; put
// such lines behind a RateLimit. Text from outside goes through quoted(). A program calls
// standard_error().start_thread() first, so that no line waits for the reader of the log, and
// standard_error().drain() at its end.
namespace culvert {

class SettingsBuilder;

enum class LogLevel { kDebug, kInfo, kWarn, kError };
enum class LogFormat { kText, kJson };
struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kText;
};

Result<LogLevel> parse_log_level(std::string_view text);  // debug, info, warn, error
const char* to_string(LogLevel level);
Result<LogFormat> parse_log_format(std::string_view text);  // text, json
const char* to_string(LogFormat format);
// For all lines from here on.
void set_log_options(const LogOptions& options);
void set_log_level(LogLevel level);
void describe(SettingsBuilder& settings, LogOptions& options);
bool log_enabled(LogLevel level);
void log_line(LogLevel level, std::string_view event, std::string_view pattern, fmt::format_args values);
// A sentence for the user, which goes the same way whatever the level: "culvert: TEXT", or as JSON.
void log_message(LogLevel level, std::string_view text);

// Where the log goes, and messages for the user. Never destroyed: threads may log while the
// program ends.
Output& standard_error();

template <class... Args>
void log_at(LogLevel level, std::string_view event, fmt::format_string<Args...> format, Args&&... args) {
  if (!log_enabled(level)) return;
  const fmt::string_view pattern = format;
  log_line(level, event, {pattern.data(), pattern.size()}, fmt::make_format_args(args...));
}
template <class... Args>
void log_debug(std::string_view event, fmt::format_string<Args...> format, Args&&... args) {
  log_at(LogLevel::kDebug, event, format, std::forward<Args>(args)...);
}
template <class... Args>
void log_info(std::string_view event, fmt::format_string<Args...> format, Args&&... args) {
  log_at(LogLevel::kInfo, event, format, std::forward<Args>(args)...);
}
template <class... Args>
void log_warn(std::string_view event, fmt::format_string<Args...> format, Args&&... args) {
  log_at(LogLevel::kWarn, event, format, std::forward<Args>(args)...);
}
template <class... Args>
void log_error(std::string_view event, fmt::format_string<Args...> format, Args&&... args) {
  log_at(LogLevel::kError, event, format, std::forward<Args>(args)...);
}

}  // namespace culvert
