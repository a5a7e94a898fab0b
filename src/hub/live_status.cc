#include "hub/live_status.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <tuple>
#include <utility>

namespace culvert::hub {
namespace {

namespace json = boost::json;

void add_list(json::object& status, std::string_view member, json::array entries, size_t all) {
  status["more_" + std::string(member)] = all - entries.size();
  status[json::string_view(member.data(), member.size())] = std::move(entries);
}

void add_busiest(json::object& status, std::string_view member, const route::TrafficSums& sums,
                 const TenantNames& names) {
  json::array entries;
  for (const route::TrafficSum& sum : sums.named) {
    if (entries.size() == kMostShown) break;
    entries.push_back(traffic_entry(sum, names));
  }
  add_list(status, member, std::move(entries), sums.named.size());
}

json::object tunnel_entry(const route::TunnelState& tunnel) {
  using std::chrono::duration_cast;
  return {{"agent_id", tunnel.agent.to_string()},
          {"remote", tunnel.remote.to_string()},
          {"rtt_us", duration_cast<std::chrono::microseconds>(tunnel.rtt).count()},
          {"age_secs", duration_cast<std::chrono::seconds>(tunnel.age).count()},
          {"worker", tunnel.worker},
          {"connections", tunnel.connections},
          {"draining", tunnel.is_draining},
          {"silent", tunnel.is_silent}};
}

}  // namespace

json::object traffic_numbers(const route::Traffic& traffic) {
  return {{"connections", traffic.open},
          {"begun", traffic.begun},
          {"refused", traffic.refused},
          {"bytes_in", traffic.bytes_in},
          {"bytes_out", traffic.bytes_out}};
}

json::object traffic_entry(const route::TrafficSum& sum, const TenantNames& names) {
  json::object entry{{"name", sum.name}, {"tenant_id", sum.tenant.to_string()}};
  const std::string name = names ? names(sum.tenant) : std::string();
  if (!name.empty()) entry["tenant_name"] = name;
  for (auto& [member, value] : traffic_numbers(sum.traffic)) entry[member] = value;
  return entry;
}

void add_live_status(json::object& status, const LiveStatus& live, const TenantNames& names) {
  using enum route::TrafficBy;
  constexpr auto kOrder = route::TrafficOrder::kConnections;
  const route::TrafficSums routes = route::sum_traffic(live.traffic, kRoute, kOrder);
  status["open_connections"] = routes.total.open;
  status["refused_connections"] = routes.total.refused;
  status["bytes_in"] = routes.total.bytes_in;
  status["bytes_out"] = routes.total.bytes_out;
  add_busiest(status, "busiest_routes", routes, names);
  add_busiest(status, "busiest_tenants", route::sum_traffic(live.traffic, kTenant, kOrder), names);
  add_busiest(status, "busiest_agents", route::sum_traffic(live.traffic, kAgent, kOrder), names);

  std::vector<route::TunnelState> tunnels = live.tunnels;
  std::ranges::sort(tunnels, {}, [](const route::TunnelState& each) {
    return std::tuple(~uint64_t{each.connections}, each.agent, each.worker);
  });
  json::array shown;
  for (const route::TunnelState& tunnel : tunnels) {
    if (shown.size() == kMostShown) break;
    shown.push_back(tunnel_entry(tunnel));
  }
  add_list(status, "agent_tunnels", std::move(shown), tunnels.size());
  json::array former;
  for (const FormerProcess& process : live.former_processes)
    former.push_back(json::object{{"pid", process.pid}, {"connections", process.connections}});
  status["former_processes"] = std::move(former);
}

}  // namespace culvert::hub
