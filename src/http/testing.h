#pragma once
#include <utility>

#include "http/exchange.h"
#include "net/event_loop.h"

namespace culvert::http::testing {

// An exchange without a connection: its request is given, and the answer is kept.
class MemoryExchange final : public Exchange {
 public:
  explicit MemoryExchange(Request whole) : body_(std::exchange(whole.body, {})) {
    request = std::move(whole);
  }

  Response response;
  Headers response_trailers;
  bool ended = false;
  bool aborted = false;

  std::optional<uint64_t> body_length() const override { return body_.size(); }
  net::Task<Result<ByteView>> read(TimePoint) override {
    read_ = std::exchange(body_, {});
    co_return as_bytes(read_);
  }
  const Headers& trailers() const override { return trailers_; }
  net::Task<Result<>> read_all(size_t cap) override {
    if (body_.size() > cap) co_return fail(ErrorCode::kLimit, "the body is over {} bytes", cap);
    request.body = std::exchange(body_, {});
    co_return Result<>();
  }
  net::Task<Result<>> respond(Response whole) override {
    response = std::move(whole);
    answer_status = response.status;
    answered_ = ended = true;
    co_return Result<>();
  }
  net::Task<Result<>> send_interim(int, Headers, TimePoint) override { co_return Result<>(); }
  net::Task<Result<>> send_head(int status, Headers headers, TimePoint) override {
    answer_status = status;
    response = {.status = status, .headers = std::move(headers), .body = {}};
    answered_ = true;
    co_return Result<>();
  }
  net::Task<Result<>> write(ByteView data, TimePoint) override {
    response.body += as_text(data);
    co_return Result<>();
  }
  net::Task<Result<>> end(Headers trailers, TimePoint) override {
    response_trailers = std::move(trailers);
    ended = true;
    co_return Result<>();
  }
  bool has_answered() const override { return answered_; }
  void abort() override { aborted = true; }

 private:
  std::string body_;  // not read yet
  std::string read_;
  Headers trailers_;
  bool answered_ = false;
};

// What `handler`, a router or an API, answers.
template <class Handler>
net::Task<Response> answer_of(Handler& handler, MemoryExchange& exchange) {
  co_await handler.handle(exchange);
  co_return std::move(exchange.response);
}

}  // namespace culvert::http::testing
