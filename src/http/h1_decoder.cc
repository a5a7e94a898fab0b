#include <algorithm>

#include "base/ascii.h"
#include "base/check.h"
#include "base/secret.h"
#include "http/h1_codec.h"

namespace culvert::http {
namespace {

// A chunk's line may take this much and as much again as the chunk has data before it counts as excess, of
// which a message has kMaxChunkExcess: chunks of one byte pass, extensions without end do not.
constexpr size_t kFreeChunkLine = 16;
constexpr size_t kMaxChunkExcess = 16 * 1024;

constexpr size_t kLineEndKept = 10;  // " HTTP/1.1" and a carriage return

bool keeps_alive(int minor_version, const Headers& headers) {
  if (minor_version == 0)
    return headers.lists("connection", "keep-alive") && !headers.lists("connection", "close");
  return !headers.lists("connection", "close");
}

}  // namespace

bool RequestHead::keeps_alive() const { return http::keeps_alive(minor_version, headers); }
bool ResponseHead::keeps_alive() const { return http::keeps_alive(minor_version, headers); }

void H1Decoder::answer_to(std::string_view method) {
  answers_head_ = method == "HEAD";
  answers_connect_ = method == "CONNECT";
}

void H1Decoder::stop() {
  state_ = State::kOpaque;
  line_ = {};
  request_ = {};
  response_ = {};
}

H1Decoder::Event H1Decoder::refuse(ErrorCode code, std::string_view why) {
  const char* noun = is_request() ? "request" : "response";
  const char* verb = code == ErrorCode::kInvalid ? "is malformed: " : "";
  error_ = Error{code, fmt::format("the {} {}{}", noun, verb, why)};
  state_ = State::kError;
  wipe_and_clear(line_);
  return Event::kError;
}

H1Decoder::Event H1Decoder::next(ByteView& input) {
  for (;;) {
    std::optional<Event> event;
    switch (state_) {
      case State::kError:
        return Event::kError;
      case State::kOpaque:
        return Event::kOpaque;
      case State::kDone:
        state_ = opaque_after_ ? State::kOpaque : State::kStart;
        head_bytes_ = 0;
        return Event::kEnd;
      case State::kLength:
      case State::kChunkData:
      case State::kUntilEnd:
        return input.empty() ? Event::kMore : take_data(input);
      case State::kChunkEnd:
        if (!is_strict()) break;
        if (input.empty()) return Event::kMore;
        if (input.front() != kChunkEnd[chunk_end_taken_]) {
          return refuse(ErrorCode::kInvalid, "a chunk is longer than its size");
        }
        input = input.subspan(1);
        chunk_end_taken_ = (chunk_end_taken_ + 1) % kChunkEnd.size();
        if (chunk_end_taken_ == 0) state_ = State::kChunkSize;
        continue;
      default:
        break;
    }
    auto line = take_line(input);
    if (!line) return state_ == State::kError ? Event::kError : Event::kMore;
    switch (state_) {
      case State::kStart:
        event = start_line(*line);
        break;
      case State::kFields:
        event = field_line(*line);
        break;
      case State::kChunkSize:
        event = chunk_line(*line);
        break;
      case State::kChunkEnd:
        if (!line->empty()) return refuse(ErrorCode::kInvalid, "a chunk is longer than its size");
        state_ = State::kChunkSize;
        break;
      default:
        event = trailer_line(*line);
        break;
    }
    if (event) return *event;
  }
}

H1Decoder::Event H1Decoder::end_of_input() {
  switch (state_) {
    case State::kUntilEnd:
      state_ = State::kOpaque;
      return Event::kEnd;
    case State::kError:
      return Event::kError;
    case State::kOpaque:
      return Event::kMore;
    default:
      if (is_between_messages()) return Event::kMore;
      return refuse(ErrorCode::kReset, "ends in its middle");
  }
}

std::optional<std::string_view> H1Decoder::take_line(ByteView& input) {
  if (input.empty()) return std::nullopt;
  if (line_done_) {
    wipe_and_clear(line_);
    line_end_.clear();
    line_done_ = false;
  }
  const std::string_view text = as_text(input);
  const size_t line_feed = text.find('\n');
  const bool is_complete = line_feed != text.npos;
  std::string_view piece = text.substr(0, line_feed);
  const size_t taken = is_complete ? line_feed + 1 : text.size();
  if (is_strict()) {
    const bool is_chunk_line = state_ == State::kChunkSize;
    const size_t room = is_chunk_line ? kMaxChunkLine - line_.size() : kMaxHead - head_bytes_;
    // What is wrong within the cap is told before the cap is: it is the same error however the bytes arrive.
    if (!check_line(piece.substr(0, room), is_complete && taken <= room)) return std::nullopt;
    if (taken > room) {
      if (is_chunk_line) {
        refuse(ErrorCode::kInvalid, "a chunk size with extensions that are too long");
      } else {
        refuse(ErrorCode::kLimit, fmt::format("has a head of more than {} bytes", kMaxHead));
      }
      return std::nullopt;
    }
  }
  if (state_ != State::kChunkSize && state_ != State::kChunkEnd)
    head_bytes_ = is_strict() ? head_bytes_ + taken : 1;
  input = input.subspan(taken);
  const bool is_whole = line_.empty() && is_complete && piece.size() <= kMaxObservedLine;
  if (!is_whole) {
    keep_piece(piece);
    if (!is_complete) return std::nullopt;
    line_done_ = true;
    if (line_end_.ends_with('\r')) line_end_.pop_back();
    piece = line_;
  }
  if (line_end_.empty() && piece.ends_with('\r')) piece.remove_suffix(1);
  return piece;
}

// `piece` continues line_. Refuses early what can never become a line, so that no one waits for the end of a
// TLS record or of a head with bare line feeds.
bool H1Decoder::check_line(std::string_view piece, bool is_complete) {
  bool after_return = line_.ends_with('\r');
  for (const char c : piece) {
    if (after_return) {
      refuse(ErrorCode::kInvalid, "a carriage return without line feed");
      return false;
    }
    after_return = c == '\r';
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\r' && c != '\t') || c == 0x7f) {
      refuse(ErrorCode::kInvalid, "a control character in its head or framing");
      return false;
    }
  }
  if (is_complete && !after_return) {
    refuse(ErrorCode::kInvalid, "a line feed without carriage return");
    return false;
  }
  return true;
}

