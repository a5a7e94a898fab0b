#include "http/h1_output.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "base/secret.h"

namespace culvert::http {

std::optional<uint64_t> announced_length(const Headers& headers) {
  const std::string* text = headers.find("content-length");
  if (!text) return std::nullopt;
  uint64_t length = 0;
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), length);
  CHECK(error == std::errc() && end == text->data() + text->size());
  return length;
}

net::Task<Result<>> H1Output::write_all(std::array<ByteView, 3> pieces, TimePoint deadline) {
  const auto rest = std::ranges::remove_if(pieces, [](ByteView piece) { return piece.empty(); });
  std::span<ByteView> left(pieces.begin(), rest.begin());
  while (!left.empty()) {
    const net::IoResult result = stream_->try_write(left);
    if (result.status == net::IoStatus::kError) {
      co_return fail(ErrorCode::kReset, "writing to {}: {}", stream_->remote_addr().to_string(),
                     stream_->last_error());
    }
    if (result.status == net::IoStatus::kOk) {
      for (size_t taken = result.bytes; taken > 0;) {
        const size_t here = std::min(taken, left.front().size());
        left.front() = left.front().subspan(here);
        if (left.front().empty()) left = left.subspan(1);
        taken -= here;
      }
      continue;
    }
    const bool ready = co_await net::wait_ready(*stream_, result.status, deadline);
    if (!ready)
      co_return fail(ErrorCode::kTimeout, "writing to {} took too long", stream_->remote_addr().to_string());
  }
  co_return Result<>();
}

net::Task<Result<>> H1Output::begin(std::string head, Body body, uint64_t length, TimePoint deadline) {
  CHECK(state_ == State::kNotBegun);
  WipeAtEnd wipe_head(head);
  state_ = State::kBody;
  body_ = body;
  remaining_ = length;
  auto written = co_await write_all({as_bytes(head), {}, {}}, deadline);
  co_return written;
}

net::Task<Result<>> H1Output::write(ByteView data, TimePoint deadline) {
  CHECK(state_ == State::kBody);
  if (body_ == Body::kNone || data.empty()) co_return Result<>();
  std::string size;
  std::array<ByteView, 3> pieces{ByteView(), data, ByteView()};
  if (body_ == Body::kChunked) {
    append_chunk_size(size, data.size());
    pieces = {as_bytes(size), data, as_bytes(kChunkEnd)};
  } else if (body_ == Body::kLength) {
    if (data.size() > remaining_)
      co_return fail(ErrorCode::kInvalid, "the body is longer than its Content-Length");
    remaining_ -= data.size();
  }
  auto written = co_await write_all(pieces, deadline);
  co_return written;
}

net::Task<Result<>> H1Output::end(Headers trailers, TimePoint deadline) {
  CHECK(state_ == State::kBody);
  if (body_ == Body::kLength && remaining_ > 0) {
    co_return fail(ErrorCode::kInvalid, "the body is shorter than its Content-Length");
  }
  std::string last;
  if (body_ == Body::kChunked) append_last_chunk(last, trailers);
  auto written = co_await write_all({as_bytes(last), {}, {}}, deadline);
  if (written) state_ = State::kEnded;
  co_return written;
}

net::Task<Result<>> H1Output::send(std::string message, TimePoint deadline) {
  CHECK(state_ == State::kNotBegun);
  WipeAtEnd wipe_message(message);
  state_ = State::kBody;
  auto written = co_await write_all({as_bytes(message), {}, {}}, deadline);
  if (written) state_ = State::kEnded;
  co_return written;
}

}  // namespace culvert::http
