#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace culvert {

// What became of a request to read the configuration again.
struct ReloadReport {
  std::vector<std::string> changed = {};        // in force now
  std::vector<std::string> needs_restart = {};  // differs, and is not in force
};

// Reads the configuration again. kInvalid: some of it is wrong, and all is as it was.
using Reload = std::function<Result<ReloadReport>()>;

}  // namespace culvert
