#pragma once
#include <fmt/format.h>

#include <cstdio>

namespace culvert::cli {

// Writes to standard output. Unlike fmt::print it does not throw when that fails: run_program looks once, at
// the end, whether everything has arrived.
template <class... T>
void print(fmt::format_string<T...> format, T&&... values) {
  std::string text = fmt::format(format, std::forward<T>(values)...);
  std::fwrite(text.data(), 1, text.size(), stdout);
}

}  // namespace culvert::cli