void H1Decoder::keep_piece(std::string_view piece) {
  const size_t cap = is_strict() ? kMaxHead : kMaxObservedLine;
  const size_t fits = std::min(piece.size(), cap - line_.size());
  line_.append(piece.substr(0, fits));
  piece.remove_prefix(fits);
  if (piece.empty()) return;
  line_end_.append(piece.substr(piece.size() - std::min(piece.size(), kLineEndKept)));
  if (line_end_.size() > kLineEndKept) line_end_.erase(0, line_end_.size() - kLineEndKept);
}

std::optional<H1Decoder::Event> H1Decoder::start_line(std::string_view line) {
  if (line.empty()) {
    if (is_strict()) return refuse(ErrorCode::kInvalid, "an empty line before it");
    head_bytes_ = 0;  // RFC 9112, 2.2
    return std::nullopt;
  }
  // Of a line that is cut, the version is in what was kept of its end.
  std::string joined;
  if (!line_end_.empty()) {
    const size_t version = line_end_.rfind(' ');
    joined = std::string(line) + line_end_.substr(version == line_end_.npos ? 0 : version);
    line = joined;
  }
  body_fields_ = {};
  trailers_ = {};
  if (is_request()) {
    auto parsed = parse_request_line(line, rules_);
    if (!parsed) return refuse(ErrorCode::kInvalid, parsed.error());
    request_ = {std::string(parsed->method), std::string(parsed->target), parsed->minor_version, {}};
  } else {
    auto parsed = parse_status_line(line);
    if (!parsed) return refuse(ErrorCode::kInvalid, parsed.error());
    response_ = {parsed->status, parsed->minor_version, {}};
  }
  state_ = State::kFields;
  return std::nullopt;
}

std::optional<H1Decoder::Event> H1Decoder::field_line(std::string_view line) {
  if (line.empty()) return end_of_head();
  auto field = parse_field_line(line);
  if (!field) return refuse(ErrorCode::kInvalid, field.error());
  auto framing = body_fields_.add(*field, !line_end_.empty(), rules_);
  if (!framing) return refuse(ErrorCode::kInvalid, framing.error());
  if (!is_strict()) return std::nullopt;
  Headers& headers = is_request() ? request_.headers : response_.headers;
  if (headers.size() == kMaxFields)
    return refuse(ErrorCode::kLimit, fmt::format("has more than {} fields", kMaxFields));
  headers.add(std::string(field->name), std::string(field->value));
  return std::nullopt;
}

