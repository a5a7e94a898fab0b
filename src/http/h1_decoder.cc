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
  lines_.clear();
  request_ = {};
  response_ = {};
}

H1Decoder::Event H1Decoder::refuse(ErrorCode code, std::string_view why) {
  const char* noun = is_request() ? "request" : "response";
  const char* verb = code == ErrorCode::kInvalid ? "is malformed: " : "";
  error_ = Error{code, fmt::format("the {} {}{}", noun, verb, why)};
  state_ = State::kError;
  lines_.clear();
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
        if (input.front() != static_cast<uint8_t>(kChunkEnd[chunk_end_taken_])) {
          return refuse(ErrorCode::kInvalid, "a chunk is longer than its size");
        }
        input = input.subspan(1);
        chunk_end_taken_ = (chunk_end_taken_ + 1) % kChunkEnd.size();
        if (chunk_end_taken_ == 0) state_ = State::kChunkSize;
        continue;
      default:
        break;
    }
    if (!take_line(input)) return state_ == State::kError ? Event::kError : Event::kMore;
    const std::string_view line = lines_.line();
    switch (state_) {
      case State::kStart:
        event = start_line(line);
        break;
      case State::kFields:
        event = field_line(line);
        break;
      case State::kChunkSize:
        event = chunk_line(line);
        break;
      case State::kChunkEnd:
        if (!line.empty()) return refuse(ErrorCode::kInvalid, "a chunk is longer than its size");
        state_ = State::kChunkSize;
        break;
      default:
        event = trailer_line(line);
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

// False: more bytes are needed, or the line is refused.
bool H1Decoder::take_line(ByteView& input) {
  const bool in_chunks = state_ == State::kChunkSize || state_ == State::kChunkEnd;
  const size_t before = input.size();
  const auto outcome =
      lines_.take(input, in_chunks ? kMaxChunkLine - lines_.buffered() : kMaxHead - head_bytes_);
  if (!in_chunks) head_bytes_ += is_strict() ? before - input.size() : before > 0;
  switch (outcome) {
    case H1LineReader::Outcome::kLine:
      return true;
    case H1LineReader::Outcome::kMore:
      return false;
    case H1LineReader::Outcome::kMalformed:
      refuse(ErrorCode::kInvalid, lines_.fault());
      return false;
    case H1LineReader::Outcome::kTooLong:
      if (in_chunks) {
        refuse(ErrorCode::kInvalid, "a chunk size with extensions that are too long");
      } else {
        refuse(ErrorCode::kLimit, fmt::format("has a head of more than {} bytes", kMaxHead));
      }
      return false;
  }
  return false;
}

std::optional<H1Decoder::Event> H1Decoder::start_line(std::string_view line) {
  if (line.empty()) {
    if (is_strict()) return refuse(ErrorCode::kInvalid, "an empty line before it");
    head_bytes_ = 0;  // RFC 9112, 2.2
    return std::nullopt;
  }
  // Of a line that is cut, the version is in what was kept of its end.
  std::string joined;
  if (const std::string_view end = lines_.cut_end(); !end.empty()) {
    const size_t version = end.rfind(' ');
    joined.append(line).append(end.substr(version == end.npos ? 0 : version));
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
  auto framing = body_fields_.add(*field, !lines_.cut_end().empty(), rules_);
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
