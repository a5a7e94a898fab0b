#include <set>

#include "base/check.h"
#include "wire/proxy_protocol.h"

using culvert::ByteView;
using namespace culvert::wire;

namespace {

// What goes on to the origin is bounded, has each type once, and fits a header.
void check_forwarded(const ProxyHeader& header) {
  const ForwardedTlvs forwarded = forwarded_tlvs(header.tlvs);
  const auto encoded = encode_tlvs(forwarded.tlvs);
  CHECK(encoded && encoded->size() <= kMostForwardedTlvs);
  CHECK(decode_tlvs(*encoded) == forwarded.tlvs);
  std::set<uint8_t> types;
  for (const ProxyTlv& tlv : forwarded.tlvs) CHECK(types.insert(tlv.type).second);
  const ForwardedTlvs again = forwarded_tlvs(forwarded.tlvs);
  CHECK(!again.is_cut && again.tlvs == forwarded.tlvs);
}

// Of either version: what follows the header has no part in it, and one byte less is not enough.
void check_both(ByteView input) {
  auto decoded = decode_proxy(input);
  if (!decoded) {
    CHECK(!decoded.error().message.empty());
    return;
  }
  if (!*decoded) {
    CHECK(input.size() < kMaxProxyHeader);
    return;
  }
  const auto& [header, consumed] = **decoded;
  CHECK(consumed <= input.size() && consumed <= kMaxProxyHeader);
  auto exact = decode_proxy(input.first(consumed));
  CHECK(exact && *exact && (*exact)->header == header && (*exact)->consumed == consumed);
  auto shorter = decode_proxy(input.first(consumed - 1));
  CHECK(shorter && !*shorter);
  CHECK(header.local || header.source.is_v4() == header.destination.is_v4() || input.front() != 'P');
  check_forwarded(header);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView input(data, size);
  check_both(input);
  auto decoded = decode_proxy_v2(input);
  if (!decoded) {
    CHECK(!decoded.error().message.empty());
    return 0;
  }
  if (!*decoded) {
    CHECK(size < kMaxProxyHeader);
    return 0;
  }
  const auto& [header, consumed] = **decoded;
  CHECK(consumed <= size && consumed <= kMaxProxyHeader);

  // What follows the header has no part in it, and one byte less is not enough.
  auto exact = decode_proxy_v2(input.first(consumed));
  CHECK(exact && *exact && (*exact)->header == header && (*exact)->consumed == consumed);
  auto shorter = decode_proxy_v2(input.first(consumed - 1));
  CHECK(shorter && !*shorter);

  auto encoded = encode_proxy_v2(header);
  CHECK(encoded.has_value() && encoded->size() <= consumed);
  auto again = decode_proxy_v2(*encoded);
  CHECK(again && *again && (*again)->consumed == encoded->size());
  CHECK(header.local ? (*again)->header.local : (*again)->header == header);
  return 0;
}
