#pragma once
#include <string_view>
#include <unordered_map>
#include <vector>

#include "agent/agent.h"

namespace culvert::agent {

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
