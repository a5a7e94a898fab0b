#include "edge/close_reason.h"

#include "base/check.h"
#include "tunnel/protocol.h"

namespace culvert::edge {
namespace {

struct Known {
  CloseReason reason;
  std::string_view text;
  Fault fault;
};

constexpr Known kAll[] = {
    {CloseReason::kFinished, "finished", Fault::kNobody},
    {CloseReason::kClientClosed, "client_closed", Fault::kNobody},
    {CloseReason::kIdle, "idle", Fault::kNobody},
    {CloseReason::kAnswered, "answered", Fault::kNobody},
    {CloseReason::kUnused, "unused", Fault::kNobody},
    {CloseReason::kHub, "hub", Fault::kNobody},
    {CloseReason::kWithdrawn, "route_withdrawn", Fault::kNobody},
    {CloseReason::kClientReset, "client_reset", Fault::kClient},
    {CloseReason::kClientGone, "client_gone", Fault::kClient},
    {CloseReason::kClientStalled, "client_stalled", Fault::kClient},
    {CloseReason::kHelloTimeout, "hello_timeout", Fault::kClient},
    {CloseReason::kNotTls, "not_tls", Fault::kClient},
    {CloseReason::kPlainHttp, "plain_http", Fault::kClient},
    {CloseReason::kUnknownHostname, "unknown_hostname", Fault::kClient},
    {CloseReason::kTlsHandshake, "tls_handshake", Fault::kClient},
    {CloseReason::kProxyHeader, "proxy_header", Fault::kClient},
    {CloseReason::kClientFull, "client_full", Fault::kClient},
    {CloseReason::kClientRate, "client_rate", Fault::kClient},
    {CloseReason::kSourceFull, "source_full", Fault::kClient},
    {CloseReason::kMaxConnections, "max_connections", Fault::kEdge},
    {CloseReason::kMaxHandshakes, "max_handshakes", Fault::kEdge},
    {CloseReason::kConnectionRate, "connection_rate", Fault::kEdge},
    {CloseReason::kOverload, "overload", Fault::kEdge},
    {CloseReason::kTenantFull, "tenant_full", Fault::kEdge},
    {CloseReason::kTenantRate, "tenant_rate", Fault::kEdge},
    {CloseReason::kHubFull, "hub_full", Fault::kEdge},
    {CloseReason::kCertificate, "certificate", Fault::kEdge},
    {CloseReason::kSuspended, "suspended", Fault::kEdge},
    {CloseReason::kDrained, "drained", Fault::kEdge},
    {CloseReason::kNoAgent, "no_agent", Fault::kAgent},
    {CloseReason::kAgentSilent, "agent_silent", Fault::kAgent},
    {CloseReason::kAgentRefused, "agent_refused", Fault::kAgent},
    {CloseReason::kAgentReset, "agent_reset", Fault::kAgent},
    {CloseReason::kStreamLimit, "stream_limit", Fault::kAgent},
    {CloseReason::kTunnelLost, "tunnel_lost", Fault::kAgent},
    {CloseReason::kOriginUnreachable, "origin_unreachable", Fault::kOrigin},
    {CloseReason::kOriginTimeout, "origin_timeout", Fault::kOrigin},
    {CloseReason::kOriginUntrusted, "origin_untrusted", Fault::kOrigin},
    {CloseReason::kOriginReset, "origin_reset", Fault::kOrigin},
};

consteval bool is_in_order() {
  for (size_t i = 0; i < kCloseReasons; ++i) {
    if (static_cast<size_t>(kAll[i].reason) != i) return false;
  }
  return std::size(kAll) == kCloseReasons;
}
static_assert(is_in_order());

const Known& known(CloseReason reason) { return kAll[static_cast<size_t>(reason)]; }

}  // namespace

std::string_view to_string(CloseReason reason) { return known(reason).text; }

Fault fault_of(CloseReason reason) { return known(reason).fault; }

std::string_view to_string(Fault fault) {
  constexpr std::string_view kTexts[] = {"nobody", "client", "edge", "agent", "origin"};
  static_assert(std::size(kTexts) == kFaults);
  return kTexts[static_cast<size_t>(fault)];
}

CloseReason reason_of(quic::AppCode code) {
  switch (code) {
    case tunnel::kStreamOriginReset:
      return CloseReason::kOriginReset;
    case tunnel::kStreamOriginUnreachable:
      return CloseReason::kOriginUnreachable;
    case tunnel::kStreamOriginTimeout:
      return CloseReason::kOriginTimeout;
    case tunnel::kStreamOriginUntrusted:
      return CloseReason::kOriginUntrusted;
    case tunnel::kStreamUnknownService:
    case tunnel::kStreamBadHeader:
      return CloseReason::kAgentRefused;
    case tunnel::kStreamLimit:
      return CloseReason::kStreamLimit;
    case tunnel::kStreamIdle:
      return CloseReason::kIdle;
    default:
      return CloseReason::kAgentReset;
  }
}

CloseReason reason_of(const tunnel::PumpResult& result, bool is_draining) {
  switch (result.end) {
    case tunnel::PumpEnd::kFinished:
      return CloseReason::kFinished;
    case tunnel::PumpEnd::kSocketReset:
      // Many clients leave so: what they were sent last, as the end of TLS, they do not read.
      return result.was_delivered ? CloseReason::kClientClosed : CloseReason::kClientReset;
    case tunnel::PumpEnd::kStreamReset:
      return result.given_up ? CloseReason::kClientStalled : reason_of(result.code);
    case tunnel::PumpEnd::kConnectionLost:
      return is_draining ? CloseReason::kDrained : CloseReason::kTunnelLost;
    case tunnel::PumpEnd::kIdle:
      return CloseReason::kIdle;
    case tunnel::PumpEnd::kCut:
      return result.code == tunnel::kStreamOk ? CloseReason::kDrained : CloseReason::kWithdrawn;
  }
  CHECK(false);
}

}  // namespace culvert::edge
