#pragma once
#include <string_view>
#include <unordered_map>
#include <vector>

#include "agent/agent.h"

namespace culvert::agent {

// The short form "app.example.com=ORIGIN[,terminate|,passthrough][,OPTION]...", with an origin like
// "localhost:3000" or "unix:/run/app.sock", and the options "proxy=v2" or "proxy=none", "tls=NAME" and
// "insecure", "http=" with an origin or "none", and "health=" with "tcp", "tls", "http" or a path.
Result<Service> parse_service(std::string_view text);

// The short form "ssh=ORIGIN[,port=2222][,OPTION]..."; without a port the hub picks one. A UDP service has an
// origin "HOST:PORT", and of the options only "proxy="; it may have a range, "port=40000-40100", whose ports
// go to as many of the origin from its port on, or with "origin-ports=one" to that.
Result<Service> parse_port_service(route::PortProtocol protocol, std::string_view text);

// What one agent may declare. kInvalid names the hostname, name or port that two services claim, or the limit
// that all together exceed.
Result<> check_services(const std::vector<Service>& services);

// Finds the service for a stream's authority: by a port's name, or by the hostname, exact first, then the
// one-level wildcard.
class ServiceTable {
 public:
  // The services outlive the table and are unique.
  explicit ServiceTable(const std::vector<Service>& services);

  // nullptr: no such service, or it is not served in this way.
  const Service* match(std::string_view authority, tunnel::StreamKind kind) const;

 private:
  std::unordered_map<std::string, const Service*> by_name_;  // Service::name()
};

}  // namespace culvert::agent
