#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/key.h"
#include "route/liveness.h"
#include "route/traffic.h"

namespace boost::json {
class object;
}

// What an edge does now, as a status and the hub's API show it.
namespace culvert::hub {

// A process that was handed over from and still has connections.
struct FormerProcess {
  int64_t pid = 0;
  uint64_t connections = 0;  // public ones, as it told last
};

// Of the edge in this process, at one moment.
struct LiveStatus {
  std::vector<route::TrafficRow> traffic = {};
  std::vector<route::TunnelState> tunnels = {};
  std::vector<FormerProcess> former_processes = {};
};

// What operators call a tenant; empty: they do not.
using TenantNames = std::function<std::string(const PublicKey& tenant)>;

// An entry of a list: "name", "tenant_id" and numbers.
boost::json::object traffic_entry(const route::TrafficSum& sum, const TenantNames& names);
// The numbers alone.
boost::json::object traffic_numbers(const route::Traffic& traffic);

// Adds what a status shows: the sums, the routes, tenants and agents with the most open connections, tunnels
// and former processes. Of each list the first kMostShown; how many more there are is a member of its own.
// By open connections and not by rates: it takes one look, and says who has something to lose now.
constexpr size_t kMostShown = 10;
void add_live_status(boost::json::object& status, const LiveStatus& live, const TenantNames& names);

}  // namespace culvert::hub
