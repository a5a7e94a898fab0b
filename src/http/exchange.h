#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"
#include "base/socket_addr.h"
#include "http/message.h"
#include "net/event_loop.h"

namespace culvert::http {

// A request on its way to its answer, as a handler of a server sees it. Both bodies stream, with
// backpressure: nothing is read from the client before the handler asks for it, and a write returns when the
// connection has taken its bytes. One coroutine may read while another writes.
//
// A handler that ends without an answer leaves it to the server, which says why the body could not be read,
// or answers 500. After an error of a send, write or end nothing more can be sent.
class Exchange {
 public:
  Exchange() = default;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  virtual ~Exchange() = default;

  Request request;     // its body is empty until read_all()
  SocketAddr client;   // where the request came from
  TimePoint now;       // when the request's head, or its body after read_all(), had come
  TimePoint deadline;  // when a request must have come completely, for read_all()
  // Set by the router; the pattern lives as long as the router, and is empty where no route takes the
  // request.
  std::string_view pattern;
  std::string rest;       // what the '*' of the pattern stands for
  std::string user;       // set by a step of the router that authenticates
  Headers always;         // added to every answer
  int answer_status = 0;  // once it has begun
  // Tells who accepted the connection that its client is known and stays: it is not to make room for others.
  // May be empty.
  std::function<void()> keep;

  // The target without its query.
  std::string_view path() const {
    return std::string_view(request.target).substr(0, request.target.find('?'));
  }

  // The length of the request's body, if the client announced it; 0 without a body.
  virtual std::optional<uint64_t> body_length() const = 0;
  // The next piece of the request's body, valid until the next call; empty: it has ended. A client that waits
  // to be asked for its body (Expect: 100-continue) is asked by the first call. Errors: kTimeout, kReset, and
  // kInvalid or kLimit for a body that is malformed; nothing more can be read afterwards.
  virtual net::Task<Result<ByteView>> read(TimePoint deadline) = 0;
  // Once the body has ended.
  virtual const Headers& trailers() const = 0;
  // Reads the body into request.body. kLimit: it is longer than `cap`.
  virtual net::Task<Result<>> read_all(size_t cap) = 0;

  // A small answer in one write.
  virtual net::Task<Result<>> respond(Response response) = 0;
  // An informational answer (1xx other than 101), before the final one. Dropped where the client's version of
  // HTTP has none.
  virtual net::Task<Result<>> send_interim(int status, Headers headers, TimePoint deadline) = 0;
  // The head of a streamed answer. With a Content-Length the body has just that length.
  virtual net::Task<Result<>> send_head(int status, Headers headers, TimePoint deadline) = 0;
  virtual net::Task<Result<>> write(ByteView data, TimePoint deadline) = 0;
  // Ends the answer. Trailers reach only clients whose version of HTTP has them.
  virtual net::Task<Result<>> end(Headers trailers, TimePoint deadline) = 0;
  virtual bool has_answered() const = 0;  // or has begun to

  // Ends the exchange so that the client sees that its answer is not complete.
  virtual void abort() = 0;
};

}  // namespace culvert::http
