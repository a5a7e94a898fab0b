#include "http/h1_input.h"

#include <algorithm>

#include "base/secret.h"

namespace culvert::http {
namespace {

constexpr size_t kReadSize = 16 * 1024;  // a TLS record

}  // namespace

using Event = H1Decoder::Event;

H1Input::H1Input(net::ByteStream& stream, H1Decoder::Role role, H1Rules rules)
    : reader_(stream), decoder_(role, rules), buffer_(kReadSize) {}

H1Input::~H1Input() { wipe(buffer_); }

void H1Input::begin(Bytes received) {
  if (received.empty()) return;
  const size_t count = received.size();
  buffer_ = std::move(received);
  buffer_.resize(std::max(count, kReadSize));
  unread_ = ByteView(buffer_).first(count);
}

net::Task<Result<size_t>> H1Input::fill(TimePoint deadline) {
  auto count = co_await reader_.read_some(buffer_, deadline);
  if (count) unread_ = ByteView(buffer_).first(*count);
  co_return count;
}

net::Task<Result<bool>> H1Input::wait_for_message(TimePoint deadline) {
  if (!is_idle()) co_return true;
  auto count = co_await fill(deadline);
  if (!count) co_return std::unexpected(count.error());
  co_return *count > 0;
}

net::Task<Result<Event>> H1Input::next(TimePoint deadline) {
  for (;;) {
    Event event = decoder_.next(unread_);
    if (event == Event::kMore) {
      auto count = co_await fill(deadline);
      if (!count) co_return std::unexpected(count.error());
      if (*count > 0) continue;
      event = decoder_.end_of_input();
      if (event == Event::kMore) co_return fail(ErrorCode::kClosed, "the peer ended the connection");
    }
    if (event == Event::kError) co_return std::unexpected(decoder_.error());
    if (event == Event::kOpaque) co_return fail(ErrorCode::kInvalid, "what follows is not HTTP");
    co_return event;
  }
}

net::Task<Result<Event>> H1Input::read_head(TimePoint deadline) {
  auto event = co_await next(deadline);
  if (event && *event == Event::kHead) {
    body_ended_ = false;
    trailers_ = {};
  }
  co_return event;
}

net::Task<Result<ByteView>> H1Input::read_body(TimePoint deadline) {
  while (!body_ended_) {
    auto event = co_await next(deadline);
    if (!event) co_return std::unexpected(event.error());
    if (*event == Event::kData) co_return decoder_.data();
    if (*event == Event::kTrailers) trailers_ = std::move(decoder_.trailers());
    if (*event == Event::kEnd) body_ended_ = true;
  }
  co_return ByteView();
}

net::Task<bool> H1Input::discard(size_t cap, TimePoint deadline) {
  for (size_t total = unread_.size(); total < cap;) {
    auto count = co_await fill(deadline);
    if (!count) co_return false;
    if (*count == 0) co_return true;
    total += *count;
  }
  co_return false;
}

}  // namespace culvert::http
