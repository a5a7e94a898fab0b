#pragma once
#include <array>
#include <optional>

#include "http/h1_codec.h"
#include "net/byte_stream.h"

namespace culvert::http {

// To reserve for a head: more than ours have, so that a message does not move while it grows and leaves no
// copy.
constexpr size_t kHeadSize = 2048;

// The sending half of one HTTP/1.1 message. A call returns when the stream has taken its bytes, so that a
// slow receiver slows its sender. After an error the stream holds half a message, and can only be reset.
class H1Output {
 public:
  enum class Body {
    kNone,    // what is written is dropped: the answer to HEAD, 204, 304
    kLength,  // as the head says, neither more nor less
    kChunked,
    kUntilEnd,  // ends with the connection
  };

  // The stream outlives it.
  explicit H1Output(net::ByteStream& stream) : stream_(&stream) {}

  // `head` is serialized and announces the body: kLength has `length`. Wiped.
  net::Task<Result<>> begin(std::string head, Body body, uint64_t length, TimePoint deadline);
  // kInvalid: more than the announced length.
  net::Task<Result<>> write(ByteView data, TimePoint deadline);
  // Trailers go out with chunks, otherwise they are dropped. kInvalid: less than the announced length.
  net::Task<Result<>> end(Headers trailers, TimePoint deadline);
  // A whole message in one write. Wiped.
  net::Task<Result<>> send(std::string message, TimePoint deadline);

  bool has_begun() const { return state_ != State::kNotBegun; }
  bool has_ended() const { return state_ == State::kEnded; }

 private:
  enum class State { kNotBegun, kBody, kEnded };

  net::Task<Result<>> write_all(std::array<ByteView, 3> pieces, TimePoint deadline);

  net::ByteStream* stream_;
  State state_ = State::kNotBegun;
  Body body_ = Body::kNone;
  uint64_t remaining_ = 0;
};

// The length that a Content-Length field of our own announces. CHECKs that it is a number.
std::optional<uint64_t> announced_length(const Headers& headers);

}  // namespace culvert::http
