#pragma once
#include <optional>

#include "base/rate_limit.h"
#include "base/secret.h"
#include "http/router.h"
#include "hub/api_counters.h"

namespace culvert::hub {

// Checks the operator's key: the step before every handler of the operator's API.
class OperatorAuth {
 public:
  // Both outlive it.
  OperatorAuth(const SecretString& key, ApiCounters& counters) : key_(key), counters_(counters) {}

  // nullopt: the request shows the key ("Authorization: Bearer ...", exactly once). Otherwise the answer 401.
  std::optional<http::Response> refuse(const http::Exchange& exchange);

 private:
  bool shows_key(const http::Request& request) const;

  const SecretString& key_;
  ApiCounters& counters_;
  RateLimit log_{5, std::chrono::seconds(10)};
};

}  // namespace culvert::hub
