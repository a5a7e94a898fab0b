#pragma once
#include <charconv>
#include <concepts>
#include <optional>
#include <string_view>

namespace culvert {

// The whole text as a number of `base`: nullopt for anything around the digits, for an empty text and for
// what does not fit. Only signed types take a minus sign; a plus sign is never taken.
template <std::integral T>
std::optional<T> whole_number(std::string_view text, int base = 10) {
  T value{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, base);
  if (text.empty() || error != std::errc() || stop != end) return std::nullopt;
  return value;
}

}  // namespace culvert
