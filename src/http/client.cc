#include "http/client.h"

#include "base/check.h"
#include "base/secret.h"

namespace culvert::http {
namespace {

Error over_cap(size_t cap) {
  return {ErrorCode::kLimit, fmt::format("the response's body is over {} bytes", cap)};
}

}  // namespace

Client::Client(net::ByteStream& stream, H1Rules rules)
    : stream_(stream), input_(stream, H1Decoder::Role::kResponses, rules), output_(stream) {}

void Client::begin(std::string_view method, bool closes) {
  output_ = H1Output(stream_);
  input_.decoder().answer_to(method);
  keeps_alive_ = !closes;
}

net::Task<Result<>> Client::send(Request request, TimePoint deadline) {
  WipeAtEnd wipe_body(request.body);
  begin(request.method, request.headers.lists("connection", "close"));
  if (!request.body.empty() || request.method == "POST" || request.method == "PUT") {
    request.headers.add("Content-Length", fmt::format("{}", request.body.size()));
  }
  std::string message;
  message.reserve(kHeadSize + request.body.size());
  append_request_head(message, request.method, request.target, request.headers);
  message.append(request.body);
  auto sent = co_await output_.send(std::move(message), deadline);
  co_return sent;
}

net::Task<Result<>> Client::send_head(RequestHead head, TimePoint deadline) {
  CHECK(!head.headers.find("transfer-encoding"));
  begin(head.method, head.headers.lists("connection", "close"));
  const auto length = announced_length(head.headers);
  if (!length) head.headers.add("Transfer-Encoding", "chunked");
  std::string text;
  text.reserve(kHeadSize);
  append_request_head(text, head.method, head.target, head.headers);
  auto sent =
      co_await output_.begin(std::move(text), length ? H1Output::Body::kLength : H1Output::Body::kChunked,
                             length.value_or(0), deadline);
  co_return sent;
}

net::Task<Result<ResponseHead>> Client::read_head(TimePoint deadline) {
  for (;;) {
    auto event = co_await input_.read_head(deadline);
    if (!event && event.error().code == ErrorCode::kClosed) {
      co_return fail(ErrorCode::kReset, "the server ended the connection without an answer");
    }
    if (!event) co_return std::unexpected(event.error());
    ResponseHead& head = input_.decoder().response();
    if (*event == H1Decoder::Event::kInterim) {
      if (on_interim_) on_interim_(head);
      continue;
    }
    const bool until_end = !body_length() && !head.headers.find("transfer-encoding");
    keeps_alive_ = keeps_alive_ && head.keeps_alive() && !until_end;
    co_return std::move(head);
  }
}

net::Task<Result<std::string>> Client::read_all(size_t cap, TimePoint deadline) {
  if (body_length().value_or(0) > cap) co_return std::unexpected(over_cap(cap));
  std::string body;
  for (;;) {
    auto piece = co_await input_.read_body(deadline);
    if (!piece) co_return std::unexpected(piece.error());
    if (piece->empty()) co_return body;
    if (piece->size() > cap - body.size()) co_return std::unexpected(over_cap(cap));
    body += as_text(*piece);
  }
}

net::Task<Result<Response>> fetch(net::ByteStream& stream, std::string host, Request request,
                                  TimePoint deadline) {
  WipeAtEnd wipe_body(request.body);
  Client client(stream);
  if (!request.headers.find("Host")) request.headers.add("Host", std::move(host));
  auto sent = co_await client.send(std::move(request), deadline);
  // A server that refuses early may answer and stop reading: its answer is worth more than our failed write.
  if (!sent && sent.error().code == ErrorCode::kTimeout) co_return std::unexpected(sent.error());
  auto head = co_await client.read_head(deadline);
  if (!head) co_return std::unexpected(sent ? head.error() : sent.error());
  auto body = co_await client.read_all(kMaxResponseBytes, deadline);
  if (!body) co_return std::unexpected(body.error());
  co_return Response{.status = head->status, .headers = std::move(head->headers), .body = std::move(*body)};
}

}  // namespace culvert::http
