#include "cli/suggestion.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace culvert::cli {

std::string suggestion(std::string_view given, const std::vector<std::string>& candidates) {
  // Two typing errors and a bit: further away are other words.
  constexpr size_t kNear = 3;
  auto nearest = std::ranges::min_element(
      candidates, {}, [given](const std::string& candidate) { return edit_distance(given, candidate); });
  if (nearest == candidates.end() || edit_distance(given, *nearest) > kNear) return {};
  return fmt::format("; did you mean {}?", *nearest);
}

}  // namespace culvert::cli
