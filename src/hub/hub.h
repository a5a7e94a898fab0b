#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/reload.h"
#include "base/secret.h"
#include "http/server.h"
#include "hub/api_counters.h"
#include "hub/certificate_status.h"
#include "hub/ledger.h"
#include "hub/live_status.h"
#include "hub/record_store.h"
#include "hub/request_counters.h"
#include "hub/shared_certificates.h"
#include "hub/store_options.h"
#include "hub/tenant_limits.h"
#include "hubapi/declaration.h"
#include "net/byte_stream.h"
#include "route/liveness.h"
#include "route/snapshot.h"

namespace culvert::hub {

struct Config {
  std::filesystem::path database;        // SQLite file, made when missing
  SecretString database_url = {};        // of a PostgreSQL database; not empty: in place of the file
  SecretString operator_key;             // bearer secret of the operator's API calls
  std::vector<std::string> public_urls;  // go into tokens
  SecretKey key;                         // of the hub: tokens name it, and it signs the routes for edges
  std::vector<hubapi::EdgeInfo> edges;   // of this process; agents are told to dial them
  uint16_t public_port = 443;            // where the public reaches the edge
  std::string internal_ca_pem;
  TenantRules tenants = {};
  WallClock wall_clock = {};                         // not set: the loop's
  Duration request_time = std::chrono::seconds(10);  // from the first byte of a request to its last
  StoreOptions store = {};
  // What is wrong with the edge in the same process, for operators; not set: there is none.
  std::function<std::vector<std::string>()> edge_warnings = nullptr;
  std::function<LiveStatus()> live = nullptr;  // of that edge; not set: there is none
  CertificateSource certificates = {};
  // Certificates come from a public CA whose root is in internal_ca_pem or is everywhere: agents are told of
  // no other root.
  bool has_public_ca = false;
  Reload reload = nullptr;  // of the process that the hub is in; not set: it cannot
};

// What a hub reports of itself at one moment.
struct Status {
  ApiCounters api = {};
  Ledger::Counters ledger = {};
  size_t leases = 0;
  size_t edges_following = 0;
  size_t unstored_revocations = 0;
  RequestCounters requests = {};
  bool is_database_failing = false;  // nothing can be stored now
  // Why it cannot do all of its work; none: it can.
  std::vector<std::string> faults = {};
};
void report(const Status& status, Metrics& metrics);

// The control plane: invites, tenants and leases (in memory, and kept in a database), the API over them, and
// the routes that follow from them. Several hubs may share one PostgreSQL database. Lives on one loop.
class Hub {
 public:
  // Blocks until the database is open and read; afterwards nothing but the end of the hub waits for it, for a
  // bounded time. Errors: kIo and kInvalid name the database and say whether it is corrupt, from a newer
  // version, or not readable; kInvalid as well when another hub runs on it that has another key (load_as()).
  static Result<std::unique_ptr<Hub>> open(net::EventLoop& loop, Config config);
  // The same over a store of the caller's: `config.database` and `config.store` are not used.
  static Result<std::unique_ptr<Hub>> with_store(net::EventLoop& loop, Config config,
                                                 std::unique_ptr<RecordStore> store);
  virtual ~Hub() = default;

  // All routes as of now.
  virtual route::SnapshotPtr routes() const = 0;
  // Called on the hub's loop with each change from then on, before the request that caused it is answered.
  virtual void set_route_listener(std::function<void(const route::Delta&)> listener) = 0;
  // The edge saw this agent say goodbye (tunnel::kCloseGoodbye): its lease ends now.
  virtual void agent_left(const EndpointId& agent) = 0;
  // A worker of the edge heard these agents since its last report: their leases go on.
  virtual void agents_heard(const std::vector<route::AgentHeard>& agents) = 0;
  // The agent's tunnel closed, and it did not say goodbye.
  virtual void tunnel_closed(const EndpointId& agent) = 0;

  virtual Status status() const = 0;

  // Keeps what it belongs to: tasks that use it may end after the hub.
  virtual std::shared_ptr<SharedCertificates> certificates() = 0;

  // For declarations from now on, as when an invite's own quotas are edited; the ports of the node itself
  // stay.
  virtual void set_tenant_rules(TenantRules rules) = 0;

  // Called on the hub's loop when agents should declare again, because the edges that they are told to dial
  // have changed: each at a moment of its own within `spread`.
  virtual void set_declare_listener(std::function<void(Duration spread)> listener) = 0;

  // The process read its configuration again at a signal, and not by a request: goes into the audit log.
  virtual net::Task<> note_reload(ReloadReport report) = 0;

  // As http::Server::drain().
  virtual void drain() = 0;

  // Serves HTTP/1.1 on a connection whose TLS is done, as http::Server::serve().
  virtual net::Task<> serve(std::unique_ptr<net::ByteStream> stream,
                            http::ConnectionOptions options = {}) = 0;
};

}  // namespace culvert::hub
