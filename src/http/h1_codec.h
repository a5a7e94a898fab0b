#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "http/h1_line_reader.h"
#include "http/h1_lines.h"
#include "http/headers.h"

// HTTP/1.1 messages as bytes (RFC 9112), sans-I/O: what the server, the client and every other reader of
// HTTP/1.1 here decode and encode with.
namespace culvert::http {

struct RequestHead {
  std::string method;
  std::string target;  // as sent: "/v1/leases?x=y", mostly
  int minor_version = 1;
  Headers headers;

  // Whether the client goes on to use the connection (RFC 9112, 9.3).
  bool keeps_alive() const;
};

struct ResponseHead {
  int status = 200;
  int minor_version = 1;
  Headers headers;

  bool keeps_alive() const;
};

// Reads the messages of one direction of a connection. It keeps the head it is reading and nothing of bodies.
//
//   H1Decoder decoder(H1Decoder::Role::kRequests);
//   for (auto event = decoder.next(input); event != H1Decoder::Event::kMore; event = decoder.next(input)) ...
class H1Decoder {
 public:
  enum class Role { kRequests, kResponses };

  enum class Event {
    kMore,      // all input was taken and nothing follows from it yet
    kHead,      // request() or response(): of the final one
    kInterim,   // response(): informational (1xx), the final one is still to come
    kData,      // data()
    kTrailers,  // trailers(), at least one
    kEnd,       // of the message
    kOpaque,    // what is left of the input is not HTTP: after CONNECT, after 101, where an observer cannot
                // know what the two ends make of it
    kError,     // error(); nothing that follows can be trusted
  };

  static constexpr size_t kMaxHead = 16 * 1024;  // of trailers as well; an observer has none
  static constexpr size_t kMaxFields = 128;      // of trailers as well; an observer keeps none
  static constexpr size_t kMaxChunkLine = 1024;  // a chunk's size with its extensions

  explicit H1Decoder(Role role, H1Rules rules = H1Rules::kStrict)
      : role_(role), rules_(rules), lines_(rules) {}

  // Takes bytes off the front of `input` up to the next event. kMore: give more.
  Event next(ByteView& input);
  // The peer ended, and next() has answered kMore: kEnd for a body without a length, kMore where no message
  // had begun, else kError with kReset.
  Event end_of_input();

  // The method of the request that the next response answers; it stays until it is set again. HEAD has no
  // body whatever the fields say, CONNECT may end HTTP.
  void answer_to(std::string_view method);
  // What follows is not HTTP: from here on next() answers kOpaque.
  void stop();

  // Valid from their event to the next call of next(); the caller may move them away.
  RequestHead& request() { return request_; }
  ResponseHead& response() { return response_; }
  Headers& trailers() { return trailers_; }
  ByteView data() const { return data_; }  // a view into the input
  // Of the latest head: the length of its body, if it is known; 0 without a body.
  std::optional<uint64_t> body_length() const { return body_length_; }

  // kInvalid: not HTTP, or ambiguous. kLimit: over one of the caps. kReset: the peer ended within a message.
  const Error& error() const { return error_; }
  // Bytes of an incomplete line. An observer also keeps a start line of H1LineReader::kMaxObserved.
  size_t buffered() const { return lines_.buffered(); }
  // True when no byte of a next message has arrived: a connection that ends here ends cleanly.
  bool is_between_messages() const { return state_ == State::kStart && head_bytes_ == 0; }

 private:
  //  kStart ──start line──▶ kFields ──empty line──▶ by the head:
  //     no body         kDone
  //     length          kLength ──all of it──▶ kDone
  //     chunked         kChunkSize ─▶ kChunkData ─▶ kChunkEnd ─▶ kChunkSize ... size 0 ─▶ kTrailers ─▶ kDone
  //     neither         kUntilEnd ──end_of_input()──▶ kOpaque
  //     no longer HTTP  kDone, then kOpaque
  //  kDone ──kEnd──▶ kStart. Anything malformed: kError, for good.
  enum class State {
    kStart,
    kFields,
    kLength,
    kChunkSize,
    kChunkData,
    kChunkEnd,
    kTrailers,
    kUntilEnd,
    kDone,
    kOpaque,
    kError,
  };

  bool is_strict() const { return rules_ == H1Rules::kStrict; }
  bool is_request() const { return role_ == Role::kRequests; }

  bool take_line(ByteView& input);
  // Each returns an event, or nullopt to go on.
  std::optional<Event> start_line(std::string_view line);
  std::optional<Event> field_line(std::string_view line);
  std::optional<Event> chunk_line(std::string_view line);
  std::optional<Event> trailer_line(std::string_view line);
  Event end_of_head();
  State state_after_head();
  Event take_data(ByteView& input);
  Event refuse(ErrorCode code, std::string_view why);

  Role role_;
  H1Rules rules_;
  State state_ = State::kStart;
  bool opaque_after_ = false;  // the message is the last one of HTTP here
  bool answers_head_ = false;
  bool answers_connect_ = false;

  H1LineReader lines_;
  size_t head_bytes_ = 0;  // of the head or the trailers so far
  BodyFields body_fields_;
  std::optional<uint64_t> body_length_;
  uint64_t remaining_ = 0;  // of the length, or of the chunk
  size_t chunk_end_taken_ = 0;
  size_t chunk_excess_ = 0;  // framing beyond what the data of its chunks justifies

  RequestHead request_;
  ResponseHead response_;
  Headers trailers_;
  ByteView data_;
  Error error_{ErrorCode::kInvalid, ""};
};

// They append to `out`. Names and values come from our own code or from a strict decoder: a line break in one
// would be a message smuggled into the stream, and is a bug.
void append_request_head(std::string& out, std::string_view method, std::string_view target,
                         const Headers& headers);
void append_response_head(std::string& out, int status, const Headers& headers);
// What goes before a chunk of `size` bytes, which is not 0, and behind it.
void append_chunk_size(std::string& out, size_t size);
constexpr std::string_view kChunkEnd = "\r\n";
void append_last_chunk(std::string& out, const Headers& trailers);

// Of a status of RFC 9110 and its registry; empty for others.
std::string_view reason_phrase(int status);

}  // namespace culvert::http
