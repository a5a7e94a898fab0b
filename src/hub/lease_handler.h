#pragma once
#include "http/router.h"
#include "http/signature.h"
#include "hub/api_counters.h"
#include "hub/declaration_limits.h"
#include "hub/hub.h"
#include "hub/invites.h"
#include "hub/leases.h"
#include "hub/store_failures.h"

namespace culvert::hub {

// /v1/leases: agents declare what they serve.
class LeaseHandler {
 public:
  // All outlive it.
  LeaseHandler(const Config& config, const Invites& invites, ByteView hash_key, Leases& leases,
               DeclarationLimits& limits, StoreFailures& failures, ApiCounters& counters)
      : config_(config),
        invites_(invites),
        hash_key_(hash_key),
        leases_(leases),
        limits_(limits),
        failures_(failures),
        counters_(counters) {}

  net::Task<http::Response> declare(const http::Exchange& exchange);

 private:
  http::Response judge(const http::Exchange& exchange, const hubapi::Declaration& declaration);
  http::Response refuse(int status, std::string_view code, std::string_view message, TimePoint now);
  http::Response grant(const Invite& invite, std::vector<hubapi::ServiceVerdict> verdicts) const;

  const Config& config_;
  const Invites& invites_;
  const ByteView hash_key_;
  Leases& leases_;
  DeclarationLimits& limits_;
  StoreFailures& failures_;
  ApiCounters& counters_;
  http::ReplayGuard replays_;
  RateLimit log_{5, std::chrono::seconds(10)};
};

}  // namespace culvert::hub
