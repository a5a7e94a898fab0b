#include "tunnel/stream_header.h"

#include <algorithm>

#include "base/check.h"
#include "base/hostname.h"
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

}  // namespace

Bytes encode(const StreamHeader& header) {
  ByteWriter own;
  own.u8(kStreamHeaderVersion);
  own.u8(static_cast<uint8_t>(header.tls_mode));
  own.u64(header.connection_id);
  wire::ProxyHeader proxy;
  proxy.source = header.client;
  proxy.destination = header.public_addr;
  proxy.tlvs.push_back({wire::kProxyTlvAuthority, to_bytes(as_bytes(header.authority))});
  proxy.tlvs.push_back({kTlvCulvert, own.take()});
  auto bytes = wire::encode_proxy_v2(proxy);
  CHECK(bytes.has_value());  // a hostname of at most 253 bytes always fits
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
  auto mode = in.u8();
  auto connection_id = in.u64();
  if (!mode || !connection_id || !in.empty()) return invalid("the Culvert TLV has a wrong length");
  if (*mode != static_cast<uint8_t>(route::TlsMode::kPassthrough) &&
      *mode != static_cast<uint8_t>(route::TlsMode::kTerminate)) {
    return fail(ErrorCode::kInvalid, "stream header: TLS mode {} is unknown", *mode);
  }
  auto authority = only(proxy, wire::kProxyTlvAuthority, "hostname");
  if (!authority) return std::unexpected(authority.error());
  if (!is_hostname(as_text(*authority))) return invalid("the hostname is not one, or not in lower case");

  return DecodedHeader{.header = {.client = proxy.source,
                                  .public_addr = proxy.destination,
                                  .authority = std::string(as_text(*authority)),
                                  .tls_mode = static_cast<route::TlsMode>(*mode),
                                  .connection_id = *connection_id},
                       .consumed = (*decoded)->consumed};
}

}  // namespace culvert::tunnel
