#pragma once
#include <memory>

#include "base/bytes.h"
#include "base/result.h"
#include "http/h1_codec.h"
#include "http/message.h"

// Whole HTTP/1.1 messages out of bytes, sans-I/O, with a cap on their bodies.
namespace culvert::http {

enum class ParseState {
  kNeedMore,
  kDone,   // a whole message is there: take()
  kError,  // error() says why; nothing that follows can be trusted
};

// A sequence of requests on one connection. Holds at most one message and what was fed beyond it.
class RequestParser {
 public:
  ParseState feed(ByteView bytes);
  ParseState state() const { return state_; }
  // kInvalid: not HTTP or ambiguous; kLimit: header or body over the caps.
  const Error& error() const { return error_; }
  // True when no byte of a next request has arrived: a connection that ends here ends cleanly.
  bool idle() const { return state_ == ParseState::kNeedMore && !in_body_ && decoder_.is_between_messages(); }
  // After kDone: the request. Parsing goes on with what followed it, so state() may be kDone again.
  Request take();

 private:
  ParseState advance();

  H1Decoder decoder_{H1Decoder::Role::kRequests};
  ParseState state_ = ParseState::kNeedMore;
  Error error_{ErrorCode::kInvalid, ""};
  Bytes unread_;
  bool in_body_ = false;
  std::string body_;
};

// One final response; interim ones (1xx) are skipped.
class ResponseParser {
 public:
  // `to_head`: the answer to a HEAD request has no body whatever its fields say.
  explicit ResponseParser(bool to_head);

  ParseState feed(ByteView bytes);
  // The peer ended: completes a body without a length, anything else is a truncation (kReset).
  ParseState feed_end();
  const Error& error() const { return error_; }
  Response take() { return std::move(response_); }

 private:
  ParseState refuse(Error error);

  H1Decoder decoder_{H1Decoder::Role::kResponses};
  ParseState state_ = ParseState::kNeedMore;
  Error error_{ErrorCode::kInvalid, ""};
  Response response_;
};

}  // namespace culvert::http
