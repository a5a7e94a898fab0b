#include <cstdlib>

#include "tunnel/control.h"

using namespace culvert;

namespace {

// Every message, encoded again, and how the stream ended, when it arrives `step` bytes at a time.
Bytes messages(ByteView bytes, size_t step) {
  tunnel::ControlReader reader;
  Bytes out;
  for (;;) {
    auto message = reader.next();
    if (!message) {
      if (message.error().code != ErrorCode::kInvalid) std::abort();
      out.push_back('!');
      return out;
    }
    if (*message) {
      const Bytes once = tunnel::encode(**message);
      if (once.size() > 4 + tunnel::kMaxControlMessage) std::abort();
      // What was understood is understood again.
      tunnel::ControlReader again;
      again.feed(once);
      auto same = again.next();
      if (!same || !*same || **same != **message) std::abort();
      out.insert(out.end(), once.begin(), once.end());
      continue;
    }
    if (bytes.empty()) return out;
    const ByteView piece = bytes.first(std::min(step, bytes.size()));
    reader.feed(piece);
    bytes = bytes.subspan(piece.size());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView bytes(data, size);
  if (messages(bytes, size + 1) != messages(bytes, 1)) std::abort();
  return 0;
}
