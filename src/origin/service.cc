#include "origin/service.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <unordered_set>

namespace culvert::origin {

std::string Service::name() const {
  return port() != nullptr ? port_service_name(port()->protocol, port()->name) : web()->hostname.text();
}

tunnel::StreamKind Service::kind() const {
  if (port() == nullptr) return tunnel::kind_of(web()->tls_mode);
  return port()->protocol == route::PortProtocol::kTcp ? tunnel::StreamKind::kTcpPort
                                                       : tunnel::StreamKind::kUdpPort;
}

std::optional<HostPort> Service::origin_of(uint16_t listen_port) const {
  const auto* place = std::get_if<HostPort>(&origin.place);
  if (place == nullptr || port() == nullptr) return std::nullopt;
  if (port()->more_ports == 0 || has_one_origin_port) return *place;
  const route::PublicPort ports = port()->ports();
  if (listen_port < ports.number || listen_port > ports.last()) return std::nullopt;
  return HostPort{place->host, static_cast<uint16_t>(place->port + (listen_port - ports.number))};
}

std::string port_service_name(route::PortProtocol protocol, std::string_view name) {
  return fmt::format("{}:{}", route::to_string(protocol), name);
}

Result<> load_origin_files(Service& service, UnixTime now) {
  if (!service.origin.tls) return {};
  std::vector<std::string> alpn;
  // What an edge speaks with the clients of a service that it terminates.
  if (service.kind() == tunnel::StreamKind::kTerminate) alpn.emplace_back("http/1.1");
  auto loaded = load_files(*service.origin.tls, std::move(alpn), now);
  if (!loaded) return fail(loaded.error().code, "{}: {}", service.name(), loaded.error().message);
  return {};
}

Result<> check_services(const std::vector<Service>& services) {
  std::unordered_set<std::string> seen;
  std::map<route::PublicPort, std::string> ports;  // those that are named
  std::vector<hubapi::DeclaredService> web;
  std::vector<hubapi::DeclaredPort> with_ports;
  for (const Service& service : services) {
    const std::string name = service.name();
    if (!seen.insert(name).second) {
      return fail(ErrorCode::kInvalid, "{} {} is given twice; keep one service for it",
                  service.web() != nullptr ? "hostname" : "service", name);
    }
    if (const auto* port = service.port()) {
      if (port->listen_port != 0) {
        for (const auto& [other, its_name] : ports) {
          if (!other.overlaps(port->ports())) continue;
          return fail(ErrorCode::kInvalid, "port {} is given to {} and to {}; each needs one of its own",
                      std::max(other.number, port->listen_port), its_name, name);
        }
        ports.emplace(port->ports(), name);
      }
      with_ports.push_back(*port);
    } else {
      web.push_back(*service.web());
    }
  }
  return hubapi::check_size(web, with_ports);
}

}  // namespace culvert::origin
