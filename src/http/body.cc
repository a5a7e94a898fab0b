#include "http/body.h"

#include <algorithm>
#include <charconv>

namespace culvert::http {
namespace {

// A chunk's size with its extensions; the longest that mean anything are a few dozen bytes.
constexpr size_t kMaxChunkLine = 1024;
constexpr size_t kMaxSizeDigits = 8;
// One-byte chunks cost six bytes each: the worst that is honest.
constexpr size_t kMaxWireRatio = 8;
constexpr std::string_view kLineEnd = "\r\n";

std::unexpected<Error> bad_chunk(std::string_view why) {
  return fail(ErrorCode::kInvalid, "bad chunking: {}", why);
}

}  // namespace

BodyReader::BodyReader(Framing framing, uint64_t length, size_t cap)
    : framing_(framing), remaining_(length), cap_(cap) {
  done_ = framing == Framing::kNone || (framing == Framing::kLength && length == 0);
}

Result<> BodyReader::append(std::string_view bytes) {
  if (bytes.size() > cap_ - body_.size()) return fail(ErrorCode::kLimit, "its body is over {} bytes", cap_);
  body_ += bytes;
  return {};
}

Result<size_t> BodyReader::read(std::string_view bytes) {
  if (done_) return 0;
  if (framing_ == Framing::kChunked) {
    auto used = read_chunks(bytes);
    if (!used) return used;
    wire_ += *used;
    if (wire_ > kMaxWireRatio * cap_)
      return fail(ErrorCode::kLimit, "its chunks take more framing than content");
    return used;
  }
  if (framing_ == Framing::kLength) {
    bytes = bytes.substr(0, std::min<uint64_t>(bytes.size(), remaining_));
    remaining_ -= bytes.size();
    done_ = remaining_ == 0;
  }
  auto appended = append(bytes);
  if (!appended) return std::unexpected(appended.error());
  return bytes.size();
}

Result<uint64_t> BodyReader::parse_size(std::string_view line) const {
  size_t digits = std::min(line.find_first_not_of("0123456789abcdefABCDEF"), line.size());
  if (digits == 0) return bad_chunk("a size is no hexadecimal number");
  if (digits > kMaxSizeDigits) return bad_chunk("a size has too many digits");
  std::string_view rest = line.substr(digits);
  if (!rest.empty() && !rest.starts_with(';'))
    return bad_chunk("something that is no extension follows a size");
  if (std::ranges::any_of(rest, [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; })) {
    return bad_chunk("a control character in an extension");
  }
  uint64_t size = 0;
  std::from_chars(line.data(), line.data() + digits, size, 16);
  return size;
}

Result<size_t> BodyReader::read_chunks(std::string_view bytes) {
  std::string_view rest = bytes;
  auto used = [&] { return bytes.size() - rest.size(); };
  while (!done_) {
    if (chunk_ == Chunk::kData) {
      std::string_view data = rest.substr(0, std::min<uint64_t>(rest.size(), remaining_));
      if (auto appended = append(data); !appended) return std::unexpected(appended.error());
      rest.remove_prefix(data.size());
      remaining_ -= data.size();
      if (remaining_ > 0) return used();
      chunk_ = Chunk::kDataEnd;
    } else if (chunk_ == Chunk::kSize) {
      size_t feed = rest.find('\n');
      if (std::min(feed, rest.size()) > kMaxChunkLine) return bad_chunk("a chunk's line is too long");
      if (feed == rest.npos) return used();
      if (feed == 0 || rest[feed - 1] != '\r') return bad_chunk("line feed without carriage return");
      auto size = parse_size(rest.substr(0, feed - 1));
      if (!size) return std::unexpected(size.error());
      if (*size > cap_ - body_.size()) return fail(ErrorCode::kLimit, "its body is over {} bytes", cap_);
      rest.remove_prefix(feed + 1);
      remaining_ = *size;
      chunk_ = *size == 0 ? Chunk::kLast : Chunk::kData;
    } else {
      if (!kLineEnd.starts_with(rest.substr(0, kLineEnd.size()))) {
        return bad_chunk(chunk_ == Chunk::kLast ? "trailer fields" : "a chunk is longer than its size");
      }
      if (rest.size() < kLineEnd.size()) return used();
      rest.remove_prefix(kLineEnd.size());
      done_ = chunk_ == Chunk::kLast;
      chunk_ = Chunk::kSize;
    }
  }
  return used();
}

}  // namespace culvert::http
