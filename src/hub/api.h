#pragma once
#include "base/random.h"
#include "http/router.h"
#include "hub/api_counters.h"
#include "hub/audit_handler.h"
#include "hub/certificate_feed.h"
#include "hub/edge_handlers.h"
#include "hub/edge_sessions.h"
#include "hub/entry_handlers.h"
#include "hub/hub.h"
#include "hub/invite_handlers.h"
#include "hub/lease_handler.h"
#include "hub/leases.h"
#include "hub/ledger.h"
#include "hub/lists.h"
#include "hub/operator_auth.h"
#include "hub/operator_key_handlers.h"
#include "hub/request_counters.h"
#include "hub/request_limits.h"
#include "hub/state.h"
#include "hub/status_handler.h"
#include "hub/store_failures.h"
#include "hub/traffic_handler.h"

namespace culvert::hub {

// The hub's HTTP API: the routes, and what their handlers share. It does no I/O but through the exchange and
// the ledger; time comes with each exchange. Effects are in the state.
class Api {
 public:
  static constexpr size_t kMaxBody = hubapi::kMaxDeclarationBytes;  // of a request: the longest there is

  // All must outlive it. `leases_changed` is called whenever the leases may have changed, and before the
  // answer of the exchange that changed them.
  Api(const Config& config, State& state, Ledger& ledger, EdgeSessions& edge_sessions,
      CertificateFeed& certificate_feed, Random& random, std::function<void()> leases_changed);
  ~Api();
  Api(const Api&) = delete;
  Api& operator=(const Api&) = delete;

  // Names the request in its answer, x-request-id: as the client did, if that is a name.
  void prepare(http::Exchange& exchange) const;

  // Several may run at once. The exchange and the API outlive the task.
  net::Task<> handle(http::Exchange& exchange) const { return router_.handle(exchange); }

  // The process read its configuration again at a signal: goes into the audit log.
  net::Task<> note_reload(ReloadReport report) { return status_handler_.note(std::move(report), "signal"); }

  // What it answers to, for comparison with its description.
  std::vector<http::Router::Entry> entries() const { return router_.entries(); }
  const ApiCounters& counters() const { return counters_; }
  // An exchange was answered: counts it, and says so at the level debug.
  void ended(const http::Exchange& exchange, TimePoint now);
  const RequestCounters& requests() const { return requests_; }
  // What requests of agents have to be signed for; another one after each start.
  const std::string& instance() const { return replays_.instance(); }
  size_t counted_sources() const { return limits_.counted_sources(); }

 private:
  using Answer = std::function<net::Task<http::Response>(const http::Exchange&)>;

  // Adds a route whose handler gets the whole body, and answers in one piece.
  void add(std::string method, std::string pattern, Answer answer, http::Router::Step before = nullptr);
  net::Task<> respond(http::Exchange& exchange, const Answer& answer);
  void invites_changed();

  const Config& config_;
  State& state_;
  Ledger& ledger_;
  Random& random_;
  http::ReplayGuard replays_;
  std::function<void()> leases_changed_;
  ApiCounters counters_;
  RequestCounters requests_;
  RequestLimits limits_;
  StoreFailures failures_;
  RefusedServices refused_;
  OperatorAuth operator_auth_;
  LeaseHandler lease_handler_;
  InviteHandlers invite_handlers_;
  EntryHandlers entry_handlers_;
  OperatorKeyHandlers operator_key_handlers_;
  EdgeHandlers edge_handlers_;
  Lists lists_;
  AuditHandler audit_handler_;
  StatusHandler status_handler_;
  TrafficHandler traffic_handler_;
  http::Router router_;
};

}  // namespace culvert::hub
