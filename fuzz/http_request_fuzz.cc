#include <cstdlib>

#include "http/parser.h"

using namespace culvert;

namespace {

// What the parser makes of the bytes, fed `step` at a time: every message, then how it ended.
std::string digest(ByteView bytes, size_t step) {
  http::RequestParser parser;
  std::string seen;
  auto drain = [&] {
    while (parser.state() == http::ParseState::kDone) {
      http::Request request = parser.take();
      seen += request.method + ' ' + request.target + '\n';
      for (const auto& [name, value] : request.headers) seen += name + ':' + value + '\n';
      seen += request.body + '\0';
      if (request.body.size() > http::kMaxBodyBytes) std::abort();
    }
  };
  while (!bytes.empty() && parser.state() != http::ParseState::kError) {
    ByteView piece = bytes.first(std::min(step, bytes.size()));
    parser.feed(piece);
    drain();
    bytes = bytes.subspan(piece.size());
  }
  return seen + (parser.state() == http::ParseState::kError ? "error" : parser.idle() ? "idle" : "more");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ByteView bytes(data, size);
  // Segmentation must never change what is understood.
  if (digest(bytes, size + 1) != digest(bytes, 1)) std::abort();
  for (bool to_head : {false, true}) {
    http::ResponseParser response(to_head);
    if (response.feed(bytes) == http::ParseState::kNeedMore) response.feed_end();
  }
  return 0;
}
