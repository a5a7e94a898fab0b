#include "cli/exit_status.h"

namespace culvert::cli {

std::span<const ExitStatusInfo> exit_statuses() {
  static constexpr ExitStatusInfo kAll[] = {
      {ExitStatus::kDone, "done"},
      {ExitStatus::kFailed, "failed at run time"},
      {ExitStatus::kBadUsage, "bad usage or configuration"},
      {ExitStatus::kRefused,
       "the hub refused: the operator key, the request, or a conflict with what it has"},
      {ExitStatus::kUnreachable, "the hub cannot be reached, or cannot serve now: try again later"},
      {ExitStatus::kNotFound, "the hub does not have what was named"},
  };
  return kAll;
}

ExitStatus status_of_call(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalid:
    case ErrorCode::kConflict:
    case ErrorCode::kUnauthorized:
      return ExitStatus::kRefused;
    case ErrorCode::kNotFound:
      return ExitStatus::kNotFound;
    case ErrorCode::kUnavailable:
    case ErrorCode::kTimeout:
    case ErrorCode::kReset:
      return ExitStatus::kUnreachable;
    case ErrorCode::kLimit:
    case ErrorCode::kClosed:
    case ErrorCode::kIo:
      break;
  }
  return ExitStatus::kFailed;
}

}  // namespace culvert::cli
