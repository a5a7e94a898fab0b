#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/settings.h"
#include "hubapi/declaration.h"
#include "route/match.h"
#include "route/route.h"

// What one tenant may hold.
namespace culvert::hub {

// What an invite says of it; a member that is not set is as the hub's TenantLimits.
struct Quotas {
  std::optional<uint32_t> hostnames = {};
  std::optional<uint32_t> tcp_ports = {};
  std::optional<uint32_t> udp_ports = {};
  std::optional<uint32_t> agents = {};
  // At each edge. Not set: as the edge's own limit for a tenant.
  std::optional<uint32_t> connections = {};      // public ones at one time
  std::optional<uint32_t> new_connections = {};  // in a second
  std::optional<uint32_t> bandwidth = {};        // bytes a second, both directions together
  std::optional<uint32_t> udp_flows = {};        // at one time

  bool operator==(const Quotas&) const = default;
};

// What edges are told of them.
route::OwnLimits own_limits_of(const Quotas& quotas);

// As the API and the records call them.
struct QuotaMember {
  std::string_view name;
  std::optional<uint32_t> Quotas::* quota;
  uint32_t least;
  uint32_t most;
};

struct TenantLimits {
  // More replicas than any tenant runs; bounds what one token can make the hub hold.
  static constexpr uint32_t kMostAgents = 64;
  // What so many agents can declare.
  static constexpr uint32_t kMostHostnames = kMostAgents * hubapi::kMaxServices;
  static constexpr uint32_t kMostPorts = 1024;
  static constexpr uint32_t kMostConnections = 10'000'000;  // of new ones and of flows as well
  // With less, a page takes longer than its visitor waits.
  static constexpr uint32_t kLeastBandwidth = 1'000;
  static constexpr uint32_t kMostBandwidth = 4'000'000'000;  // 32 Gbit/s; more than that is no limit

  uint32_t hostnames = kMostHostnames;
  // Ports are scarce: all tenants share 65,535.
  uint32_t tcp_ports = 16;
  uint32_t udp_ports = 16;
  uint32_t agents = kMostAgents;

  TenantLimits with(const Quotas& quotas) const;
  uint32_t ports(route::PortProtocol protocol) const {
    return protocol == route::PortProtocol::kTcp ? tcp_ports : udp_ports;
  }
};

inline constexpr QuotaMember kQuotaMembers[] = {
    {"max_hostnames", &Quotas::hostnames, 1, TenantLimits::kMostHostnames},
    {"max_tcp_ports", &Quotas::tcp_ports, 0, TenantLimits::kMostPorts},
    {"max_udp_ports", &Quotas::udp_ports, 0, TenantLimits::kMostPorts},
    {"max_agents", &Quotas::agents, 1, TenantLimits::kMostAgents},
    {"max_connections", &Quotas::connections, 1, TenantLimits::kMostConnections},
    {"max_new_connections", &Quotas::new_connections, 1, TenantLimits::kMostConnections},
    {"max_bandwidth", &Quotas::bandwidth, TenantLimits::kLeastBandwidth, TenantLimits::kMostBandwidth},
    {"max_udp_flows", &Quotas::udp_flows, 1, TenantLimits::kMostConnections},
};

// Both ends are in it.
struct PortRange {
  uint16_t first;
  uint16_t last;

  // "25565" or "20000-20099". kInvalid says what is wrong.
  static Result<PortRange> parse(std::string_view text);
  std::string text() const;
  bool contains(uint16_t port) const { return first <= port && port <= last; }
  size_t size() const { return size_t{last} - first + 1; }
  bool operator==(const PortRange&) const = default;
};

// The ports below are those of well-known services, which must not appear at the hub's address by accident.
constexpr uint16_t kFirstUnprivilegedPort = 1024;

struct PortRules {
  bool allow_privileged = false;
  // Where the hub picks ports for services that name none. Below those that Linux gives to outgoing
  // connections (32768 and above).
  PortRange picked{20000, 29999};
  // What the node itself listens on, or will: nobody may claim it.
  std::set<route::PublicPort> own = {};
};

struct TenantRules {
  TenantLimits limits = {};
  PortRules ports = {};
};

// Section [hub].
void describe(SettingsBuilder& settings, TenantRules& rules);

}  // namespace culvert::hub
