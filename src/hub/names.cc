#include "hub/names.h"

#include <fmt/format.h>

#include <algorithm>

namespace culvert::hub {

bool is_plain_name(std::string_view name, size_t max) {
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  return !name.empty() && name.size() <= max && name.front() != '-' && std::ranges::all_of(name, is_plain);
}

std::string plain_name_rule(size_t max) {
  return fmt::format("1 to {} letters, digits, '-', '_' and '.' that do not begin with '-'", max);
}

}  // namespace culvert::hub
