#pragma once
#include <functional>

#include "http/router.h"
#include "http/signature.h"
#include "hub/api_counters.h"
#include "hub/hub.h"
#include "hub/ledger.h"
#include "hub/refused_services.h"
#include "hub/request_limits.h"
#include "hub/state.h"
#include "hub/store_failures.h"

namespace culvert::hub {

// /v1/leases: agents declare what they serve.
class LeaseHandler {
 public:
  // All outlive it. `leases_changed` is called when a handler has changed them and goes on to wait.
  LeaseHandler(const Config& config, State& state, Ledger& ledger, RequestLimits& limits,
               StoreFailures& failures, ApiCounters& counters, const std::function<void()>& leases_changed,
               http::ReplayGuard& replays, RefusedServices& refused)
      : config_(config),
        invites_(state.invites),
        claims_(state.claims),
        edges_(state.edges),
        leases_(state.leases),
        ledger_(ledger),
        limits_(limits),
        failures_(failures),
        counters_(counters),
        leases_changed_(leases_changed),
        replays_(replays),
        refused_(refused) {}

  net::Task<http::Response> declare(const http::Exchange& exchange);

 private:
  // The lease is in the database, or is not and may be lost with a restart: the agent is served all the same.
  net::Task<> store(const EndpointId& agent, TimePoint now);
  // `is_tenants` becomes true when it is known that the tenant has signed.
  net::Task<http::Response> judge(const http::Exchange& exchange, const hubapi::Declaration& declaration,
                                  bool& is_tenants);
  // Steps 5 to 12; the answer to what they refuse.
  std::optional<http::Response> check(const http::Exchange& exchange, const hubapi::Declaration& declaration,
                                      bool& is_tenants);
  // The answer to a declaration with an invite that has ended, or that is not known any more.
  std::optional<http::Response> refuse_ended(const Invite* invite);
  // Verdicts on the declared ports; what is accepted is stored.
  net::Task<std::vector<hubapi::PortVerdict>> claim(const hubapi::Declaration& declaration, TimePoint now);
  Claims::Judgement judge_ports(const hubapi::Declaration& declaration, TimePoint now) const;
  // What is to be stored of the ports that the tenant gets or loses by the declaration.
  Batch claim_batch(const hubapi::Declaration& declaration, TimePoint now) const;
  // Operators can see them from now on.
  void note_refused(const Invite& invite, const EndpointId& agent,
                    const std::vector<hubapi::ServiceVerdict>& services,
                    const std::vector<hubapi::PortVerdict>& ports, TimePoint now);
  http::Response lease(const hubapi::Declaration& declaration, std::vector<hubapi::PortVerdict> ports,
                       bool is_proven, TimePoint now);
  http::Response refuse(int status, std::string_view code, std::string_view message,
                        const http::Exchange& exchange);
  http::Response grant(const Invite& invite, std::vector<hubapi::ServiceVerdict> services,
                       std::vector<hubapi::PortVerdict> ports) const;

  const Config& config_;
  const Invites& invites_;
  const Claims& claims_;
  const Edges& edges_;
  Leases& leases_;
  Ledger& ledger_;
  RequestLimits& limits_;
  StoreFailures& failures_;
  ApiCounters& counters_;
  const std::function<void()>& leases_changed_;
  http::ReplayGuard& replays_;
  RefusedServices& refused_;
  RateLimit log_{5, std::chrono::seconds(10)};
  RateLimit not_stored_lines_{1, std::chrono::seconds(10)};
  RateLimit refused_lines_{20, std::chrono::seconds(1)};
};

}  // namespace culvert::hub
