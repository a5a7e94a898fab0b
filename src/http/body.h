#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace culvert::http {

// Takes a message's body out of the bytes behind its header (RFC 9112, 6 and 7.1), sans-I/O, up to a cap.
// Chunk extensions are skipped; trailer fields are refused, for nobody here would know them from header
// fields.
class BodyReader {
 public:
  enum class Framing {
    kNone,
    kLength,
    kChunked,
    kUntilEnd,  // responses only: ends with the connection
  };

  BodyReader() = default;
  BodyReader(Framing framing, uint64_t length, size_t cap);

  // Takes what belongs to the body off the front of `bytes` and returns how much that was. Errors: kInvalid
  // for bad chunking, kLimit when the body, or its chunks with their framing, are over the cap.
  Result<size_t> read(std::string_view bytes);
  // The connection ended: true when that is how this body ends.
  bool end() const { return framing_ == Framing::kUntilEnd; }
  bool done() const { return done_; }
  std::string take() { return std::move(body_); }

 private:
  // kSize --size > 0--> kData --all of it--> kDataEnd --CRLF--> kSize;  kSize --size 0--> kLast --CRLF-->
  // done
  enum class Chunk { kSize, kData, kDataEnd, kLast };

  Result<> append(std::string_view bytes);
  Result<size_t> read_chunks(std::string_view bytes);
  Result<uint64_t> parse_size(std::string_view line) const;

  Framing framing_ = Framing::kNone;
  Chunk chunk_ = Chunk::kSize;
  uint64_t remaining_ = 0;  // of the length, or of the chunk
  size_t cap_ = 0;
  size_t wire_ = 0;  // bytes read with their framing
  bool done_ = true;
  std::string body_;
};

}  // namespace culvert::http
