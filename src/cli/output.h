#pragma once
#include <fmt/format.h>

#include <string>
#include <string_view>

#include "base/log.h"
#include "base/output.h"

namespace culvert::cli {

// Standard output. A command that keeps running starts its thread; then no caller waits for the reader. A
// write that fails is not reported to the caller: run_program() checks at the end whether all was written.
// Never destroyed.
Output& standard_output();

// Complete lines to standard output, as they are.
template <class... T>
void print(fmt::format_string<T...> format, T&&... values) {
  standard_output().write(fmt::format(format, std::forward<T>(values)...));
}

// One line to standard output or standard error, control characters escaped.
void write_line(Output& output, std::string_view text);
template <class... T>
void print_line(fmt::format_string<T...> format, T&&... values) {
  write_line(standard_output(), fmt::format(format, std::forward<T>(values)...));
}
// For people: begins with "culvert: " and goes the way of the log, in its format.
template <class... T>
void print_message(fmt::format_string<T...> format, T&&... values) {
  log_message(LogLevel::kInfo, fmt::format(format, std::forward<T>(values)...));
}

// At the end of the process: waits kOutputPatience at most until both have written what is queued.
void drain_output();

}  // namespace culvert::cli
