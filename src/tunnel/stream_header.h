#pragma once
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "base/socket_addr.h"
#include "route/route.h"

// What the edge writes first on every stream to an agent: a PROXY v2 header whose source and destination are
// the client's connection, with the authority TLV (hostname) and TLV 0xE0 = version, TLS mode, connection id.
namespace culvert::tunnel {

constexpr uint8_t kStreamHeaderVersion = 1;
constexpr uint8_t kTlvCulvert = 0xE0;  // first of the custom range, PROXY protocol 2.2.8

struct StreamHeader {
  SocketAddr client;
  SocketAddr public_addr;  // the edge address the client reached
  std::string authority;   // folded hostname
  route::TlsMode tls_mode;
  uint64_t connection_id;  // the edge's, for logs on both ends
  bool operator==(const StreamHeader&) const = default;
};

Bytes encode(const StreamHeader& header);

struct DecodedHeader {
  StreamHeader header;
  size_t consumed;
};
// nullopt: more bytes are needed. kInvalid: malformed, no authority, another version (the message names
// both).
Result<std::optional<DecodedHeader>> decode_stream_header(ByteView bytes);

}  // namespace culvert::tunnel
