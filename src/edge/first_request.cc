#include "edge/first_request.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace culvert::edge {
namespace {

constexpr std::array<std::string_view, 4> kSafeMethods = {"GET ", "HEAD ", "OPTIONS ", "TRACE "};

// One past the empty line that ends the head; npos: it has not ended. A bare LF ends a line too: origins
// accept it (RFC 9112, 2.2). Not http::H1Decoder, which has one reading of a message and says nothing before
// a line is complete: here a second request must not be missed by any reading that an origin may have, and
// first bytes may end anywhere.
size_t end_of_head(std::string_view text) {
  for (size_t line = text.find('\n'); line != std::string_view::npos; line = text.find('\n', line + 1)) {
    const std::string_view rest = text.substr(line + 1);
    if (rest.starts_with('\n')) return line + 2;
    if (rest.starts_with("\r\n")) return line + 3;
  }
  return std::string_view::npos;
}

}  // namespace

bool may_be_repeated(ByteView first) {
  const std::string_view text = as_text(first);
  if (std::ranges::none_of(kSafeMethods, [&](std::string_view method) { return text.starts_with(method); }))
    return false;
  // What follows may be a second request, which need not be safe.
  const size_t end = end_of_head(text);
  return end == std::string_view::npos || end == text.size();
}

}  // namespace culvert::edge
