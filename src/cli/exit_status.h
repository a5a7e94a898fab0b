#pragma once
#include <span>
#include <string_view>

#include "base/result.h"

namespace culvert::cli {

// What the program ends with. The documents and --help have the same list, from exit_statuses().
enum class ExitStatus : int {
  kDone = 0,
  kFailed = 1,
  kBadUsage = 2,
  // Of commands that call the hub:
  kRefused = 3,
  kUnreachable = 4,
  kNotFound = 5,
};

struct ExitStatusInfo {
  ExitStatus status;
  std::string_view meaning;
};
std::span<const ExitStatusInfo> exit_statuses();

// For a call of the hub that failed.
ExitStatus status_of_call(ErrorCode code);

}  // namespace culvert::cli
