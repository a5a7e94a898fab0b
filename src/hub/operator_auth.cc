#include "hub/operator_auth.h"

#include "base/crypto.h"
#include "base/log.h"
#include "hub/answers.h"

namespace culvert::hub {

bool OperatorAuth::shows_key(const http::Request& request) const {
  constexpr std::string_view kScheme = "Bearer ";
  const std::string* given = request.headers.find("authorization");
  if (!given || request.headers.count("authorization") != 1 || !given->starts_with(kScheme)) return false;
  // Hashed first, so that not even the length can be timed.
  Sha256 shown = sha256(as_bytes(std::string_view(*given).substr(kScheme.size())));
  return equal_constant_time(shown, sha256(as_bytes(key_.expose())));
}

std::optional<http::Response> OperatorAuth::refuse(const http::Exchange& exchange) {
  if (shows_key(exchange.request)) return std::nullopt;
  ++counters_.bad_bearers;
  if (log_.allow(exchange.now)) log_warn("operator_key_refused", "total={}", counters_.bad_bearers);
  auto response = error_response(401, "unauthorized", "the operator's key is missing or wrong");
  response.headers.add("WWW-Authenticate", "Bearer");
  return response;
}

}  // namespace culvert::hub
