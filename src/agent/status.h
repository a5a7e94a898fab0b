#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace culvert::agent {

// What an agent tells its operator of itself at one moment.
struct Status {
  struct Service {
    std::string service;   // agent::Service::name()
    std::string tls_mode;  // empty: it has a port
    std::string origin;
    std::string state;         // "accepted", "refused", or "waiting": the hub has not answered
    std::string reason = {};   // why it is refused
    size_t others = 0;         // agents that share its connections
    uint16_t listen_port = 0;  // that it was given; 0: none, or it has a hostname
    uint16_t last_port = 0;    // of a range
    // Of its origin: "healthy", "unhealthy", or empty: it is not asked, and clients reach it.
    std::string health = {};
    std::string health_reason = {};  // why it is unhealthy
  };
  struct Edge {
    std::string id;
    std::vector<std::string> addresses;
    bool is_connected;
  };
  std::string version;
  std::string agent_id;
  std::string tenant_id = {};  // empty: the hub has not answered
  bool is_suspended = false;
  std::vector<Service> services;
  std::vector<Edge> edges = {};
  std::vector<std::string> faults = {};  // Agent::faults()
};

// A JSON object with these members.
std::string to_json(const Status& status);

}  // namespace culvert::agent
