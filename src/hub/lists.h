#pragma once
#include "http/router.h"
#include "hub/ledger.h"
#include "hub/state.h"
#include "hub/store_failures.h"

// What the operator may look at besides invites: agents, routes, the audit log. Each answers with a page, and
// with "next" when there is more: the value of ?after= for the next page.
namespace culvert::hub {

class Lists {
 public:
  static constexpr size_t kPage = 500;

  // All outlive it.
  Lists(const State& state, Ledger& ledger, StoreFailures& failures)
      : state_(state), ledger_(ledger), failures_(failures) {}

  // Agents that hold a lease, by their ids; ?after=AGENT.
  http::Response agents(const http::Exchange& exchange) const;
  // Routes, by their patterns; ?after=PATTERN.
  http::Response routes(const http::Exchange& exchange) const;
  // Entries of the audit log, the newest first; ?after=SEQUENCE.
  net::Task<http::Response> audit(const http::Exchange& exchange);

 private:
  const State& state_;
  Ledger& ledger_;
  StoreFailures& failures_;
};

}  // namespace culvert::hub
