#include "agent/http_tap.h"

#include <algorithm>
#include <charconv>

#include "base/ascii.h"

namespace culvert::agent {
namespace {

// RFC 9110, 5.6.2
bool is_token(std::string_view text) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return is_digit(c) || (to_lower(c) >= 'a' && to_lower(c) <= 'z') || kOthers.contains(c);
  });
}

template <class T>
std::optional<T> whole_number(std::string_view text, int base = 10) {
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Ready for a terminal: nothing outside visible ASCII, bounded.
std::string printable(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, HttpScanner::kMaxKept)) {
    if (c > 0x20 && c < 0x7f) {
      out += c;
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  if (text.size() > HttpScanner::kMaxKept) out += "...";
  return out;
}

bool is_http1(std::string_view version) { return version == "HTTP/1.1" || version == "HTTP/1.0"; }

}  // namespace

void HttpScanner::make_opaque() {
  state_ = State::kOpaque;
  line_ = {};
  line_end_ = {};
  head_ = {};
}

void HttpScanner::append_to_line(std::string_view text) {
  constexpr size_t kVersion = 10;  // " HTTP/1.1" and a carriage return
  const size_t fits = std::min(text.size(), kMaxLine - line_.size());
  line_.append(text.substr(0, fits));
  text.remove_prefix(fits);
  if (text.empty()) return;
  line_end_.append(text.substr(text.size() - std::min(text.size(), kVersion)));
  if (line_end_.size() > kVersion) line_end_.erase(0, line_end_.size() - kVersion);
}

bool HttpScanner::take_line(ByteView& bytes) {
  std::string_view text = as_text(bytes);
  size_t line_feed = text.find('\n');
  append_to_line(text.substr(0, line_feed));
  bytes = bytes.subspan(line_feed == std::string_view::npos ? text.size() : line_feed + 1);
  if (line_feed == std::string_view::npos) return false;
  if (line_end_.empty()) {
    if (line_.ends_with('\r')) line_.pop_back();
    return true;
  }
  if (line_end_.ends_with('\r')) line_end_.pop_back();
  return true;
}

void HttpScanner::feed(ByteView bytes) {
  while (!bytes.empty()) {
    switch (state_) {
      case State::kOpaque:
      case State::kUntilClose:
        return;
      case State::kLength:
      case State::kChunkData: {
        size_t count = static_cast<size_t>(std::min<uint64_t>(remaining_, bytes.size()));
        bytes = bytes.subspan(count);
        remaining_ -= count;
        if (remaining_ != 0) return;
        state_ = state_ == State::kLength ? State::kHead : State::kChunkEnd;
        break;
      }
      case State::kHead:
        if (take_line(bytes)) head_line();
        break;
      case State::kChunkSize:
        if (take_line(bytes)) chunk_size_line();
        break;
      case State::kChunkEnd:
        if (!take_line(bytes)) break;
        if (!line_.empty()) return make_opaque();
        state_ = State::kChunkSize;
        break;
      case State::kTrailer:
        if (!take_line(bytes)) break;
        if (line_.empty()) state_ = State::kHead;
        line_.clear();
        line_end_.clear();
        break;
    }
  }
}

void HttpScanner::head_line() {
  if (line_.empty()) {
    // RFC 9112, 2.2: empty lines before a start line are skipped.
    if (!head_.start_line.empty()) end_of_head();
  } else if (head_.start_line.empty()) {
    head_.start_line = line_;
    const size_t version = line_end_.rfind(' ');
    if (version != std::string::npos) head_.start_line += line_end_.substr(version);
  } else {
    header_field(line_);
  }
  line_.clear();
  line_end_.clear();
}

void HttpScanner::header_field(std::string_view line) {
  size_t colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) return make_opaque();
  std::string_view name = line.substr(0, colon);
  const bool is_framing = equals_lower(name, "content-length") || equals_lower(name, "transfer-encoding");
  if (is_framing && !line_end_.empty()) return make_opaque();
  std::string_view value = trim(line.substr(colon + 1));
  if (equals_lower(name, "content-length")) {
    auto length = whole_number<uint64_t>(value);
    if (!length || (head_.content_length && *head_.content_length != *length)) return make_opaque();
    head_.content_length = length;
  } else if (equals_lower(name, "transfer-encoding")) {
    size_t comma = value.rfind(',');
    std::string_view last = comma == std::string_view::npos ? value : trim(value.substr(comma + 1));
    head_.has_transfer_encoding = true;
    head_.is_chunked = equals_lower(last, "chunked");
  }
}

