#pragma once
#include <string_view>
#include <unordered_map>
#include <vector>

#include "agent/agent.h"

namespace culvert::agent {

std::string origin_text(const Service& service);  // "localhost:3000", "[::1]:3000"

// The short form "app.example.com=localhost:3000[,terminate|,passthrough][,proxy=v2|,proxy=none]".
Result<Service> parse_service(std::string_view text);

// The short form "ssh=localhost:22[,port=2222][,proxy=v2|,proxy=none]"; without a port the hub picks one.
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
