#pragma once
#include <functional>
#include <utility>

#include "base/random.h"
#include "http/router.h"
#include "hub/declaration_limits.h"
#include "hub/hub.h"
#include "hub/invites.h"
#include "hub/leases.h"
#include "hub/ledger.h"
#include "hub/store_failures.h"

namespace culvert::hub {

// /v1/invites: the operator's part of the API.
class InviteHandlers {
 public:
  // All outlive it. `leases_changed` is called when a handler has changed them and goes on to wait.
  InviteHandlers(const Config& config, Invites& invites, Ledger& ledger, Leases& leases,
                 DeclarationLimits& limits, StoreFailures& failures, Random& random,
                 std::function<void()> leases_changed)
      : config_(config),
        invites_(invites),
        ledger_(ledger),
        leases_(leases),
        limits_(limits),
        failures_(failures),
        random_(random),
        leases_changed_(std::move(leases_changed)) {}

  net::Task<http::Response> create(const http::Exchange& exchange);
  net::Task<http::Response> list(const http::Exchange& exchange);
  // Exchange::rest is the invite's id.
  net::Task<http::Response> revoke(const http::Exchange& exchange);

 private:
  InviteId new_id();
  void end_invite(const InviteId& id);
  AuditEntry revocation_of(const InviteId& id) const;

  const Config& config_;
  Invites& invites_;
  Ledger& ledger_;
  Leases& leases_;
  DeclarationLimits& limits_;
  StoreFailures& failures_;
  Random& random_;
  std::function<void()> leases_changed_;
};

}  // namespace culvert::hub
