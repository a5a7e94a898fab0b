#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "hubapi/declaration.h"
#include "origin/health.h"
#include "origin/origin.h"
#include "route/match.h"
#include "tunnel/stream_header.h"

namespace culvert::origin {

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

std::string port_service_name(route::PortProtocol protocol, std::string_view name);  // "tcp:ssh"
// Reads the files that the service's origin names (load_files).
Result<> load_origin_files(Service& service, UnixTime now);

// What one agent may declare. kInvalid names the hostname, name or port that two services claim, or the limit
// that all together exceed.
Result<> check_services(const std::vector<Service>& services);

}  // namespace culvert::origin
