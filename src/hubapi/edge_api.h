#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/key.h"
#include "base/result.h"

// What an edge tells its hub, signed by the edge's key with kEdgeTag (route_stream.h). JSON; unknown members
// are refused.
namespace culvert::hubapi {

constexpr size_t kMaxEdgeAddresses = 16;
constexpr size_t kMaxReportedAgents = 800;  // of one report, in a body of 64 KiB

// The field of every request of an edge that names this start of its program.
constexpr std::string_view kEdgeRunField = "Culvert-Edge-Run";

// PUT /v1/edges/self: what agents must know to dial it.
struct EdgeAnnouncement {
  std::vector<std::string> addresses;  // "host:port", UDP
  std::string internal_ca_pem;         // root of the certificates that it makes itself; may be empty
  std::string version;                 // of its program
  bool is_leaving = false;             // it ends now: agents need not dial it until it announces itself again
  bool operator==(const EdgeAnnouncement&) const = default;
};
std::string encode(const EdgeAnnouncement& announcement);
Result<EdgeAnnouncement> decode_edge_announcement(std::string_view json);

// The hub's answer: what the operator calls the edge.
struct EdgeWelcome {
  std::string name;
  std::string region;  // may be empty
  bool operator==(const EdgeWelcome&) const = default;
};
std::string encode(const EdgeWelcome& welcome);
// Members that are not known are left out, since a hub may be newer than its edges.
Result<EdgeWelcome> decode_edge_welcome(std::string_view json);

// POST /v1/edges/self/tunnels: what became of its tunnels since the last report. The first one of a session,
// number 0, names all agents that it hears; a hub that missed one asks for another session.
struct TunnelReport {
  uint64_t session = 0;
  uint64_t number = 0;
  std::vector<EndpointId> heard = {};   // from now on, until they are in another list
  std::vector<EndpointId> silent = {};  // heard no more
  std::vector<EndpointId> closed = {};  // the last tunnel closed without a goodbye
  std::vector<EndpointId> left = {};    // said goodbye: their leases end
  bool operator==(const TunnelReport&) const = default;

  bool empty() const { return heard.empty() && silent.empty() && closed.empty() && left.empty(); }
};
std::string encode(const TunnelReport& report);
Result<TunnelReport> decode_tunnel_report(std::string_view json);

}  // namespace culvert::hubapi
