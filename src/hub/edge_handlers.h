#pragma once
#include "base/random.h"
#include "http/router.h"
#include "http/signature.h"
#include "hub/api_counters.h"
#include "hub/certificate_feed.h"
#include "hub/edge_runs.h"
#include "hub/edge_sessions.h"
#include "hub/edges.h"
#include "hub/hub.h"
#include "hub/ledger.h"
#include "hub/request_limits.h"
#include "hub/store_failures.h"

namespace culvert::hub {

// /v1/edges: what operators do with edges, and /v1/edges/self: what an edge does, by the signature of its
// key.
class EdgeHandlers {
 public:
  // All outlive it.
  EdgeHandlers(const Config& config, const Edges& edges, EdgeSessions& sessions,
               CertificateFeed& certificate_feed, Ledger& ledger, RequestLimits& limits,
               StoreFailures& failures, ApiCounters& counters, http::ReplayGuard& replays, Random& random)
      : config_(config),
        edges_(edges),
        sessions_(sessions),
        certificate_feed_(certificate_feed),
        ledger_(ledger),
        limits_(limits),
        failures_(failures),
        counters_(counters),
        replays_(replays),
        random_(random) {}

  net::Task<http::Response> create(const http::Exchange& exchange);
  http::Response list(const http::Exchange& exchange) const;
  // Exchange::rest is an edge's id or name.
  http::Response show(const http::Exchange& exchange) const;
  net::Task<http::Response> change(const http::Exchange& exchange);
  net::Task<http::Response> revoke(const http::Exchange& exchange);

  // Of the edge itself.
  net::Task<http::Response> announce(const http::Exchange& exchange);
  http::Response report(const http::Exchange& exchange);
  // Waits for news for CertificateFeed::kWait at most.
  net::Task<http::Response> certificates(const http::Exchange& exchange);
  // Streams, unless it refuses.
  net::Task<> follow(http::Exchange& exchange);

 private:
  const Edge* find(std::string_view text) const;
  std::string describe(const Edge& edge, TimePoint now) const;
  // The edge that signed the request, or why not. Its body has come.
  std::expected<EndpointId, http::Response> authenticate(const http::Exchange& exchange);
  http::Response refuse(const Error& error, TimePoint now);

  const Config& config_;
  const Edges& edges_;
  EdgeSessions& sessions_;
  CertificateFeed& certificate_feed_;
  Ledger& ledger_;
  RequestLimits& limits_;
  StoreFailures& failures_;
  ApiCounters& counters_;
  http::ReplayGuard& replays_;
  Random& random_;
  EdgeRuns runs_;
  RateLimit log_{5, std::chrono::seconds(10)};
  RateLimit conflict_log_{1, std::chrono::minutes(1)};
};

}  // namespace culvert::hub
