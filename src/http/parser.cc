#include "http/parser.h"

#include "base/check.h"

namespace culvert::http {
namespace {

using Event = H1Decoder::Event;

Error over_cap(const char* noun, size_t cap) {
  return {ErrorCode::kLimit, fmt::format("the {}'s body is over {} bytes", noun, cap)};
}

}  // namespace

ParseState RequestParser::feed(ByteView bytes) {
  if (state_ == ParseState::kError) return state_;
  unread_.insert(unread_.end(), bytes.begin(), bytes.end());
  return state_ == ParseState::kDone ? state_ : advance();
}

ParseState RequestParser::advance() {
  state_ = ParseState::kNeedMore;
  ByteView input = unread_;
  while (state_ == ParseState::kNeedMore) {
    const Event event = decoder_.next(input);
    if (event == Event::kMore) break;
    if (event == Event::kEnd) {
      state_ = ParseState::kDone;
    } else if (event == Event::kError || event == Event::kOpaque) {
      error_ = decoder_.error();
      state_ = ParseState::kError;
    } else if (event == Event::kHead || event == Event::kData) {
      in_body_ = true;
      const size_t size =
          event == Event::kHead ? decoder_.body_length().value_or(0) : body_.size() + decoder_.data().size();
      if (size > kMaxBodyBytes) {
        error_ = over_cap("request", kMaxBodyBytes);
        state_ = ParseState::kError;
      } else if (event == Event::kData) {
        body_ += as_text(decoder_.data());
      }
    }
  }
  unread_.erase(unread_.begin(), unread_.end() - static_cast<ptrdiff_t>(input.size()));
  return state_;
}

Request RequestParser::take() {
  CHECK(state_ == ParseState::kDone);
  RequestHead head = std::move(decoder_.request());
  const bool keep_alive = head.keeps_alive();
  Request request{.method = std::move(head.method),
                  .target = std::move(head.target),
                  .headers = std::move(head.headers),
                  .body = std::exchange(body_, {}),
                  .keep_alive = keep_alive};
  in_body_ = false;
  advance();
  return request;
}

ResponseParser::ResponseParser(bool to_head) { decoder_.answer_to(to_head ? "HEAD" : "GET"); }

ParseState ResponseParser::refuse(Error error) {
  error_ = std::move(error);
  return state_ = ParseState::kError;
}

ParseState ResponseParser::feed(ByteView bytes) {
  while (state_ == ParseState::kNeedMore) {
    switch (decoder_.next(bytes)) {
      case Event::kMore:
        return state_;
      case Event::kHead:
        response_.status = decoder_.response().status;
        response_.headers = std::move(decoder_.response().headers);
        if (decoder_.body_length().value_or(0) > kMaxResponseBodyBytes)
          return refuse(over_cap("response", kMaxResponseBodyBytes));
        break;
      case Event::kData:
        if (decoder_.data().size() > kMaxResponseBodyBytes - response_.body.size())
          return refuse(over_cap("response", kMaxResponseBodyBytes));
        response_.body += as_text(decoder_.data());
        break;
      case Event::kEnd:
        state_ = ParseState::kDone;
        break;
      case Event::kError:
      case Event::kOpaque:
        return refuse(decoder_.error());
      case Event::kInterim:
      case Event::kTrailers:
        break;
    }
  }
  return state_;
}

ParseState ResponseParser::feed_end() {
  if (state_ != ParseState::kNeedMore) return state_;
  const Event event = decoder_.end_of_input();
  if (event == Event::kEnd) return state_ = ParseState::kDone;
  return refuse(event == Event::kError ? decoder_.error()
                                       : Error{ErrorCode::kReset, "the response ends in its middle"});
}

}  // namespace culvert::http
