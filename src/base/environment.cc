#include "base/environment.h"

#include <unistd.h>

namespace culvert {

std::vector<std::string> environment_names(std::string_view prefix) {
  std::vector<std::string> names;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    std::string_view text = *entry;
    size_t equals = text.find('=');
    bool is_set = equals != std::string_view::npos && equals + 1 < text.size();
    if (text.starts_with(prefix) && is_set) names.emplace_back(text.substr(0, equals));
  }
  return names;
}

}  // namespace culvert
