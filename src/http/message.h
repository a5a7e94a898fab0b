#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "http/headers.h"
#include "net/byte_stream.h"

// HTTP/1.1 messages with whole bodies, for our own API: small requests, small answers. The proxy path will
// stream.
namespace culvert::http {

struct Request {
  std::string method;
  std::string target;  // origin form: "/v1/leases?x=y"
  Headers headers;
  std::string body;
  bool keep_alive = true;  // as read: what version and Connection ask for
};

struct Response {
  int status = 200;
  Headers headers;
  std::string body;
};

constexpr size_t kMaxBodyBytes = 64 * 1024;  // of a request
constexpr size_t kMaxResponseBodyBytes =
    4 * 1024 * 1024;  // an operator's listing is the longest answer we ask for

class RequestParser;  // http/parser.h

// Reads the next request of a connection whose `parser` lives as long as it does: pipelined requests wait
// there. `idle_deadline` is for the first byte, `limit` for the rest of the request after it. nullopt: the
// peer ended cleanly before a request began. kInvalid: not HTTP, both lengths, or ambiguous framing; kLimit:
// header or body over the caps.
// After kTimeout the connection is still there to answer on.
net::Task<Result<std::optional<Request>>> read_request(net::Reader& reader, RequestParser& parser,
                                                       TimePoint idle_deadline, Duration limit);
// Wipes the message: it may hold a token.
net::Task<Result<>> write_response(net::ByteStream& stream, Response response, bool keep_alive,
                                   TimePoint deadline);

// Sends one request, wipes it, and reads its answer. `host` goes into the Host field unless the request has
// one. Nothing else can be read from the stream afterwards. kLimit: the answer is over kMaxResponseBodyBytes.
net::Task<Result<Response>> fetch(net::ByteStream& stream, std::string host, Request request,
                                  TimePoint deadline);

}  // namespace culvert::http
