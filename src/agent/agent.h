#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/options.h"
#include "hubapi/declaration.h"
#include "hubapi/token.h"
#include "net/event_loop.h"
#include "route/table.h"

namespace culvert::agent {

// A local service and the hostname it is to have.
struct Service {
  route::HostPattern hostname;
  std::string origin_host;
  uint16_t origin_port;
  route::TlsMode tls_mode = route::TlsMode::kPassthrough;
  bool proxy_protocol = true;  // PROXY v2 to the origin: default on for passthrough, off for terminate
};

// A JSON array of {"hostname","origin","tls_mode"?,"proxy_protocol"?}; tls_mode is a string or {"mode":
// string}. kInvalid names the entry, the member and what is allowed; unknown members and duplicates are
// errors.
Result<std::vector<Service>> parse_services(std::string_view json);

// One HTTP exchange seen on a terminated stream.
struct RequestLine {
  std::string host;
  std::string method;
  std::string target;
  int status;  // 0: the origin gave none
  Duration duration;
};

struct Config {
  hubapi::InviteToken token;
  std::vector<Service> services;
  Options options = {};
  // Told of every declaration that the hub answered.
  std::function<void(const hubapi::LeaseAnswer&)> on_lease = {};
  // Told when the public URL of every service that the hub accepted has answered through the public address;
  // with an empty list when the last edge was lost, after which it is told again.
  std::function<void(const std::vector<std::string>& urls)> on_ready = {};
  std::function<void(const RequestLine&)> on_request = {};  // terminated streams only; empty: not parsed
  // Told once a service is ready whose hostname has no DNS record, or one that leads to `elsewhere`;
  // `public_addr` is where it should point.
  std::function<void(const std::string& hostname, const std::string& elsewhere,
                     const std::string& public_addr)>
      on_misdirected = {};
  // Told once, at once, of a service whose origin does not answer; empty: a log line says so after a while.
  std::function<void(const Service&)> on_silent_origin = {};
  // A refusal that only a person can change (revoked, hostname not granted): the message is for the user. The
  // agent goes on asking, every few minutes.
  std::function<void(const Error&)> on_refused = {};
};

// The origin side. Holds no state: a fresh key each start. Declares, dials every edge, serves streams,
// reconnects.
class Agent {
 public:
  Agent(net::EventLoop& loop, Config config);
  ~Agent();
  Agent(const Agent&) = delete;

  // Until stop(): it gives open connections 2 s to end, says goodbye to every edge, and run() returns; a hub,
  // an origin or a name server that does not answer is not waited for. Errors: as Endpoint::bind, at once:
  // the agent did not start, and nothing is retried.
  net::Task<Result<>> run();
  // Again: open connections are not waited for either.
  void stop();
  // Public connections that their origin has taken.
  size_t open_connections() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::agent
