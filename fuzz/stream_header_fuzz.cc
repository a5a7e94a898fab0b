#include "base/check.h"
#include "tunnel/stream_header.h"

using culvert::ByteView;
using namespace culvert::tunnel;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView input(data, size);
  auto decoded = decode_stream_header(input);
  if (!decoded) {
    CHECK(!decoded.error().message.empty());
    return 0;
  }
  if (!*decoded) return 0;
  const auto& [header, consumed] = **decoded;
  CHECK(consumed <= size);
  CHECK(!header.authority.empty() && header.authority.size() <= 253);

  const culvert::Bytes encoded = encode(header);
  CHECK(encoded.size() <= consumed);
  auto again = decode_stream_header(encoded);
  CHECK(again && *again && (*again)->header == header && (*again)->consumed == encoded.size());
  return 0;
}
