#include "http/message.h"

#include <array>

#include "base/secret.h"
#include "http/parser.h"

namespace culvert::http {
namespace {

constexpr size_t kReadSize = 16 * 1024;
// More than our heads have, so that the message does not move while it grows and leaves no copy.
constexpr size_t kHeadSize = 2048;

}  // namespace

net::Task<Result<std::optional<Request>>> read_request(net::Reader& reader, RequestParser& parser,
                                                       TimePoint idle_deadline, Duration limit) {
  std::array<uint8_t, kReadSize> chunk;
  TimePoint deadline = parser.idle() ? idle_deadline : reader.loop().now() + limit;
  while (parser.state() == ParseState::kNeedMore) {
    bool was_idle = parser.idle();
    auto count = co_await reader.read_some(chunk, deadline);
    if (!count) co_return std::unexpected(count.error());
    if (*count == 0) {
      if (was_idle) co_return std::optional<Request>();
      co_return fail(ErrorCode::kReset, "the connection ended in the middle of a request");
    }
    if (was_idle) deadline = reader.loop().now() + limit;
    parser.feed(ByteView(chunk).first(*count));
  }
  if (parser.state() == ParseState::kError) co_return std::unexpected(parser.error());
  co_return std::optional<Request>(parser.take());
}

net::Task<Result<>> write_response(net::ByteStream& stream, Response response, bool keep_alive,
                                   TimePoint deadline) {
  WipeAtEnd wipe_body(response.body);
  response.headers.add("Content-Length", fmt::format("{}", response.body.size()));
  if (!keep_alive) response.headers.add("Connection", "close");
  std::string out;
  WipeAtEnd wipe_out(out);
  out.reserve(kHeadSize + response.body.size());
  append_response_head(out, response.status, response.headers);
  out.append(response.body);
  auto written = co_await net::write_all(stream, as_bytes(out), deadline);
  co_return written;
}

net::Task<Result<Response>> fetch(net::ByteStream& stream, std::string host, Request request,
                                  TimePoint deadline) {
  WipeAtEnd wipe_body(request.body);
  if (!request.headers.find("Host")) request.headers.add("Host", host);
  if (!request.body.empty() || request.method == "POST" || request.method == "PUT") {
    request.headers.add("Content-Length", fmt::format("{}", request.body.size()));
  }
  std::string out;
  WipeAtEnd wipe_out(out);
  out.reserve(kHeadSize + request.body.size());
  append_request_head(out, request.method, request.target, request.headers);
  out.append(request.body);
  auto written = co_await net::write_all(stream, as_bytes(out), deadline);
  // A server that refuses early may answer and stop reading: its answer is worth more than our failed write.
  if (!written && written.error().code == ErrorCode::kTimeout) co_return std::unexpected(written.error());

  ResponseParser parser(request.method == "HEAD");
  std::array<uint8_t, kReadSize> chunk;
  ParseState state = ParseState::kNeedMore;
  while (state == ParseState::kNeedMore) {
    auto count = co_await net::read_some(stream, chunk, deadline);
    if (!count) co_return std::unexpected(written ? count.error() : written.error());
    state = *count == 0 ? parser.feed_end() : parser.feed(ByteView(chunk).first(*count));
  }
  if (state == ParseState::kError) co_return std::unexpected(parser.error());
  co_return parser.take();
}

}  // namespace culvert::http
