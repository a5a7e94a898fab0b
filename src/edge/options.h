#pragma once
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ip_prefix.h"
#include "base/key.h"
#include "base/settings.h"
#include "base/socket_addr.h"
#include "edge/places.h"
#include "edge/static_route.h"
#include "edge/unserved.h"
#include "route/picker.h"
#include "route/route.h"
#include "tunnel/pump_limits.h"

namespace culvert::edge {

// What an operator may choose of an edge.
struct Options {
  // Not set: port 443 of every address of this host, with IPv6 where the host has it.
  std::optional<SocketAddr> tcp_listen = std::nullopt;
  std::optional<SocketAddr> udp_listen = std::nullopt;  // not set: as tcp_listen
  // For plain HTTP: challenges of certificates, and the way to HTTPS. Not set: nowhere.
  std::optional<SocketAddr> http_listen = std::nullopt;
  unsigned workers = 1;
  Duration hello_timeout = std::chrono::seconds(10);
  Duration drain_timeout = std::chrono::seconds(10);
  Duration upgrade_timeout = std::chrono::hours(1);
  size_t max_connections = 20'000;
  std::optional<size_t> max_connections_per_tenant = std::nullopt;  // not set: as max_connections
  std::optional<size_t> max_connections_per_source = std::nullopt;  // not set: half of max_connections
  // That may begin in a second, and as many at once; 0: no limit.
  uint32_t max_new_connections = 20'000;
  uint32_t max_new_connections_per_tenant = 5'000;
  uint32_t max_new_connections_per_source = 2'000;
  // Bytes a second of public connections and of UDP ports, both directions together; 0: no limit.
  uint64_t max_bandwidth = 0;
  uint64_t max_bandwidth_per_tenant = 0;
  uint64_t max_bandwidth_per_source = 0;
  // Bytes of memory that the process may have before new connections are refused. Not set: three quarters of
  // what there is. 0: no limit.
  std::optional<uint64_t> max_memory = std::nullopt;
  // Clients that have not finished their hello or TLS handshake, and those of one source.
  std::optional<size_t> max_unserved = std::nullopt;
  std::optional<size_t> max_unserved_per_source = std::nullopt;
  // Proxies and load balancers in front of the public TCP listener: a connection from there begins with a
  // PROXY header, and counts as one of the client that this names.
  std::vector<IpPrefix> trusted_proxies = {};
  // Over the agents of a hostname.
  route::Balance balance = route::Balance::kRoundRobin;
  std::string access_log = {};  // the file of access records, "-": standard output; empty: none
  // Flows of UDP ports: of one client address and port.
  Duration udp_idle_timeout = std::chrono::seconds(60);
  size_t max_udp_flows = 100'000;
  size_t max_udp_flows_per_tenant = 16'384;
  size_t max_udp_flows_per_port = 8'192;
  uint32_t max_new_udp_flows = 5'000;  // of a tenant in a second
  tunnel::PumpLimits pump = {};
  std::vector<StaticRoute> routes = {};  // check_static_routes()
};

// Section [edge].
void describe(SettingsBuilder& settings, Options& options);

// Clients that have not finished their hello or handshake may take half of all places, so that slow ones
// cannot take all of them; small configurations keep a few.
inline Unserved::Limits unserved_limits(const Options& options) {
  constexpr size_t kMinUnserved = 64;
  constexpr size_t kMinPerSource = 32;
  const size_t total = options.max_unserved.value_or(std::max(kMinUnserved, options.max_connections / 2));
  return {total, options.max_unserved_per_source.value_or(std::max(kMinPerSource, total / 4))};
}

inline bool has_bandwidth_limit(const Options& options) {
  return options.max_bandwidth + options.max_bandwidth_per_tenant + options.max_bandwidth_per_source > 0;
}

using TenantPlaces = Places<PublicKey>;
using SourcePlaces = Places<std::string>;  // by SocketAddr::source_prefix()

inline TenantPlaces::Limits tenant_limits(const Options& options) {
  return {.each = options.max_connections_per_tenant.value_or(options.max_connections),
          .each_per_second = options.max_new_connections_per_tenant,
          .bytes_per_second = options.max_bandwidth_per_tenant};
}

// Of one tenant, as the hub tells them.
inline TenantPlaces::Own own_connections(const route::OwnLimits& own) {
  return {.open = own.connections,
          .per_second = own.connections_per_second,
          .bytes_per_second = own.bytes_per_second};
}
inline TenantPlaces::Own own_flows(const route::OwnLimits& own) {
  return {.open = own.udp_flows, .bytes_per_second = own.bytes_per_second};
}

// One source may take half of all places; small configurations keep a few.
inline SourcePlaces::Limits source_limits(const Options& options) {
  constexpr size_t kMinPerSource = 64;
  return {.each = options.max_connections_per_source.value_or(
              std::max(kMinPerSource, options.max_connections / 2)),
          .all_per_second = options.max_new_connections,
          .each_per_second = options.max_new_connections_per_source,
          .bytes_per_second = options.max_bandwidth_per_source};
}

inline TenantPlaces::Limits flow_limits(const Options& options) {
  return {.all = options.max_udp_flows,
          .each = options.max_udp_flows_per_tenant,
          .each_per_second = options.max_new_udp_flows,
          .bytes_per_second = options.max_bandwidth_per_tenant};
}

}  // namespace culvert::edge
