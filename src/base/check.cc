#include "base/check.h"

#include <fmt/format.h>

#include <cstdlib>

#include "base/log.h"

namespace culvert {

void check_failed(const char* file, int line, const char* what) {
  log_message(LogLevel::kError, fmt::format("bug at {}:{}: CHECK({}) failed", file, line, what));
  standard_error().drain(kOutputPatience);
  std::abort();
}

}  // namespace culvert
