#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tunnel/pump.h"

namespace culvert::edge {

// Why a public connection ended. Each has one side at fault; docs/access-records.md has both.
enum class CloseReason : uint8_t {
  // Nothing is wrong.
  kFinished,      // both directions ended cleanly
  kClientClosed,  // the client reset it after it had got everything
  kIdle,          // nothing moved for too long
  kAnswered,      // the edge answered itself: plain HTTP, or the challenge of a CA
  kUnused,        // the client asked for nothing after its handshake
  kHub,           // given to the hub
  kWithdrawn,     // its route no longer leads to its agent
  // The client.
  kClientReset,
  kClientGone,  // before it had said what it wants, or before an agent had it
  kClientStalled,
  kHelloTimeout,
  kNotTls,
  kPlainHttp,
  kUnknownHostname,
  kTlsHandshake,
  kProxyHeader,
  kClientFull,
  kClientRate,
  kSourceFull,
  // The edge: its limits, its state, and what its operator decided.
  kMaxConnections,
  kMaxHandshakes,
  kConnectionRate,
  kOverload,
  kTenantFull,
  kTenantRate,
  kHubFull,
  kCertificate,
  kSuspended,
  kDrained,
  // The agent, or the network between it and the edge.
  kNoAgent,
  kAgentSilent,
  kAgentRefused,
  kAgentReset,
  kStreamLimit,
  kTunnelLost,
  // The origin, as its agent says, or the edge has seen of one beside it.
  kOriginUnreachable,
  kOriginTimeout,
  kOriginUntrusted,
  kOriginReset,
};
constexpr size_t kCloseReasons = static_cast<size_t>(CloseReason::kOriginReset) + 1;

enum class Fault : uint8_t { kNobody, kClient, kEdge, kAgent, kOrigin };
constexpr size_t kFaults = static_cast<size_t>(Fault::kOrigin) + 1;

std::string_view to_string(CloseReason reason);
std::string_view to_string(Fault fault);
Fault fault_of(CloseReason reason);

// Of a connection that an agent had, or an origin beside the edge. `is_draining`: the edge stops, and so do
// its tunnels.
CloseReason reason_of(const tunnel::PumpResult& result, bool is_draining);
// What an agent says by the code of a stream that it resets.
CloseReason reason_of(quic::AppCode code);

}  // namespace culvert::edge
