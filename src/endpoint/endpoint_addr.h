#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/key.h"
#include "base/result.h"
#include "base/socket_addr.h"

namespace culvert::endpoint {

// Where an endpoint may be reached: its key, and hints. Byte and text forms are those of iroh 1.x.
struct EndpointAddr {
  EndpointId id;
  std::vector<std::string> relay_urls;
  std::vector<SocketAddr> ip_addrs;

  bool operator==(const EndpointAddr&) const = default;
};

// Postcard: id, count, entries in canonical order (relays by text, then IPv4 before IPv6).
Bytes encode(const EndpointAddr& addr);
Result<EndpointAddr> decode_endpoint_addr(ByteView bytes);

// "endpoint" followed by unpadded lower-case base32 of 00 and encode(addr).
std::string to_ticket(const EndpointAddr& addr);
Result<EndpointAddr> parse_ticket(std::string_view text);

}  // namespace culvert::endpoint
