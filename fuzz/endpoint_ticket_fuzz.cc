#include "base/check.h"
#include "endpoint/endpoint_addr.h"

using namespace culvert;
using namespace culvert::endpoint;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView input(data, size);
  if (auto addr = decode_endpoint_addr(input)) {
    const Bytes encoded = encode(*addr);
    CHECK(encoded.size() <= size);
    CHECK(decode_endpoint_addr(encoded) == *addr);
    CHECK(parse_ticket(to_ticket(*addr)) == *addr);
  }
  if (auto addr = parse_ticket(as_text(input))) CHECK(parse_ticket(to_ticket(*addr)) == *addr);
  return 0;
}
