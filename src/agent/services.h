#pragma once
#include <string_view>
#include <unordered_map>
#include <vector>

#include "agent/agent.h"

namespace culvert::agent {

std::string origin_text(const Service& service);  // "localhost:3000", "[::1]:3000"

// The short form "app.example.com=localhost:3000[,terminate|,passthrough][,proxy=v2|,proxy=none]".
Result<Service> parse_service(std::string_view text);

// What one agent may declare. kInvalid names the hostname that two services claim, or the limit that all
// together exceed.
Result<> check_services(const std::vector<Service>& services);

// Finds the service for a stream's authority: the exact hostname first, then the one-level wildcard.
class ServiceTable {
 public:
  // The services outlive the table and are unique.
  explicit ServiceTable(const std::vector<Service>& services);

  // nullptr: no such service, or it is not served in this mode.
  const Service* match(std::string_view authority, route::TlsMode mode) const;

 private:
  std::unordered_map<std::string, const Service*> by_pattern_;
};

}  // namespace culvert::agent
