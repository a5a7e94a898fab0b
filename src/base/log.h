#pragma once
#include <fmt/format.h>

#include <string>
#include <string_view>

#include "base/output.h"
#include "base/result.h"
#include "base/text.h"

// One event, one line: a stable event name, then key=value pairs. Lines go to standard error.
//
//   log_info("agent_connected", "agent={} edge={}", agent.short_text(), address);
//
// Thread-safe. Nothing that an unauthenticated peer can trigger without limit is logged at info or above; put
// such lines behind a RateLimit. Text from outside goes through quoted(). A program calls
// standard_error().start_thread() first, so that no line waits for the reader of the log, and
// standard_error().drain() at its end.
namespace culvert {

class SettingsBuilder;

enum class LogLevel { kDebug, kInfo, kWarn, kError };

Result<LogLevel> parse_log_level(std::string_view text);  // debug, info, warn, error
const char* to_string(LogLevel level);
void set_log_level(LogLevel level);
// The level as a setting; its default is what `level` holds.
void describe(SettingsBuilder& settings, LogLevel& level);
bool log_enabled(LogLevel level);
void log_line(LogLevel level, std::string_view event, std::string_view fields);

// Where the log goes; messages for the user go the same way. Never destroyed: threads may log while the
// program ends.
Output& standard_error();

template <class... Args>
void log_at(LogLevel level, std::string_view event, fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(level)) log_line(level, event, fmt::format(format, std::forward<Args>(args)...));
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
