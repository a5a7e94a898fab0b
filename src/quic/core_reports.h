#pragma once
#include <optional>
#include <string>

#include "base/key.h"
#include "quic/connection_host.h"
#include "quic/connection_info.h"
#include "quic/liveness.h"

// What the core tells about a connection, in our types.
namespace culvert::quic {

namespace core {
struct Liveness;
}

// Why the core lost the connection.
CloseReason close_reason_of(core::Connection* connection, bool handshaking);
// The key that the peer proved; nullopt for X.509.
std::optional<EndpointId> peer_key_of(core::Connection* connection);
std::string alpn_of(core::Endpoint* endpoint, core::Connection* connection);
Liveness::Report liveness_of(core::Endpoint* endpoint, core::Connection* connection);
Liveness::Report to_report(const core::Liveness& liveness);

}  // namespace culvert::quic
