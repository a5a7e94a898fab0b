#pragma once
#include <functional>
#include <optional>

#include "http/h1_input.h"
#include "http/h1_output.h"
#include "http/message.h"

namespace culvert::http {

// The client's half of an HTTP/1.1 connection: one exchange after the other, both bodies streamed with
// backpressure. One coroutine may send while another receives. After a timeout of a sending call the stream
// is closed.
class Client {
 public:
  // The stream outlives it and has no other user. Under H1Rules::kObserver answers are read whatever their
  // servers' sins, but have no fields.
  explicit Client(net::ByteStream& stream, H1Rules rules = H1Rules::kStrict);

  // The whole request in one write, with its Content-Length. Wiped.
  net::Task<Result<>> send(Request request, TimePoint deadline);
  // A request whose body follows: as long as its Content-Length, or in chunks.
  net::Task<Result<>> send_head(RequestHead head, TimePoint deadline);
  net::Task<Result<>> write(ByteView data, TimePoint deadline) { return output_.write(data, deadline); }
  net::Task<Result<>> end(Headers trailers, TimePoint deadline) {
    return output_.end(std::move(trailers), deadline);
  }

  // The final answer's head. It may come before the request is sent. Informational ones are passed to
  // `on_interim`. Errors as H1Input's.
  net::Task<Result<ResponseHead>> read_head(TimePoint deadline);
  void on_interim(std::function<void(const ResponseHead&)> callback) { on_interim_ = std::move(callback); }
  // The length of its body, where the answer announces it; 0 without a body.
  std::optional<uint64_t> body_length() { return input_.decoder().body_length(); }
  // The next piece of its body, valid until the next call; empty: it has ended.
  net::Task<Result<ByteView>> read(TimePoint deadline) { return input_.read_body(deadline); }
  // The body, or its rest. kLimit: it is longer than `cap`.
  net::Task<Result<std::string>> read_all(size_t cap, TimePoint deadline);
  const Headers& trailers() const { return input_.trailers(); }

  // Whether the exchange has ended on both sides and another may follow.
  bool is_reusable() const {
    return output_.has_ended() && input_.body_ended() && keeps_alive_ && !input_.has_more();
  }
  // Ends the exchange so that the server sees that the request is not complete.
  void abort() { stream_.reset(); }

 private:
  void begin(std::string_view method, bool closes);

  net::ByteStream& stream_;
  H1Input input_;
  H1Output output_;
  std::function<void(const ResponseHead&)> on_interim_;
  bool keeps_alive_ = false;
};

// Sends one request, wipes it, and reads its answer. `host` goes into the Host field unless the request has
// one. kLimit: the answer is over kMaxResponseBytes.
net::Task<Result<Response>> fetch(net::ByteStream& stream, std::string host, Request request,
                                  TimePoint deadline);

}  // namespace culvert::http
