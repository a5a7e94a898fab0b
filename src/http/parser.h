#pragma once
#include <memory>

#include "base/bytes.h"
#include "base/result.h"
#include "http/message.h"

// HTTP/1.1 framing, sans-I/O and strict: what two parsers could read differently is refused (RFC 9112, 6.3
// and 11.2). That is: both Content-Length and Transfer-Encoding, more than one of either, a transfer coding
// other than chunked, folded or malformed field lines, bare CR or LF, trailer fields, and anything but one
// Host in an HTTP/1.1 request.
namespace culvert::http {

enum class ParseState {
  kNeedMore,
  kDone,   // a whole message is there: take()
  kError,  // error() says why; nothing that follows can be trusted
};

// A sequence of requests on one connection. Holds at most one message and what was fed beyond it.
class RequestParser {
 public:
  RequestParser();
  ~RequestParser();
  RequestParser(RequestParser&&) noexcept;
  RequestParser& operator=(RequestParser&&) noexcept;

  ParseState feed(ByteView bytes);
  ParseState state() const;
  // kInvalid: not HTTP or ambiguous; kLimit: header or body over the caps.
  const Error& error() const;
  // True when no byte of a next request has arrived: a connection that ends here ends cleanly.
  bool idle() const;
  // After kDone: the request. Parsing goes on with what followed it, so state() may be kDone again.
  Request take();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// One final response; interim ones (1xx) are skipped.
class ResponseParser {
 public:
  // `to_head`: the answer to a HEAD request has no body whatever its fields say.
  explicit ResponseParser(bool to_head);
  ~ResponseParser();
  ResponseParser(ResponseParser&&) noexcept;
  ResponseParser& operator=(ResponseParser&&) noexcept;

  ParseState feed(ByteView bytes);
  // The peer ended: completes a body without a length, anything else is a truncation (kReset).
  ParseState feed_end();
  const Error& error() const;
  Response take();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::http
