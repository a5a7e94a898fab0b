#include "route/traffic.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

namespace culvert::route {
namespace {

// Smaller comes first.
auto rank(const Traffic& traffic, std::string_view name, std::string_view tenant, TrafficOrder order) {
  const uint64_t open = order == TrafficOrder::kConnections ? traffic.open : 0;
  const uint64_t bytes = order == TrafficOrder::kName ? 0 : traffic.bytes();
  return std::tuple(~open, ~bytes, name, tenant);
}

std::optional<std::string> name_of(const TrafficOwner& owner, TrafficBy by) {
  switch (by) {
    case TrafficBy::kRoute:
      if (!owner.route.empty()) return owner.route;
      break;
    case TrafficBy::kTenant:
      if (owner.tenant) return owner.tenant->to_string();
      break;
    case TrafficBy::kAgent:
      if (!owner.target) break;
      if (const EndpointId* agent = owner.target->agent()) return agent->to_string();
      return owner.target->origin()->name;
  }
  return std::nullopt;
}

}  // namespace

Traffic& Traffic::operator+=(const Traffic& more) {
  open += more.open;
  begun += more.begun;
  refused += more.refused;
  bytes_in += more.bytes_in;
  bytes_out += more.bytes_out;
  return *this;
}

const char* to_string(TrafficBy by) {
  switch (by) {
    case TrafficBy::kRoute:
      return "route";
    case TrafficBy::kTenant:
      return "tenant";
    case TrafficBy::kAgent:
      return "agent";
  }
  return "unknown";
}

std::optional<TrafficBy> parse_traffic_by(std::string_view text) {
  for (const TrafficBy by : {TrafficBy::kRoute, TrafficBy::kTenant, TrafficBy::kAgent}) {
    if (text == to_string(by)) return by;
  }
  return std::nullopt;
}

const char* to_string(TrafficOrder order) {
  switch (order) {
    case TrafficOrder::kConnections:
      return "connections";
    case TrafficOrder::kBytes:
      return "bytes";
    case TrafficOrder::kName:
      return "name";
  }
  return "unknown";
}

std::optional<TrafficOrder> parse_traffic_order(std::string_view text) {
  for (const TrafficOrder order : {TrafficOrder::kConnections, TrafficOrder::kBytes, TrafficOrder::kName}) {
    if (text == to_string(order)) return order;
  }
  return std::nullopt;
}

TrafficSums sum_traffic(const std::vector<TrafficRow>& rows, TrafficBy by, TrafficOrder order) {
  TrafficSums sums;
  std::map<std::pair<std::string, PublicKey>, Traffic> named;
  for (const TrafficRow& row : rows) {
    sums.total += row.traffic;
    const auto name = name_of(row.owner, by);
    if (name && row.owner.tenant) {
      named[{*name, *row.owner.tenant}] += row.traffic;
    } else {
      sums.others += row.traffic;
    }
  }
  std::vector<std::pair<std::string, TrafficSum>> keyed;  // by the tenant in hex
  for (const auto& [owner, traffic] : named)
    keyed.push_back({owner.second.to_string(), {owner.first, owner.second, traffic}});
  std::ranges::sort(keyed, {}, [&](const auto& each) {
    return rank(each.second.traffic, each.second.name, each.first, order);
  });
  for (auto& [tenant, sum] : keyed) sums.named.push_back(std::move(sum));
  return sums;
}

bool is_behind(const TrafficPlace& place, const TrafficSum& sum, TrafficOrder order) {
  const std::string tenant = sum.tenant.to_string();
  return rank(place.traffic, place.name, place.tenant, order) < rank(sum.traffic, sum.name, tenant, order);
}

}  // namespace culvert::route
