#include "http/h1_exchange.h"

#include "base/ascii.h"
#include "base/check.h"
#include "base/secret.h"

namespace culvert::http {

H1Exchange::H1Exchange(Context context) : context_(std::move(context)), output_(context_.stream) {
  RequestHead& head = context_.input.decoder().request();
  minor_version_ = head.minor_version;
  // Behind CONNECT there is no further request.
  keeps_connection_ = head.keeps_alive() && head.method != "CONNECT";
  body_length_ = context_.input.decoder().body_length();
  // RFC 9110, 10.1.1: of HTTP/1.0 clients it is ignored.
  if (const std::string* expect = head.headers.find("expect"); expect && minor_version_ >= 1) {
    expects_unknown_ = head.headers.count("expect") != 1 || !equals_lower(*expect, "100-continue");
    expects_continue_ = !expects_unknown_ && body_length_ != 0;
  }
  request = {.method = std::move(head.method),
             .target = std::move(head.target),
             .headers = std::move(head.headers),
             .body = {}};
}

net::Task<Result<ByteView>> H1Exchange::read(TimePoint until) {
  if (read_error_) co_return std::unexpected(*read_error_);
  if (expects_continue_ && !has_answered()) {
    expects_continue_ = false;
    const bool waits = !context_.input.has_more();
    if (waits) {
      auto asked = co_await send_interim(100, {}, until);
      if (!asked) co_return std::unexpected(asked.error());
    }
  }
  const bool had_ended = context_.input.body_ended();
  auto piece = co_await context_.input.read_body(until);
  if (!piece) read_error_ = piece.error();
  if (!had_ended && context_.input.body_ended() && context_.on_request) context_.on_request();
  co_return piece;
}

net::Task<Result<>> H1Exchange::read_all(size_t cap) {
  std::string body;
  WipeAtEnd wipe_body(body);
  const uint64_t announced = body_length_.value_or(0);
  // Refused by its announced length: it need not be sent first.
  if (announced > cap) {
    read_error_ = Error{ErrorCode::kLimit, fmt::format("the request's body is over {} bytes", cap)};
    co_return std::unexpected(*read_error_);
  }
  body.reserve(announced);
  for (;;) {
    auto piece = co_await read(deadline);
    if (!piece) co_return std::unexpected(piece.error());
    if (piece->empty()) break;
    if (piece->size() > cap - body.size()) {
      read_error_ = Error{ErrorCode::kLimit, fmt::format("the request's body is over {} bytes", cap)};
      co_return std::unexpected(*read_error_);
    }
    body += as_text(*piece);
  }
  now = context_.stream.loop().now();
  request.body = std::exchange(body, {});
  co_return Result<>();
}

bool H1Exchange::has_body(int status) const {
  return request.method != "HEAD" && status != 204 && status != 304;
}

// Adds what every final head has, and decides with it whether the connection goes on.
std::string H1Exchange::encode_head(int status, Headers headers, size_t body_size) {
  answer_status = status;
  if (!headers.find("date")) headers.add("Date", context_.date());
  for (const auto& [name, value] : always) headers.add(name, value);
  // A client that was not asked for its body may send it or not: what comes next has no clear beginning.
  if (expects_continue_) keeps_connection_ = false;
  if (headers.lists("connection", "close")) {
    keeps_connection_ = false;
  } else if (!keeps_connection_) {
    headers.add("Connection", "close");
  } else if (minor_version_ == 0) {
    headers.add("Connection", "keep-alive");
  }
  std::string head;
  head.reserve(kHeadSize + body_size);
  append_response_head(head, status, headers);
  return head;
}

net::Task<Result<>> H1Exchange::respond(Response response) {
  WipeAtEnd wipe_body(response.body);
  if (response.status != 204) response.headers.add("Content-Length", fmt::format("{}", response.body.size()));
  const bool with_body = has_body(response.status);
  std::string message = encode_head(response.status, std::move(response.headers), response.body.size());
  if (with_body) message.append(response.body);
  auto sent = co_await output_.send(std::move(message), context_.stream.loop().now() + context_.write_time);
  co_return sent;
}

net::Task<Result<>> H1Exchange::respond_and_close(Response response) {
  keeps_connection_ = false;
  auto sent = co_await respond(std::move(response));
  co_return sent;
}

net::Task<Result<>> H1Exchange::send_interim(int status, Headers headers, TimePoint until) {
  CHECK(status >= 100 && status < 200 && status != 101 && !has_answered());
  if (minor_version_ == 0) co_return Result<>();
  if (status == 100) expects_continue_ = false;
  std::string head;
  append_response_head(head, status, headers);
  H1Output interim(context_.stream);
  auto sent = co_await interim.send(std::move(head), until);
  co_return sent;
}

net::Task<Result<>> H1Exchange::send_head(int status, Headers headers, TimePoint until) {
  CHECK(status >= 200 && !headers.find("transfer-encoding"));
  const auto length = announced_length(headers);
  auto body = H1Output::Body::kNone;
  if (has_body(status)) {
    if (length) {
      body = H1Output::Body::kLength;
    } else if (minor_version_ >= 1) {
      body = H1Output::Body::kChunked;
      headers.add("Transfer-Encoding", "chunked");
    } else {
      body = H1Output::Body::kUntilEnd;
      keeps_connection_ = false;
    }
  }
  std::string head = encode_head(status, std::move(headers), 0);
  auto sent = co_await output_.begin(std::move(head), body, length.value_or(0), until);
  co_return sent;
}

void H1Exchange::abort() {
  keeps_connection_ = false;
  context_.stream.reset();
}

}  // namespace culvert::http
