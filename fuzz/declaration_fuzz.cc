#include <cstdlib>

#include "hubapi/declaration.h"

using namespace culvert;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text = as_text(ByteView(data, size));
  // Whatever is accepted must survive a round trip unchanged.
  if (auto declaration = hubapi::decode_declaration(text)) {
    std::string once = hubapi::encode(*declaration);
    auto again = hubapi::decode_declaration(once);
    if (!again || hubapi::encode(*again) != once) std::abort();
  }
  if (auto answer = hubapi::decode_lease_answer(text)) {
    std::string once = hubapi::encode(*answer);
    auto again = hubapi::decode_lease_answer(once);
    if (!again || hubapi::encode(*again) != once) std::abort();
  }
  return 0;
}
