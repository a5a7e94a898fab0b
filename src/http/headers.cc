#include "http/headers.h"

#include "base/ascii.h"
#include "base/secret.h"

namespace culvert::http {
namespace {

bool same_name(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return to_lower(x) == to_lower(y); });
}

}  // namespace

Headers::~Headers() {
  for (auto& [name, value] : fields_) wipe_and_clear(value);
}

const std::string* Headers::find(std::string_view name) const {
  for (const auto& [field, value] : fields_) {
    if (same_name(field, name)) return &value;
  }
  return nullptr;
}

size_t Headers::count(std::string_view name) const {
  size_t found = 0;
  for (const auto& [field, value] : fields_) found += same_name(field, name);
  return found;
}

bool Headers::lists(std::string_view name, std::string_view token) const {
  for (const auto& [field, value] : fields_) {
    if (!same_name(field, name)) continue;
    for (std::string_view rest = value;;) {
      const size_t comma = rest.find(',');
      if (equals_lower(trim(rest.substr(0, comma)), token)) return true;
      if (comma == rest.npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  return false;
}

}  // namespace culvert::http
