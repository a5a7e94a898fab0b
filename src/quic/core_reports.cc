#include "quic/core_reports.h"

#include <array>

#include "base/check.h"
#include "quic/core.h"

namespace culvert::quic {
namespace {

// RFC 9001, 4.8: CRYPTO_ERROR codes are 0x100 plus the TLS alert.
constexpr uint64_t kCryptoError = 0x100;
constexpr uint64_t kCryptoErrorEnd = 0x200;

CloseReason::Kind kind_of(core::CloseKind kind, uint64_t code, bool handshaking) {
  using Kind = CloseReason::Kind;
  const bool is_crypto = code >= kCryptoError && code < kCryptoErrorEnd;
  switch (kind) {
    case core::CloseKind::kLocalTransport:
      return is_crypto || handshaking ? Kind::kHandshake : Kind::kTransport;
    case core::CloseKind::kPeerTransport:
      return is_crypto ? Kind::kHandshake : Kind::kTransport;
    case core::CloseKind::kPeerApplication:
      return Kind::kApplication;
    case core::CloseKind::kIdle:
      return Kind::kIdleTimeout;
    case core::CloseKind::kReset:
      return Kind::kStatelessReset;
    case core::CloseKind::kVersion:
      return Kind::kHandshake;
    case core::CloseKind::kInternal:
      return Kind::kTransport;
  }
  return Kind::kTransport;
}

}  // namespace

CloseReason close_reason_of(core::Connection* connection, bool handshaking) {
  core::CloseKind kind{};
  uint64_t code = 0;
  std::array<char, 1024> text;
  const size_t size = core::cq_connection_close_reason(connection, &kind, &code,
                                                       reinterpret_cast<uint8_t*>(text.data()), text.size());
  std::string message(text.data(), size);
  if (kind == core::CloseKind::kInternal)
    message = "an internal error ended the connection";  // the engine logs it
  return {kind_of(kind, code, handshaking), code, std::move(message)};
}

std::optional<EndpointId> peer_key_of(core::Connection* connection) {
  std::array<uint8_t, PublicKey::kSize> key;
  if (!core::cq_connection_peer_key(connection, key.data())) return std::nullopt;
  Result<PublicKey> verified = PublicKey::from_bytes(key);
  CHECK(verified.has_value());  // the verifier asked the same
  return *verified;
}

std::string alpn_of(core::Endpoint* endpoint, core::Connection* connection) {
  std::array<char, 255> alpn;
  const size_t size =
      core::cq_connection_alpn(endpoint, connection, reinterpret_cast<uint8_t*>(alpn.data()), alpn.size());
  return std::string(alpn.data(), size);
}

Liveness::Report to_report(const core::Liveness& liveness) {
  std::optional<TimePoint> waiting_since;
  if (liveness.waiting != UINT64_MAX) waiting_since = core::from_core(liveness.waiting);
  return {.heard = core::from_core(liveness.heard),
          .acked = core::from_core(liveness.acked),
          .waiting_since = waiting_since,
          .probe_timeout = Duration(static_cast<int64_t>(liveness.pto))};
}

Liveness::Report liveness_of(core::Endpoint* endpoint, core::Connection* connection) {
  core::Liveness liveness;
  core::cq_connection_liveness(endpoint, connection, &liveness);
  return to_report(liveness);
}

}  // namespace culvert::quic
