#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "agent/health.h"
#include "agent/observer.h"
#include "agent/options.h"
#include "agent/origin.h"
#include "agent/status.h"
#include "base/metrics.h"
#include "hubapi/declaration.h"
#include "hubapi/token.h"
#include "net/event_loop.h"
#include "tunnel/stream_header.h"

namespace culvert::agent {

// A local service, and how the public reaches it: by a hostname over HTTPS, or at a port of the edges.
struct Service {
  std::variant<hubapi::DeclaredService, hubapi::DeclaredPort> face;
  Origin origin;
  bool proxy_protocol;  // PROXY v2 to the origin
  std::optional<HealthCheck> health = {};
  // Of a passthrough service: where challenges of CAs on port 80 go (tunnel::kChallengePath); nullopt:
  // nowhere.
  std::optional<Origin> http_origin = {};
  // Of a range of ports: all go to the origin's port, instead of the first to that and each further one to
  // the next.
  bool has_one_origin_port = false;

  // nullptr: it has a port.
  const hubapi::DeclaredService* web() const { return std::get_if<hubapi::DeclaredService>(&face); }
  // nullptr: it has a hostname.
  const hubapi::DeclaredPort* port() const { return std::get_if<hubapi::DeclaredPort>(&face); }
  // "app.example.com", "tcp:ssh": no two services of an agent have the same.
  std::string name() const;
  // Where the clients of one of its public ports go; nullopt: it has no such port, or its origin is no port.
  std::optional<HostPort> origin_of(uint16_t listen_port) const;
  // In which streams its clients come.
  tunnel::StreamKind kind() const;
  bool operator==(const Service&) const = default;
};

// A JSON array of {"hostname","origin","tls_mode"?,"proxy_protocol"?}, where tls_mode is a string or {"mode":
// string}, and of {"protocol":"tcp" or "udp","name","origin","listen_port"?,"proxy_protocol"?}, where
// listen_port is a number, or for "udp" a range like "40000-40100", which may have "origin_ports", "each" or
// "one"; each may have "origin_server_name", and with it "origin_tls", "origin_ca_file", "origin_cert_file"
// and "origin_key_file", and "health", a string or {"check","path"?,"interval"?,"timeout"?,"fall"?,"rise"?},
// but for "udp"; one with passthrough "http_origin", an origin or "none". kInvalid names the entry, the
// member and what is allowed; unknown members and duplicates are errors.
Result<std::vector<Service>> parse_services(std::string_view json);
// Reads the files that their origins name (agent::load_files): before the services are given to an agent.
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
