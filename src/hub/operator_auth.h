#pragma once
#include <optional>

#include "base/rate_limit.h"
#include "base/secret.h"
#include "http/router.h"
#include "hub/api_counters.h"
#include "hub/operator_keys.h"
#include "hub/request_limits.h"

namespace culvert::hub {

// Checks operator keys: the step before every handler of the operator's API.
class OperatorAuth {
 public:
  // What the key of the node's own file is called in the audit log. It is an admin's.
  static constexpr std::string_view kOwn = "operator.key";

  // All outlive it.
  OperatorAuth(const SecretString& own_key, const OperatorKeys& keys, ByteView hash_key,
               RequestLimits& limits, ApiCounters& counters)
      : own_key_(own_key), keys_(keys), hash_key_(hash_key), limits_(limits), counters_(counters) {}

  // nullopt: the request shows a key ("Authorization: Bearer ...", exactly once), whose role may do this;
  // Exchange::user has its name. Otherwise the answer: 401, 429 for a source that was refused too often, or
  // 403 for a read-only key. Refusals of others behind the same address never lock out who shows a key.
  std::optional<http::Response> refuse(http::Exchange& exchange);

 private:
  struct Operator {
    std::string_view name;
    OperatorRole role;
  };
  std::optional<Operator> find(const http::Request& request) const;

  const SecretString& own_key_;
  const OperatorKeys& keys_;
  const ByteView hash_key_;
  RequestLimits& limits_;
  ApiCounters& counters_;
  RateLimit log_{5, std::chrono::seconds(10)};
};

}  // namespace culvert::hub
