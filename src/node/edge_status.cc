#include "node/edge_status.h"

#include <fmt/chrono.h>
#include <fmt/ranges.h>

#include <boost/json/serialize.hpp>

#include "base/json.h"

namespace culvert::node {
namespace {

namespace json = boost::json;

const char* to_string(EdgeStatus::Hub hub) {
  switch (hub) {
    case EdgeStatus::Hub::kFollowed:
      return "followed";
    case EdgeStatus::Hub::kAway:
      return "away";
    case EdgeStatus::Hub::kRefused:
      return "refused";
    case EdgeStatus::Hub::kRevoked:
      return "revoked";
  }
  return "away";
}

json::value seconds_of(const std::optional<UnixTime>& time) {
  return time ? json::value(time->time_since_epoch().count()) : json::value(nullptr);
}

std::string hub_fault(const EdgeStatus& status) {
  const std::string reason = status.hub_reason.empty() ? "" : fmt::format(": {}", status.hub_reason);
  if (status.hub == EdgeStatus::Hub::kRevoked) {
    return fmt::format(
        "the hub has revoked this edge{}; make a token with `culvert edge-invite create` on the hub's host, "
        "and start the edge with it",
        reason);
  }
  if (status.hub == EdgeStatus::Hub::kRefused) {
    return fmt::format(
        "the hub refuses this edge{}; agents are not sent to it, and its routes get no changes", reason);
  }
  const std::string since =
      status.hub_since ? fmt::format("since {:%Y-%m-%d %H:%M:%S} UTC", *status.hub_since) : "since the start";
  return fmt::format(
      "the hub has not answered {}{}; {}. See that the hub runs, and that this host reaches {}", since,
      reason,
      status.routes_version ? "the edge serves the routes that it has"
                            : "the edge has no routes, and serves nothing",
      fmt::join(status.hub_urls, " or "));
}

}  // namespace

std::vector<std::string> faults_of(const EdgeStatus& status) {
  std::vector<std::string> faults;
  for (const std::string& worker : status.stuck)
    faults.push_back(fmt::format("{}; restart the edge if it stays so", worker));
  if (status.hub != EdgeStatus::Hub::kFollowed) faults.push_back(hub_fault(status));
  if (!status.are_routes_kept) {
    faults.emplace_back(
        "the routes cannot be written to the disk, see routes_not_kept in the log; they are served, and a "
        "restart without the hub would serve older ones");
  }
  faults.insert(faults.end(), status.warnings.begin(), status.warnings.end());
  if (status.routes > 0 && status.tunnels == 0) {
    faults.push_back(
        fmt::format("no agent has a tunnel to this edge, so that it serves none of its routes; see that UDP "
                    "{} is open to the agents, and leads here",
                    fmt::join(status.addresses, " and ")));
  }
  return faults;
}

std::string to_json(const EdgeStatus& status) {
  const std::vector<std::string> faults = faults_of(status);
  json::object out{{"status", faults.empty() ? "ready" : "degraded"},
                   {"version", status.version},
                   {"edge_id", status.id},
                   {"name", status.name},
                   {"region", status.region},
                   {"started_at", status.started.time_since_epoch().count()},
                   {"addresses", json_array(status.addresses)},
                   {"hub_urls", json_array(status.hub_urls)},
                   {"hub", to_string(status.hub)},
                   {"hub_since", seconds_of(status.hub_since)},
                   {"hub_reason", status.hub_reason},
                   {"routes", status.routes},
                   {"routes_version", nullptr},
                   {"routes_as_of", seconds_of(status.routes_as_of)},
                   {"certificates", status.certificates},
                   {"first_expiry", seconds_of(status.first_expiry)},
                   {"tunnels", status.tunnels},
                   {"connections", status.connections},
                   {"faults", json_array(faults)}};
  hub::add_live_status(out, status.live, nullptr);
  // As the edge names it to the hub, hubapi::HeldRoutes.
  if (const auto& at = status.routes_version)
    out["routes_version"] = fmt::format("{:x}.{}", at->epoch, at->version);
  return json::serialize(out);
}

}  // namespace culvert::node
