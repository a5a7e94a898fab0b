#include "acme/registered_domain.h"

#include <algorithm>
#include <array>

namespace culvert::acme {
namespace {

// What registries of countries put between the country and what they sell.
constexpr auto kSecondLevels =
    std::to_array<std::string_view>({"ac", "co", "com", "edu", "gob", "gov", "gv", "id", "info", "ltd", "me",
                                     "mil", "ne", "net", "nom", "or", "org", "plc", "sch"});

// Where the label that ends at `end` starts.
size_t label_start(std::string_view name, size_t end) {
  if (end == 0) return 0;
  const size_t dot = name.rfind('.', end - 1);
  return dot == name.npos ? 0 : dot + 1;
}

}  // namespace

std::string registered_domain(std::string_view name) {
  const size_t top = label_start(name, name.size());
  if (top == 0) return std::string(name);
  const size_t second = label_start(name, top - 1);
  if (second == 0) return std::string(name);
  const std::string_view label = name.substr(second, top - 1 - second);
  const bool is_country = name.size() - top == 2;
  const bool has_third = second >= 2 && name.substr(0, second) != "*.";
  if (is_country && has_third && std::ranges::find(kSecondLevels, label) != kSecondLevels.end()) {
    return std::string(name.substr(label_start(name, second - 1)));
  }
  return std::string(name.substr(second));
}

}  // namespace culvert::acme
