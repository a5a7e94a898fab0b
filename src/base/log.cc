#include "base/log.h"

#include <spdlog/pattern_formatter.h>
#include <unistd.h>

#include <atomic>
#include <mutex>

#include "base/log_format.h"
#include "base/settings.h"

namespace culvert {
namespace {

std::atomic<LogLevel> g_level{LogOptions{}.level};
std::atomic<LogFormat> g_format{LogOptions{}.format};

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

struct LineFormatter {
  explicit LineFormatter(const char* pattern) : formatter(pattern, spdlog::pattern_time_type::utc, "\n") {}

  std::string format(LogLevel level, std::string_view text) {
    const spdlog::details::log_msg message("culvert", to_spdlog(level), text);
    spdlog::memory_buf_t line;
    std::lock_guard lock(mutex);
    formatter.format(message, line);
    return {line.data(), line.size()};
  }

  std::mutex mutex;  // the formatter caches the second it wrote last
  spdlog::pattern_formatter formatter;
};

std::string text_line(LogLevel level, std::string_view text) {
  static auto& formatter = *new LineFormatter("%Y-%m-%dT%H:%M:%S.%eZ level=%l %v");
  return formatter.format(level, text);
}

std::string json_line(LogLevel level, std::string_view members) {
  static auto& formatter = *new LineFormatter(R"({"ts":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})");
  return formatter.format(level, members);
}

std::string event_line(LogLevel level, std::string_view event, const LogFields& fields) {
  return g_format == LogFormat::kJson ? json_line(level, json_of_event(event, fields))
                                      : text_line(level, text_of_event(event, fields));
}

std::string report_loss(uint64_t lines) {
  return event_line(LogLevel::kWarn, "log_lines_lost", {"lines={}", fmt::make_format_args(lines)});
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

Result<LogFormat> parse_log_format(std::string_view text) {
  if (text == "text") return LogFormat::kText;
  if (text == "json") return LogFormat::kJson;
  return fail(ErrorCode::kInvalid, "log format {} is unknown; use text or json", quoted(text));
}

const char* to_string(LogFormat format) { return format == LogFormat::kJson ? "json" : "text"; }

void describe(SettingsBuilder& settings, LogOptions& options) {
  settings.section("log").add({.name = "level",
                               .help = "debug, info, warn or error",
                               .details = "The log goes to standard error, one event a line.",
                               .value_name = "LEVEL",
                               .default_text = to_string(options.level),
                               .flag = "log-level",
                               .choices = {"debug", "info", "warn", "error"},
                               .may_change = true,
                               .apply = store(options.level, parse_log_level)});
  settings.add({.name = "format",
                .help = "how the log is written: text or json",
                .details = "See [Logs and messages](#logs-and-messages).",
                .value_name = "FORMAT",
                .default_text = to_string(options.format),
                .flag = "log-format",
                .choices = {"text", "json"},
                .may_change = true,
                .apply = store(options.format, parse_log_format)});
}

void set_log_options(const LogOptions& options) {
  g_level = options.level;
  g_format = options.format;
}

void set_log_level(LogLevel level) { g_level = level; }

bool log_enabled(LogLevel level) { return level >= g_level.load(std::memory_order_relaxed); }

Output& standard_error() {
  static Output& instance = *new Output(STDERR_FILENO, report_loss);
  return instance;
}

void log_line(LogLevel level, std::string_view event, std::string_view pattern, fmt::format_args values) {
  standard_error().write(event_line(level, event, {pattern, values}));
}

void log_message(LogLevel level, std::string_view text) {
  standard_error().write(g_format == LogFormat::kJson ? json_line(level, json_of_message(text))
                                                      : fmt::format("culvert: {}\n", printable(text)));
}

}  // namespace culvert
