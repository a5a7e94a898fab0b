#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/socket_addr.h"
#include "route/route.h"
#include "wire/proxy_tlvs.h"

// What the edge writes first on every stream to an agent: a PROXY v2 header whose source and destination are
// the client's connection, with the authority TLV (hostname, or the name of a port's service), TLV 0xE0 =
// version, kind, connection id, and TLV 0xE1 = what a trusted proxy in front of the edge said of the client.
namespace culvert::tunnel {

constexpr uint8_t kStreamHeaderVersion = 1;
// Of the custom range, PROXY protocol 2.2.8. A proxy's own are inside of kTlvProxy, whatever their types are.
constexpr uint8_t kTlvCulvert = 0xE0;
constexpr uint8_t kTlvProxy = 0xE1;

// How a client's connection came to the edge, and what of it is in the stream.
enum class StreamKind : uint8_t {
  kPassthrough = 1,  // by a hostname: TLS, as the client sent it
  kTerminate = 2,    // by a hostname: what the edge decrypted
  kTcpPort = 3,      // at a TCP port: its bytes
  kUdpPort = 4,      // at a UDP port: the datagrams of all its clients (UdpChannel)
  kChallenge = 5,    // by a passthrough hostname on port 80: one request of a CA (challenge_request.h)
};
const char* to_string(StreamKind kind);  // "passthrough", "terminate", "tcp", "udp", "challenge"
StreamKind kind_of(route::TlsMode mode);

struct StreamHeader {
  SocketAddr client;       // of a UDP port unspecified
  SocketAddr public_addr;  // the edge address that is reached
  std::string authority;   // folded hostname; of a port the service's name
  StreamKind kind;
  uint64_t connection_id;                       // the edge's, for logs on both ends
  std::vector<wire::ProxyTlv> proxy_tlvs = {};  // as wire::forwarded_tlvs() leaves them
  bool operator==(const StreamHeader&) const = default;
};

Bytes encode(const StreamHeader& header);

struct DecodedHeader {
  StreamHeader header;
  size_t consumed;
};
// nullopt: more bytes are needed. kInvalid: malformed, no authority, an unknown kind, another version (the
// message names both). TLVs of a proxy that must not be forwarded are left out.
Result<std::optional<DecodedHeader>> decode_stream_header(ByteView bytes);

}  // namespace culvert::tunnel
