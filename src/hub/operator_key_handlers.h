#pragma once
#include "base/random.h"
#include "http/router.h"
#include "hub/hub.h"
#include "hub/ledger.h"
#include "hub/operator_keys.h"
#include "hub/store_failures.h"

namespace culvert::hub {

// /v1/operator-keys
class OperatorKeyHandlers {
 public:
  // All outlive it.
  OperatorKeyHandlers(const Config& config, const OperatorKeys& keys, Ledger& ledger, StoreFailures& failures,
                      Random& random)
      : config_(config), keys_(keys), ledger_(ledger), failures_(failures), random_(random) {}

  net::Task<http::Response> create(const http::Exchange& exchange);
  http::Response list(const http::Exchange& exchange) const;
  // Exchange::rest is the key's name.
  net::Task<http::Response> revoke(const http::Exchange& exchange);

 private:
  // The error as an answer.
  http::Response refuse(const Error& error, TimePoint now);

  const Config& config_;
  const OperatorKeys& keys_;
  Ledger& ledger_;
  StoreFailures& failures_;
  Random& random_;
};

}  // namespace culvert::hub
