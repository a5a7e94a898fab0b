#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace culvert {

// Names of the environment variables that begin with `prefix` and are not empty.
std::vector<std::string> environment_names(std::string_view prefix);

}  // namespace culvert
