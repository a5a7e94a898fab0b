#include "tunnel/stream_header.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/hostname.h"
#include "route/match.h"
#include "wire/proxy_protocol.h"

namespace culvert::tunnel {
namespace {

std::unexpected<Error> invalid(const char* what) {
  return fail(ErrorCode::kInvalid, "stream header: {}", what);
}

// The one TLV of this type: a second one could say something else to a reader that takes the last.
Result<ByteView> only(const wire::ProxyHeader& proxy, uint8_t type, const char* name) {
  const auto count = std::ranges::count(proxy.tlvs, type, &wire::ProxyTlv::type);
  if (count != 1)
    return fail(ErrorCode::kInvalid, "stream header: {} TLVs with the {}; there must be one", count, name);
  return ByteView(proxy.find(type)->value);
}

// Of the proxy that named the client; most often there is none.
Result<std::vector<wire::ProxyTlv>> proxy_tlvs(const wire::ProxyHeader& proxy) {
  if (proxy.find(kTlvProxy) == nullptr) return std::vector<wire::ProxyTlv>();
  auto encoded = only(proxy, kTlvProxy, "proxy's TLVs");
  if (!encoded) return std::unexpected(encoded.error());
  auto decoded = wire::decode_tlvs(*encoded);
  if (!decoded) return std::unexpected(decoded.error());
  return wire::forwarded_tlvs(std::move(*decoded)).tlvs;
}

std::optional<StreamKind> parse_kind(uint8_t number) {
  for (const auto kind : {StreamKind::kPassthrough, StreamKind::kTerminate, StreamKind::kTcpPort,
                          StreamKind::kUdpPort, StreamKind::kChallenge}) {
    if (number == static_cast<uint8_t>(kind)) return kind;
  }
  return std::nullopt;
}

Result<> check_authority(StreamKind kind, std::string_view text) {
  if (kind == StreamKind::kTcpPort || kind == StreamKind::kUdpPort) {
    auto named = route::check_service_name(text);
    if (!named) return fail(ErrorCode::kInvalid, "stream header: {}", named.error().message);
    return {};
  }
  if (!is_hostname(text)) return invalid("the hostname is not one, or not in lower case");
  return {};
}

}  // namespace

const char* to_string(StreamKind kind) {
  switch (kind) {
    case StreamKind::kPassthrough:
      return "passthrough";
    case StreamKind::kTerminate:
      return "terminate";
    case StreamKind::kTcpPort:
      return "tcp";
    case StreamKind::kUdpPort:
      return "udp";
    case StreamKind::kChallenge:
      return "challenge";
  }
  return "unknown";
}

StreamKind kind_of(route::TlsMode mode) {
  return mode == route::TlsMode::kPassthrough ? StreamKind::kPassthrough : StreamKind::kTerminate;
}

Bytes encode(const StreamHeader& header) {
  ByteWriter own;
  own.u8(kStreamHeaderVersion);
  own.u8(static_cast<uint8_t>(header.kind));
  own.u64(header.connection_id);
  wire::ProxyHeader proxy;
  proxy.source = header.client;
  proxy.destination = header.public_addr;
  proxy.tlvs.push_back({wire::kProxyTlvAuthority, to_bytes(as_bytes(header.authority))});
  proxy.tlvs.push_back({kTlvCulvert, own.take()});
  if (!header.proxy_tlvs.empty()) {
    auto said = wire::encode_tlvs(header.proxy_tlvs);
    CHECK(said.has_value());
    proxy.tlvs.push_back({kTlvProxy, std::move(*said)});
  }
  auto bytes = wire::encode_proxy_v2(proxy);
  CHECK(bytes.has_value());  // a hostname has at most 253 bytes, a service's name less, a proxy's TLVs 512
  return std::move(*bytes);
}

Result<std::optional<DecodedHeader>> decode_stream_header(ByteView bytes) {
  auto decoded = wire::decode_proxy_v2(bytes);
  if (!decoded) return std::unexpected(decoded.error());
  if (!*decoded) return std::nullopt;
  const wire::ProxyHeader& proxy = (*decoded)->header;
  if (proxy.local) return invalid("it names no client address");

  auto own = only(proxy, kTlvCulvert, "Culvert version");
  if (!own) return std::unexpected(own.error());
  ByteReader in(*own);
  auto version = in.u8();
  if (!version) return invalid("the Culvert TLV is empty");
  if (*version != kStreamHeaderVersion) {
    return fail(
        ErrorCode::kInvalid,
        "stream header: the edge writes version {}, this agent reads version {}; update the older one",
        *version, kStreamHeaderVersion);
  }
  auto number = in.u8();
  auto connection_id = in.u64();
  if (!number || !connection_id || !in.empty()) return invalid("the Culvert TLV has a wrong length");
  const auto kind = parse_kind(*number);
  if (!kind) {
    return fail(ErrorCode::kInvalid, "stream header: kind {} is unknown to this agent; update it", *number);
  }
  auto authority = only(proxy, wire::kProxyTlvAuthority, "hostname");
  if (!authority) return std::unexpected(authority.error());
  auto checked = check_authority(*kind, as_text(*authority));
  if (!checked) return std::unexpected(checked.error());
  auto from_proxy = proxy_tlvs(proxy);
  if (!from_proxy) return std::unexpected(from_proxy.error());

  return DecodedHeader{.header = {.client = proxy.source,
                                  .public_addr = proxy.destination,
                                  .authority = std::string(as_text(*authority)),
                                  .kind = *kind,
                                  .connection_id = *connection_id,
                                  .proxy_tlvs = std::move(*from_proxy)},
                       .consumed = (*decoded)->consumed};
}

}  // namespace culvert::tunnel
