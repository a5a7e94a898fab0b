#include <cstdlib>

#include "tunnel/declaration.h"

using namespace culvert;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text = as_text(ByteView(data, size));
  // Whatever is accepted must survive a round trip unchanged.
  if (auto declaration = tunnel::decode_declaration(text)) {
    std::string once = tunnel::encode(*declaration);
    auto again = tunnel::decode_declaration(once);
    if (!again || tunnel::encode(*again) != once) std::abort();
  }
  if (auto answer = tunnel::decode_lease_answer(text)) {
    std::string once = tunnel::encode(*answer);
    auto again = tunnel::decode_lease_answer(once);
    if (!again || tunnel::encode(*again) != once) std::abort();
  }
  return 0;
}
