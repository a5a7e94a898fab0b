#pragma once
#include <chrono>
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
    // Connections that its origin has taken, and their bytes; without UDP flows.
    uint64_t connections = 0;  // that are open
    uint64_t begun = 0;
    uint64_t bytes_in = 0;  // to the origin
    uint64_t bytes_out = 0;
  };
  struct Edge {
    std::string id;
    std::vector<std::string> addresses;
    bool is_connected;
    std::string remote = {};          // whence the edge's packets come; empty: it is not connected
    std::chrono::microseconds rtt{};  // smoothed; zero: not measured
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
