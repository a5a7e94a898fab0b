#pragma once
#include "http/router.h"
#include "http/signature.h"
#include "hub/api_counters.h"
#include "hub/domain_proof.h"
#include "hub/hub.h"
#include "hub/ledger.h"
#include "hub/request_limits.h"
#include "hub/state.h"
#include "hub/store_failures.h"
#include "hubapi/entry.h"

namespace culvert::hub {

// /v1/entries: tenants change their own hostnames, and look at them.
class EntryHandlers {
 public:
  // All outlive it.
  EntryHandlers(const Config& config, State& state, Ledger& ledger, RequestLimits& limits,
                StoreFailures& failures, ApiCounters& counters)
      : config_(config),
        invites_(state.invites),
        ledger_(ledger),
        limits_(limits),
        failures_(failures),
        counters_(counters),
        proof_(ledger.loop(), config) {}

  net::Task<http::Response> change(const http::Exchange& exchange);
  // Exchange::user is set: an operator's look at those of all tenants, or of ?tenant=ID.
  http::Response list(const http::Exchange& exchange);

 private:
  // The invite whose tenant signed, and the answer, if that may not go on.
  struct Signer {
    const Invite* invite = nullptr;
    std::optional<http::Response> refusal = {};
  };
  // How a tenant has a name that nothing grants it, and who had proven it before and has lost it.
  struct Proven {
    Entry::Proof proof;
    std::optional<PublicKey> loser;
  };

  // Asked before it: RequestLimits::allow_source().
  Signer signer_of(const http::Exchange& exchange, std::string_view tag);
  const Invite* live(const InviteId& id) const;

  net::Task<http::Response> judge(const http::Exchange& exchange, const Invite& invite);
  net::Task<http::Response> apply(const http::Exchange& exchange, InviteId id, hubapi::EntryChange change);
  net::Task<http::Response> leave(InviteId id, PublicKey tenant);
  net::Task<Result<Proven>> prove(InviteId id, route::HostPattern hostname);
  Result<Batch> judge_change(const InviteId& id, const hubapi::EntryChange& change,
                             const std::optional<Proven>& proven, UnixTime wall) const;
  Result<> check_may(const Invite& invite, const hubapi::EntryChange& change,
                     const std::optional<Proven>& proven, UnixTime wall) const;
  http::Response refuse(const PublicKey& tenant, const hubapi::EntryChange& change, const Error& error,
                        TimePoint now);
  http::Response sequence_conflict(const PublicKey& tenant) const;

  const Config& config_;
  Invites& invites_;
  Ledger& ledger_;
  RequestLimits& limits_;
  StoreFailures& failures_;
  ApiCounters& counters_;
  DomainProof proof_;
};

}  // namespace culvert::hub
