#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

// The TLVs behind the addresses of a PROXY v2 header (HAProxy's proxy-protocol.txt, 2.2).
namespace culvert::wire {

struct ProxyTlv {
  uint8_t type;
  Bytes value;
  bool operator==(const ProxyTlv&) const = default;
};

constexpr uint8_t kProxyTlvAlpn = 0x01;
constexpr uint8_t kProxyTlvAuthority = 0x02;
constexpr uint8_t kProxyTlvCrc32c = 0x03;
constexpr uint8_t kProxyTlvNoop = 0x04;

// As they are in a header. kInvalid: a value that does not fit 65535 bytes.
Result<Bytes> encode_tlvs(std::span<const ProxyTlv> tlvs);
// kInvalid: one is longer than what is left.
Result<std::vector<ProxyTlv>> decode_tlvs(ByteView bytes);

// What fits beside the longest hostname into 1 KiB: with the client's hello one or two packets. Load
// balancers send less than 200 bytes.
constexpr size_t kMostForwardedTlvs = 512;

struct ForwardedTlvs {
  std::vector<ProxyTlv> tlvs;
  bool is_cut = false;  // some were left out because they do not fit
};
// What a proxy in front says of a connection that its origin may want to know: everything but padding and
// checksum, of each type the first, in order, and from the first that does not fit kMostForwardedTlvs encoded
// bytes on none.
ForwardedTlvs forwarded_tlvs(std::vector<ProxyTlv> said);

}  // namespace culvert::wire
