#include "agent/status.h"

#include <boost/json/serialize.hpp>

#include "base/json.h"

namespace culvert::agent {

namespace json = boost::json;

std::string to_json(const Status& status) {
  json::array services, edges;
  for (const Status::Service& each : status.services) {
    json::object service{{"service", each.service}, {"origin", each.origin}};
    if (!each.tls_mode.empty()) service["tls_mode"] = each.tls_mode;
    if (each.listen_port != 0) service["listen_port"] = each.listen_port;
    if (each.last_port != 0) service["last_port"] = each.last_port;
    service["status"] = each.state;
    if (!each.reason.empty()) service["reason"] = each.reason;
    if (each.others > 0) service["others"] = each.others;
    if (!each.health.empty()) service["health"] = each.health;
    if (!each.health_reason.empty()) service["health_reason"] = each.health_reason;
    service["connections"] = each.connections;
    service["begun"] = each.begun;
    service["bytes_in"] = each.bytes_in;
    service["bytes_out"] = each.bytes_out;
    services.push_back(std::move(service));
  }
  for (const Status::Edge& each : status.edges) {
    json::object edge{
        {"edge_id", each.id}, {"addresses", json_array(each.addresses)}, {"connected", each.is_connected}};
    if (!each.remote.empty()) {
      edge["remote"] = each.remote;
      edge["rtt_us"] = each.rtt.count();
    }
    edges.push_back(std::move(edge));
  }
  json::object out{{"status", status.faults.empty() ? "ready" : "degraded"},
                   {"version", status.version},
                   {"agent_id", status.agent_id}};
  if (!status.tenant_id.empty()) out["tenant_id"] = status.tenant_id;
  out["suspended"] = status.is_suspended;
  out["services"] = std::move(services);
  out["edges"] = std::move(edges);
  out["faults"] = json_array(status.faults);
  return json::serialize(out);
}

}  // namespace culvert::agent
