#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/socket_addr.h"
#include "wire/proxy_tlvs.h"

// The PROXY protocol, as HAProxy's proxy-protocol.txt defines it. Version 2 is read and written; version 1,
// its text form, is read only.
namespace culvert::wire {

struct ProxyHeader {
  bool local = false;  // LOCAL command: no client behind it, addresses mean nothing
  SocketAddr source;
  SocketAddr destination;
  std::vector<ProxyTlv> tlvs;  // in order, without the checksum

  const ProxyTlv* find(uint8_t type) const;
  bool operator==(const ProxyHeader&) const = default;
};

// What is behind the header: a stream, or the first datagram of a flow.
enum class ProxyTransport : uint8_t { kStream = 1, kDatagram = 2 };

// Version 2. Addresses of mixed families are written as IPv6 (mapped). kInvalid when it cannot fit 65535.
Result<Bytes> encode_proxy_v2(const ProxyHeader& header, ProxyTransport transport = ProxyTransport::kStream);

constexpr size_t kMaxProxyHeader =
    4096;  // ours are below 1024 bytes; a peer that needs more is not one of ours

struct DecodedProxy {
  ProxyHeader header;
  size_t consumed;
};
// Of a stream. nullopt: more bytes are needed. kInvalid: not version 2, a field that contradicts its length,
// a wrong CRC-32c, or longer than kMaxProxyHeader.
Result<std::optional<DecodedProxy>> decode_proxy_v2(ByteView bytes);

constexpr size_t kMaxProxyV1Header = 107;  // with its CR LF (2.1)

// Of either version. nullopt: more bytes are needed, kMaxProxyHeader at most. kInvalid: of no version.
Result<std::optional<DecodedProxy>> decode_proxy(ByteView bytes);

}  // namespace culvert::wire
