#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/key.h"
#include "route/route.h"

namespace culvert::route {

// What clients and those that serve them have moved through an edge since it started.
struct Traffic {
  uint64_t open = 0;       // connections and UDP flows that agents or origins have now
  uint64_t begun = 0;      // of these, so far; one that moves to another agent begins again there
  uint64_t refused = 0;    // connections that nobody served, or that were over a limit of the tenant
  uint64_t bytes_in = 0;   // from clients; what the edge puts before them (headers) counts
  uint64_t bytes_out = 0;  // to clients

  Traffic& operator+=(const Traffic& more);
  uint64_t bytes() const { return bytes_in + bytes_out; }
  bool operator==(const Traffic&) const = default;
};

// Whose traffic it is. What is missing is not known any more: the numbers of a target or a route that is gone
// go on as those of its route or its tenant.
struct TrafficOwner {
  std::string route = {};  // RouteId::text()
  std::optional<PublicKey> tenant = {};
  std::optional<Target> target = {};

  auto operator<=>(const TrafficOwner&) const = default;
};

struct TrafficRow {
  TrafficOwner owner;
  Traffic traffic;
};

enum class TrafficBy : uint8_t { kRoute, kTenant, kAgent };
const char* to_string(TrafficBy by);  // "route"
std::optional<TrafficBy> parse_traffic_by(std::string_view text);

enum class TrafficOrder : uint8_t {
  kConnections,  // that are open, most first; then by bytes
  kBytes,        // most first
  kName,
};
const char* to_string(TrafficOrder order);  // "connections"
std::optional<TrafficOrder> parse_traffic_order(std::string_view text);

struct TrafficSum {
  std::string name;  // of a route its RouteId, of a tenant its key, of an agent its key or an origin's name
  PublicKey tenant;
  Traffic traffic;
};
struct TrafficSums {
  std::vector<TrafficSum> named;  // in the order that was asked for; no two have the same name and tenant
  Traffic others;                 // of those whose name is not known any more
  Traffic total;
};
TrafficSums sum_traffic(const std::vector<TrafficRow>& rows, TrafficBy by, TrafficOrder order);

// Where a list in this order goes on: behind this entry, whatever has changed since.
struct TrafficPlace {
  Traffic traffic;
  std::string name;
  std::string tenant;  // in hex
};
bool is_behind(const TrafficPlace& place, const TrafficSum& sum, TrafficOrder order);

}  // namespace culvert::route
