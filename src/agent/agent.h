#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/observer.h"
#include "agent/options.h"
#include "agent/status.h"
#include "base/metrics.h"
#include "hubapi/token.h"
#include "net/event_loop.h"
#include "origin/service.h"

namespace culvert::agent {

using origin::HealthCheck;
using origin::Origin;
using origin::OriginFault;
using origin::Service;

// Reads the files that their origins name (origin::load_files): before the services are given to an agent.
Result<> load_origin_files(std::vector<Service>& services, UnixTime now);

struct Config {
  hubapi::InviteToken token;
  std::vector<Service> services;
  Options options = {};
};

// The origin side. Holds no state: a fresh key each start. Declares, dials every edge, serves streams,
// reconnects.
class Agent {
 public:
  // `observer` outlives it.
  Agent(net::EventLoop& loop, Config config, AgentObserver& observer);
  ~Agent();
  Agent(const Agent&) = delete;

  // Until stop(): it asks every edge for no new streams, gives open connections 2 s to end, says goodbye, and
  // run() returns; a hub, an edge, an origin or a name server that does not answer is not waited for. Errors:
  // as Endpoint::bind, at once: the agent did not start, and nothing is retried.
  net::Task<Result<>> run();
  // Again: open connections are not waited for either.
  void stop();
  // On the loop: these instead of the services that it had, as if they were its first: declares them at once.
  // They were checked (check_services). Connections that are open go on, also those of a service that is
  // gone.
  void set_services(std::vector<Service> services);
  // Public connections that their origin has taken.
  size_t open_connections() const;

  // On the loop. Everything that an agent reports of itself.
  void report(Metrics& metrics) const;
  // Why it serves nothing or not all of its services now, one reason each; none: at least one edge has
  // welcomed it, it holds a lease with all its services, and no origin is known to be unreachable.
  std::vector<std::string> faults() const;
  Status status() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The series of an agent, all of them zero: for the reference.
void describe_metrics(Metrics& metrics);

}  // namespace culvert::agent
