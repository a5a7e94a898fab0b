#pragma once
#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <string_view>

#include "base/output.h"

namespace culvert::cli {

// Writes to standard output. Unlike fmt::print it does not throw when that fails: run_program looks once, at
// the end, whether everything has arrived.
template <class... T>
void print(fmt::format_string<T...> format, T&&... values) {
  std::string text = fmt::format(format, std::forward<T>(values)...);
  std::fwrite(text.data(), 1, text.size(), stdout);
}

// Standard output for what runs on: nothing waits for its reader once its thread is started. Not to be mixed
// with print(). Never destroyed.
Output& standard_output();

// One line to standard output or standard error, control characters escaped. Fails silently: a message that
// nobody can read ends nothing.
void write_line(Output& output, std::string_view text);
template <class... T>
void print_line(fmt::format_string<T...> format, T&&... values) {
  write_line(standard_output(), fmt::format(format, std::forward<T>(values)...));
}
// For people: begins with "culvert: " and goes the way of the log.
void write_message(std::string_view text);
template <class... T>
void print_message(fmt::format_string<T...> format, T&&... values) {
  write_message(fmt::format(format, std::forward<T>(values)...));
}

// At the end of the process: waits kOutputPatience at most until both have written what is queued.
void drain_output();

}  // namespace culvert::cli
