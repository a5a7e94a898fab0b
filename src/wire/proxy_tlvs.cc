#include "wire/proxy_tlvs.h"

#include <algorithm>
#include <utility>

namespace culvert::wire {
namespace {

constexpr size_t kTypeAndLength = 3;

}  // namespace

Result<Bytes> encode_tlvs(std::span<const ProxyTlv> tlvs) {
  ByteWriter out;
  for (const ProxyTlv& tlv : tlvs) {
    if (tlv.value.size() > UINT16_MAX)
      return fail(ErrorCode::kInvalid, "PROXY header: a TLV of more than 65535 bytes");
    out.u8(tlv.type);
    out.u16(static_cast<uint16_t>(tlv.value.size()));
    out.bytes(tlv.value);
  }
  return out.take();
}

Result<std::vector<ProxyTlv>> decode_tlvs(ByteView bytes) {
  std::vector<ProxyTlv> tlvs;
  ByteReader in(bytes);
  while (!in.empty()) {
    const auto type = in.u8();
    const auto length = in.u16();
    const auto value = length ? in.take(*length) : std::nullopt;
    if (!value) return fail(ErrorCode::kInvalid, "PROXY header: a TLV is longer than what it is in");
    tlvs.push_back({*type, to_bytes(*value)});
  }
  return tlvs;
}

ForwardedTlvs forwarded_tlvs(std::vector<ProxyTlv> said) {
  ForwardedTlvs out;
  size_t left = kMostForwardedTlvs;
  for (ProxyTlv& tlv : said) {
    if (tlv.type == kProxyTlvNoop || tlv.type == kProxyTlvCrc32c) continue;
    if (std::ranges::find(out.tlvs, tlv.type, &ProxyTlv::type) != out.tlvs.end()) continue;
    const size_t size = kTypeAndLength + tlv.value.size();
    out.is_cut = size > left;
    if (out.is_cut) break;
    left -= size;
    out.tlvs.push_back(std::move(tlv));
  }
  return out;
}

}  // namespace culvert::wire
