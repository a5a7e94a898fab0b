#include <cstdlib>

#include "agent/http_tap.h"

using namespace culvert;

namespace {

struct Piece {
  bool is_request;
  std::string bytes;
};

// The input is a list of pieces: a byte for the direction (bit 0), how often the piece is repeated (bits 1 to
// 3, as powers of four, so that a short input makes long lines) and whether a line feed ends it (bit 4); a
// byte for the length; the piece.
std::vector<Piece> pieces_of(ByteView input) {
  constexpr size_t kMostBytes = 20'000;  // more than two lines of the length that is kept
  std::vector<Piece> out;
  ByteReader reader(input);
  for (size_t total = 0; total < kMostBytes;) {
    auto kind = reader.u8();
    auto size = reader.u8();
    if (!kind || !size) break;
    auto bytes = reader.take(std::min<size_t>(*size, reader.rest().size()));
    Piece piece{(*kind & 1) == 0, {}};
    for (size_t i = 0; i < size_t{1} << (2 * (*kind >> 1 & 7)) && total < kMostBytes; ++i) {
      piece.bytes += as_text(*bytes);
      total += bytes->size() + 1;
    }
    if (*kind & 16) piece.bytes += "\r\n";
    out.push_back(std::move(piece));
  }
  return out;
}

// What the tap reports of these pieces, each handed over `step` bytes at a time.
std::string reports(const std::vector<Piece>& pieces, size_t step) {
  std::string seen;
  agent::HttpTap tap("host", [&](const agent::RequestLine& line) {
    // A method or target of any size takes a line of a log, and nothing that a terminal would obey.
    if (line.target.size() > 4 * agent::HttpTap::kMaxShown + 3) std::abort();
    for (char c : line.method + line.target) {
      if (c <= 0x20 || c >= 0x7f) std::abort();
    }
    seen += fmt::format("{} {} {}\n", line.method, line.target, line.status);
  });
  for (const Piece& piece : pieces) {
    for (size_t at = 0; at < piece.bytes.size(); at += step) {
      const ByteView bytes = as_bytes(piece.bytes).subspan(at, std::min(step, piece.bytes.size() - at));
      if (piece.is_request) {
        tap.request_bytes(bytes, {});
      } else {
        tap.response_bytes(bytes, {});
      }
      if (tap.buffered() > agent::HttpTap::kMaxBuffered) std::abort();
    }
  }
  tap.closed({});
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto pieces = pieces_of({data, size});
  const std::string whole = reports(pieces, size_t{1} << 20);
  if (whole != reports(pieces, 1)) std::abort();
  if (whole != reports(pieces, 1000)) std::abort();
  return 0;
}
