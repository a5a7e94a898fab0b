#include "http/message.h"

#include <array>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/status.hpp>

#include "base/check.h"
#include "base/secret.h"
#include "http/parser.h"

namespace culvert::http {
namespace {

constexpr size_t kReadSize = 16 * 1024;
// More than our heads have, so that the message does not move while it grows and leaves no copy.
constexpr size_t kHeadSize = 2048;

// Field names and values come from our own code; a line break in one would be a request smuggled into a
// stream.
void append_field(std::string& out, std::string_view name, std::string_view value) {
  CHECK(name.find_first_of("\r\n: ") == name.npos && value.find_first_of("\r\n") == value.npos);
  out.append(name).append(": ").append(value).append("\r\n");
}

}  // namespace

Headers::~Headers() {
  for (auto& [name, value] : fields_) wipe_and_clear(value);
}

const std::string* Headers::find(std::string_view name) const {
  for (const auto& [field, value] : fields_) {
    if (boost::beast::iequals(field, name)) return &value;
  }
  return nullptr;
}

size_t Headers::count(std::string_view name) const {
  size_t found = 0;
  for (const auto& [field, value] : fields_) found += boost::beast::iequals(field, name);
  return found;
}

net::Task<Result<std::optional<Request>>> read_request(net::Reader& reader, RequestParser& parser,
                                                       TimePoint idle_deadline, Duration limit) {
  std::array<uint8_t, kReadSize> chunk;
  TimePoint deadline = parser.idle() ? idle_deadline : monotonic_now() + limit;
  while (parser.state() == ParseState::kNeedMore) {
    bool was_idle = parser.idle();
    auto count = co_await reader.read_some(chunk, deadline);
    if (!count) co_return std::unexpected(count.error());
    if (*count == 0) {
      if (was_idle) co_return std::optional<Request>();
      co_return fail(ErrorCode::kReset, "the connection ended in the middle of a request");
    }
    if (was_idle) deadline = monotonic_now() + limit;
    parser.feed(ByteView(chunk).first(*count));
  }
  if (parser.state() == ParseState::kError) co_return std::unexpected(parser.error());
  co_return std::optional<Request>(parser.take());
}

net::Task<Result<>> write_response(net::ByteStream& stream, Response response, bool keep_alive,
                                   TimePoint deadline) {
  auto reason = boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(response.status));
  WipeAtEnd wipe_body(response.body);
  std::string out = fmt::format("HTTP/1.1 {} {}\r\n", response.status, std::string_view(reason));
  WipeAtEnd wipe_out(out);
  out.reserve(kHeadSize + response.body.size());
  for (const auto& [name, value] : response.headers) append_field(out, name, value);
  append_field(out, "Content-Length", fmt::format("{}", response.body.size()));
  if (!keep_alive) append_field(out, "Connection", "close");
  out.append("\r\n").append(response.body);
  auto written = co_await net::write_all(stream, as_bytes(out), deadline);
  co_return written;
}

net::Task<Result<Response>> fetch(net::ByteStream& stream, std::string host, Request request,
                                  TimePoint deadline) {
  CHECK(request.method.find_first_of("\r\n ") == std::string::npos);
  CHECK(request.target.find_first_of("\r\n ") == std::string::npos);
  WipeAtEnd wipe_body(request.body);
  std::string out = fmt::format("{} {} HTTP/1.1\r\n", request.method, request.target);
  WipeAtEnd wipe_out(out);
  out.reserve(kHeadSize + request.body.size());
  if (!request.headers.find("Host")) append_field(out, "Host", host);
  for (const auto& [name, value] : request.headers) append_field(out, name, value);
  if (!request.body.empty() || request.method == "POST" || request.method == "PUT") {
    append_field(out, "Content-Length", fmt::format("{}", request.body.size()));
  }
  out.append("\r\n").append(request.body);
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