void HttpScanner::end_of_head() {
  Head head = std::move(head_);
  head_ = {};
  Body body = on_head_(head);
  if (state_ == State::kOpaque) return;
  switch (body) {
    case Body::kNone:
      break;
    case Body::kLength:
      remaining_ = head.content_length.value_or(0);
      if (remaining_ != 0) state_ = State::kLength;
      break;
    case Body::kChunked:
      state_ = State::kChunkSize;
      break;
    case Body::kUntilClose:
      state_ = State::kUntilClose;
      break;
    case Body::kOpaque:
      make_opaque();
      break;
  }
}

void HttpScanner::chunk_size_line() {
  std::string_view digits = trim(std::string_view(line_).substr(0, line_.find(';')));
  auto size = whole_number<uint64_t>(digits, 16);
  line_.clear();
  line_end_.clear();
  if (!size) return make_opaque();
  remaining_ = *size;
  state_ = remaining_ == 0 ? State::kTrailer : State::kChunkData;
}

HttpTap::HttpTap(std::string host, Report report)
    : host_(std::move(host)),
      report_(std::move(report)),
      requests_([this](const HttpScanner::Head& head) { return on_request(head); }),
      responses_([this](const HttpScanner::Head& head) { return on_response(head); }) {}

void HttpTap::request_bytes(ByteView bytes, TimePoint now) {
  if (quiet_) return;
  now_ = now;
  requests_.feed(bytes);
}

void HttpTap::response_bytes(ByteView bytes, TimePoint now) {
  if (quiet_) return;
  now_ = now;
  responses_.feed(bytes);
  if (responses_.is_opaque()) go_quiet();
}

void HttpTap::closed(TimePoint now) {
  now_ = now;
  while (!pending_.empty()) {
    Pending pending = std::move(pending_.front());
    pending_.pop_front();
    report(pending, 0);
  }
  go_quiet();
}

HttpScanner::Body HttpTap::on_request(const HttpScanner::Head& head) {
  using Body = HttpScanner::Body;
  std::string_view line = head.start_line;
  size_t first = line.find(' ');
  size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return Body::kOpaque;
  std::string_view method = line.substr(0, first);
  std::string_view target = line.substr(first + 1, last - first - 1);
  if (!is_token(method) || target.empty() || target.contains(' ') || !is_http1(line.substr(last + 1))) {
    return Body::kOpaque;
  }
  if (pending_.size() == kMaxPending) {
    go_quiet();
    return Body::kOpaque;
  }
  pending_.push_back({printable(method), printable(target), now_});
  // Everything after CONNECT belongs to the tunnel it asks for.
  if (method == "CONNECT") return Body::kOpaque;
  // Two framings at once is how requests are smuggled; which one the origin takes is not for us to guess.
  if (head.has_transfer_encoding && (head.content_length || !head.is_chunked)) return Body::kOpaque;
  if (head.is_chunked) return Body::kChunked;
  return head.content_length ? Body::kLength : Body::kNone;
}

HttpScanner::Body HttpTap::on_response(const HttpScanner::Head& head) {
  using Body = HttpScanner::Body;
  std::string_view line = head.start_line;
  size_t space = line.find(' ');
  if (space == std::string_view::npos || !is_http1(line.substr(0, space))) return Body::kOpaque;
  auto status = whole_number<int>(line.substr(space + 1, 3));
  if (!status || *status < 100 || pending_.empty()) return Body::kOpaque;
  if (*status < 200 && *status != 101) return Body::kNone;  // interim: the answer is still to come

  Pending pending = std::move(pending_.front());
  pending_.pop_front();
  report(pending, *status);

  bool is_tunnel = *status == 101 || (pending.method == "CONNECT" && *status < 300);
  if (is_tunnel) return Body::kOpaque;
  if (pending.method == "HEAD" || *status == 204 || *status == 304) return Body::kNone;
  if (head.is_chunked) return Body::kChunked;
  if (head.has_transfer_encoding || !head.content_length) return Body::kUntilClose;
  return Body::kLength;
}

void HttpTap::report(const Pending& pending, int status) {
  report_(RequestLine{.host = host_,
                      .method = pending.method,
                      .target = pending.target,
                      .status = status,
                      .duration = now_ - pending.began});
}

void HttpTap::go_quiet() {
  quiet_ = true;
  pending_.clear();
  requests_.make_opaque();
  responses_.make_opaque();
}

}  // namespace culvert::agent
