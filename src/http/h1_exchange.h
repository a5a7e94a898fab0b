#pragma once
#include <functional>

#include "http/exchange.h"
#include "http/h1_input.h"
#include "http/h1_output.h"

namespace culvert::http {

// The Exchange of a request over HTTP/1.1: the server's half of it.
class H1Exchange final : public Exchange {
 public:
  struct Context {
    net::ByteStream& stream;
    H1Input& input;  // has read the request's head
    Duration write_time;
    std::function<std::string()> date;           // for answers without a Date
    std::function<void()> on_request = nullptr;  // the request has come completely
  };

  // Takes the head from the input's decoder.
  explicit H1Exchange(Context context);

  // Whether the client waits to be asked for the body, and whether it expects something we do not know.
  bool expects_continue() const { return expects_continue_; }
  bool expects_unknown() const { return expects_unknown_; }
  // Why the body could not be read.
  const std::optional<Error>& read_error() const { return read_error_; }
  // After the answer: whether the connection goes on.
  bool keeps_connection() const { return keeps_connection_; }
  // Answers and announces that the connection closes.
  net::Task<Result<>> respond_and_close(Response response);
  bool has_ended() const { return output_.has_ended(); }

  std::optional<uint64_t> body_length() const override { return body_length_; }
  net::Task<Result<ByteView>> read(TimePoint deadline) override;
  const Headers& trailers() const override { return context_.input.trailers(); }
  net::Task<Result<>> read_all(size_t cap) override;
  net::Task<Result<>> respond(Response response) override;
  net::Task<Result<>> send_interim(int status, Headers headers, TimePoint deadline) override;
  net::Task<Result<>> send_head(int status, Headers headers, TimePoint deadline) override;
  net::Task<Result<>> write(ByteView data, TimePoint deadline) override {
    return output_.write(data, deadline);
  }
  net::Task<Result<>> end(Headers trailers, TimePoint deadline) override {
    return output_.end(std::move(trailers), deadline);
  }
  bool has_answered() const override { return output_.has_begun(); }
  void abort() override;

 private:
  // With room for a body of that size.
  std::string encode_head(int status, Headers headers, size_t body_size);
  bool has_body(int status) const;

  Context context_;
  H1Output output_;
  int minor_version_;
  std::optional<uint64_t> body_length_;
  bool keeps_connection_;
  bool expects_continue_ = false;
  bool expects_unknown_ = false;
  std::optional<Error> read_error_;
};

}  // namespace culvert::http
