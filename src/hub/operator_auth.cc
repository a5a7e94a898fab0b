#include "hub/operator_auth.h"

#include "base/ascii.h"
#include "base/crypto.h"
#include "base/log.h"
#include "hub/answers.h"

namespace culvert::hub {

std::optional<OperatorAuth::Operator> OperatorAuth::find(const http::Request& request) const {
  constexpr std::string_view kScheme = "bearer ";  // names of schemes have no case: RFC 9110, 11.1
  const std::string* given = request.headers.find("authorization");
  if (!given || request.headers.count("authorization") != 1) return std::nullopt;
  const std::string_view field = *given;
  if (!equals_lower(field.substr(0, kScheme.size()), kScheme)) return std::nullopt;
  const std::string_view shown = field.substr(kScheme.size());
  // Hashed first, so that not even the length can be timed.
  if (equal_constant_time(sha256(as_bytes(shown)), sha256(as_bytes(own_key_.expose()))))
    return Operator{kOwn, OperatorRole::kAdmin};
  // Looked up by a hash that who guesses does not know.
  const OperatorKey* key = keys_.find_by_hash(hmac_sha256(hash_key_, as_bytes(shown)));
  return key == nullptr ? std::nullopt : std::optional(Operator{key->name, key->role});
}

std::optional<http::Response> OperatorAuth::refuse(http::Exchange& exchange) {
  const auto who = find(exchange.request);
  if (!who) {
    ++counters_.bad_bearers;
    // Apart from other refusals: who guesses keys behind an address keeps no agent there from its hub.
    if (!limits_.allow_guess(exchange.client, exchange.now))
      return retry_response(429, "rate_limited", "too many refused requests from here; slow down");
    if (log_.allow(exchange.now)) {
      log_warn("operator_key_refused", "client={} total={} request_id={}", exchange.client.ip_text(),
               counters_.bad_bearers, request_id(exchange));
    }
    auto response = error_response(401, "unauthorized", "the operator's key is missing or wrong");
    response.headers.add("WWW-Authenticate", "Bearer");
    return response;
  }
  exchange.user = who->name;
  if (who->role == OperatorRole::kReadOnly && exchange.request.method != "GET") {
    return error_response(403, "read_only",
                          fmt::format("the operator key {} may only read; use one with the role admin",
                                      culvert::quoted(who->name)));
  }
  return std::nullopt;
}

}  // namespace culvert::hub
