#include "route/route.h"

#include <algorithm>

namespace culvert::route {

const char* to_string(TlsMode mode) {
  switch (mode) {
    case TlsMode::kPassthrough:
      return "passthrough";
    case TlsMode::kTerminate:
      return "terminate";
  }
  return "unknown";
}

std::optional<TlsMode> parse_tls_mode(std::string_view text) {
  if (text == "passthrough") return TlsMode::kPassthrough;
  if (text == "terminate") return TlsMode::kTerminate;
  return std::nullopt;
}

bool Route::leads_to(const Target& target) const {
  return std::ranges::find(targets, target) != targets.end();
}

}  // namespace culvert::route