H1Decoder::Event H1Decoder::end_of_head() {
  const int minor_version = is_request() ? request_.minor_version : response_.minor_version;
  if (is_strict()) {
    Parsed<void> checked = body_fields_.check(minor_version);
    if (checked && is_request()) {
      checked = check_authority(request_.method, request_.target, minor_version, request_.headers);
    }
    if (!checked) return refuse(ErrorCode::kInvalid, checked.error());
  }
  if (!is_request() && response_.status < 200 && response_.status != 101) {
    state_ = State::kStart;
    head_bytes_ = 0;
    return Event::kInterim;
  }
  opaque_after_ = false;
  head_bytes_ = 0;
  chunk_excess_ = 0;
  body_length_ = 0;
  state_ = state_after_head();
  return state_ == State::kError ? Event::kError : Event::kHead;
}

// RFC 9112, 6.3
H1Decoder::State H1Decoder::state_after_head() {
  const bool has_fields = body_fields_.has_transfer_encoding() || body_fields_.content_length();
  if (is_request()) {
    if (request_.method == "CONNECT") {
      if (is_strict() && has_fields) {
        refuse(ErrorCode::kInvalid, "CONNECT with a body");
        return state_;
      }
      opaque_after_ = true;
      return State::kDone;
    }
    // Which of two framings the server takes is not for an observer to guess; a strict decoder has refused.
    if (body_fields_.has_transfer_encoding() &&
        (body_fields_.content_length() || !body_fields_.is_chunked())) {
      opaque_after_ = true;
      return State::kDone;
    }
  } else {
    const int status = response_.status;
    opaque_after_ = status == 101 || (answers_connect_ && status < 300);
    if (opaque_after_ || answers_head_ || status == 204 || status == 304) return State::kDone;
  }
  if (body_fields_.is_chunked()) {
    body_length_ = std::nullopt;
    return State::kChunkSize;
  }
  if (!is_request() && (body_fields_.has_transfer_encoding() || !has_fields)) {
    body_length_ = std::nullopt;
    return State::kUntilEnd;
  }
  remaining_ = body_fields_.content_length().value_or(0);
  body_length_ = remaining_;
  return remaining_ == 0 ? State::kDone : State::kLength;
}

H1Decoder::Event H1Decoder::take_data(ByteView& input) {
  if (state_ == State::kUntilEnd) {
    data_ = std::exchange(input, {});
    return Event::kData;
  }
  data_ = input.first(static_cast<size_t>(std::min<uint64_t>(remaining_, input.size())));
  input = input.subspan(data_.size());
  remaining_ -= data_.size();
  if (remaining_ == 0) state_ = state_ == State::kLength ? State::kDone : State::kChunkEnd;
  return Event::kData;
}

std::optional<H1Decoder::Event> H1Decoder::chunk_line(std::string_view line) {
  auto size = parse_chunk_line(line, rules_);
  if (!size) return refuse(ErrorCode::kInvalid, size.error());
  const size_t justified = kFreeChunkLine + static_cast<size_t>(std::min<uint64_t>(*size, kMaxChunkExcess));
  chunk_excess_ += line.size();
  chunk_excess_ -= std::min(chunk_excess_, justified);
  if (is_strict() && chunk_excess_ > kMaxChunkExcess) {
    return refuse(ErrorCode::kLimit, "has chunks that are more framing than content");
  }
  remaining_ = *size;
  state_ = *size == 0 ? State::kTrailers : State::kChunkData;
  return std::nullopt;
}

std::optional<H1Decoder::Event> H1Decoder::trailer_line(std::string_view line) {
  if (line.empty()) {
    state_ = State::kDone;
    return trailers_.empty() ? std::nullopt : std::optional(Event::kTrailers);
  }
  if (!is_strict()) return std::nullopt;
  auto field = parse_field_line(line);
  if (!field) return refuse(ErrorCode::kInvalid, field.error());
  if (!may_be_trailer(field->name))
    return refuse(ErrorCode::kInvalid, "a field behind its body that may not be there");
  if (trailers_.size() == kMaxFields)
    return refuse(ErrorCode::kLimit, fmt::format("has more than {} trailer fields", kMaxFields));
  trailers_.add(std::string(field->name), std::string(field->value));
  return std::nullopt;
}

}  // namespace culvert::http
