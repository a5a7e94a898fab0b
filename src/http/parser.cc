#include "http/parser.h"

#include <boost/beast/core/string.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>

#include "base/check.h"
#include "http/body.h"

namespace culvert::http {
namespace {

namespace beast = boost::beast;
using beast::http::field;

template <bool kIsRequest>
constexpr const char* kNoun = kIsRequest ? "request" : "response";
template <bool kIsRequest>
constexpr size_t kBodyCap = kIsRequest ? kMaxBodyBytes : kMaxResponseBodyBytes;

std::unexpected<Error> bad(const char* noun, std::string_view why) {
  return fail(ErrorCode::kInvalid, "the {} is malformed: {}", noun, why);
}

// What Beast tolerates in a header block and we do not. `head` ends with an empty line.
Result<> check_lines(const char* noun, std::string_view head) {
  bool first = true;
  while (!head.empty()) {
    size_t end = head.find("\r\n");
    std::string_view line = head.substr(0, end);
    head.remove_prefix(end + 2);
    if (line.find('\r') != line.npos) return bad(noun, "carriage return without line feed");
    if (first && line.empty()) return bad(noun, "empty first line");
    if (!first && (line.starts_with(' ') || line.starts_with('\t'))) return bad(noun, "folded field line");
    first = false;
  }
  return {};
}

template <bool kIsRequest>
class Framer {
 public:
  explicit Framer(bool no_body = false) : no_body_(no_body) { begin(); }

  ParseState feed(ByteView bytes) {
    if (state_ == ParseState::kError) return state_;
    buffer_.append(as_text(bytes));
    return advance();
  }

  ParseState feed_end() {
    if (state_ != ParseState::kNeedMore) return state_;
    if (in_body_ && body_.end()) return state_ = ParseState::kDone;
    return refuse(Error{ErrorCode::kReset, fmt::format("the {} ends in its middle", kNoun<kIsRequest>)});
  }

  ParseState state() const { return state_; }
  const Error& error() const { return error_; }
  bool idle() const { return state_ == ParseState::kNeedMore && !in_body_ && buffer_.empty(); }

  // After kDone.
  const auto& header() const { return parser_->get(); }
  bool keep_alive() const { return parser_->keep_alive(); }
  std::string take_body() { return body_.take(); }
  // Leaves this message behind and goes on with what followed it.
  void next() {
    CHECK(state_ == ParseState::kDone);
    begin();
    advance();
  }

 private:
  using Parser = beast::http::parser<kIsRequest, beast::http::empty_body>;

  void begin() {
    state_ = ParseState::kNeedMore;
    in_body_ = false;
    scanned_ = 0;
    parser_.emplace();
    parser_->header_limit(static_cast<uint32_t>(kMaxHeaderBytes + 1));
    // BodyReader has the same cap; this one spares the sender what it announced.
    if (!no_body_) parser_->body_limit(kBodyCap<kIsRequest>);
    if (no_body_) parser_->body_limit(boost::none);
  }

  ParseState refuse(Error error) {
    error_ = std::move(error);
    buffer_ = {};
    return state_ = ParseState::kError;
  }
  ParseState refuse(beast::error_code ec) {
    if (ec == beast::http::error::body_limit) {
      return refuse(Error{ErrorCode::kLimit, fmt::format("the {}'s body is over {} bytes", kNoun<kIsRequest>,
                                                         kBodyCap<kIsRequest>)});
    }
    return refuse(bad(kNoun<kIsRequest>, ec.message()).error());
  }

  ParseState advance() {
    do {
      skipped_interim_ = false;
      if (state_ == ParseState::kNeedMore && !in_body_) advance_head();
      if (state_ == ParseState::kNeedMore && in_body_) advance_body();
    } while (skipped_interim_);
    return state_;
  }

  void advance_head() {
    // Refuses early what can never become a header, so that nobody waits for the end of a TLS record or a
    // bare-LF head.
    size_t end = std::string::npos;
    for (; scanned_ < buffer_.size() && end == std::string::npos; ++scanned_) {
      char c = buffer_[scanned_];
      if (c == '\n') {
        if (scanned_ == 0 || buffer_[scanned_ - 1] != '\r') {
          refuse(bad(kNoun<kIsRequest>, "line feed without carriage return").error());
          return;
        }
        if (scanned_ >= 3 && buffer_[scanned_ - 2] == '\n') end = scanned_ + 1;
      } else if ((static_cast<unsigned char>(c) < 0x20 && c != '\r' && c != '\t') || c == 0x7f) {
        refuse(bad(kNoun<kIsRequest>, "control character in its header").error());
        return;
      }
    }
    if (end > kMaxHeaderBytes && buffer_.size() > kMaxHeaderBytes) {
      refuse(Error{ErrorCode::kLimit,
                   fmt::format("the {}'s header is over {} bytes", kNoun<kIsRequest>, kMaxHeaderBytes)});
      return;
    }
    if (end == std::string::npos) return;

    if (auto lines = check_lines(kNoun<kIsRequest>, std::string_view(buffer_).substr(0, end)); !lines) {
      refuse(lines.error());
      return;
    }
    beast::error_code ec;
    size_t used = parser_->put(boost::asio::buffer(buffer_.data(), end), ec);
    if (ec) {
      refuse(ec);
      return;
    }
    if (used != end || !parser_->is_header_done()) {
      refuse(bad(kNoun<kIsRequest>, "its header ends early").error());
      return;
    }
    if (auto fields = check_fields(); !fields) {
      refuse(fields.error());
      return;
    }
    buffer_.erase(0, end);
    if constexpr (!kIsRequest) {
      int status = static_cast<int>(parser_->get().result_int());
      if (status >= 100 && status < 200 && status != 101) {
        begin();
        skipped_interim_ = true;
        return;
      }
    }
    in_body_ = true;
    body_ = BodyReader(framing(), parser_->content_length().value_or(0), kBodyCap<kIsRequest>);
  }

  void advance_body() {
    auto used = body_.read(buffer_);
    if (!used) {
      refuse(Error{used.error().code,
                   fmt::format("the {} is malformed: {}", kNoun<kIsRequest>, used.error().message)});
      return;
    }
    buffer_.erase(0, *used);
    if (body_.done()) state_ = ParseState::kDone;
  }

  // RFC 9112, 6.3; check_fields() has left one reading only.
  BodyReader::Framing framing() const {
    using enum BodyReader::Framing;
    if constexpr (!kIsRequest) {
      unsigned status = parser_->get().result_int();
      if (no_body_ || status == 101 || status == 204 || status == 304) return kNone;
    }
    if (parser_->chunked()) return kChunked;
    if (parser_->content_length()) return kLength;
    return kIsRequest ? kNone : kUntilEnd;
  }

  Result<> check_fields() const {
    const auto& header = parser_->get();
    const char* noun = kNoun<kIsRequest>;
    size_t lengths = header.count(field::content_length);
    size_t codings = header.count(field::transfer_encoding);
    if (lengths != 0 && codings != 0) return bad(noun, "both Content-Length and Transfer-Encoding");
    if (lengths > 1 || header[field::content_length].find(',') != std::string_view::npos) {
      return bad(noun, "more than one Content-Length");
    }
    if (codings > 1) return bad(noun, "more than one Transfer-Encoding");
    if (codings == 1) {
      if (!beast::iequals(header[field::transfer_encoding], "chunked")) {
        return bad(noun, "a transfer coding other than chunked");
      }
      if (header.version() < 11) return bad(noun, "Transfer-Encoding in HTTP/1.0");
    }
    if constexpr (kIsRequest) {
      size_t hosts = header.count(field::host);
      if (hosts > 1) return bad(noun, "more than one Host");
      if (hosts == 0 && header.version() >= 11) return bad(noun, "no Host");
    }
    return {};
  }

  bool no_body_;
  ParseState state_;
  Error error_{ErrorCode::kInvalid, ""};
  std::string buffer_;  // fed and not yet parsed
  bool in_body_;        // the header is parsed
  bool skipped_interim_ = false;
  size_t scanned_;  // bytes of buffer_ that hold no end of the header
  std::optional<Parser> parser_;
  BodyReader body_;
};

template <class Message>
Headers copy_headers(const Message& message) {
  Headers headers;
  for (const auto& entry : message) headers.add(entry.name_string(), entry.value());
  return headers;
}

}  // namespace

struct RequestParser::Impl {
  Framer<true> framer;
};

RequestParser::RequestParser() : impl_(std::make_unique<Impl>()) {}
RequestParser::~RequestParser() = default;
RequestParser::RequestParser(RequestParser&&) noexcept = default;
RequestParser& RequestParser::operator=(RequestParser&&) noexcept = default;

ParseState RequestParser::feed(ByteView bytes) { return impl_->framer.feed(bytes); }
ParseState RequestParser::state() const { return impl_->framer.state(); }
const Error& RequestParser::error() const { return impl_->framer.error(); }
bool RequestParser::idle() const { return impl_->framer.idle(); }

Request RequestParser::take() {
  auto& framer = impl_->framer;
  CHECK(framer.state() == ParseState::kDone);
  const auto& header = framer.header();
  Request request{.method = header.method_string(),
                  .target = header.target(),
                  .headers = copy_headers(header),
                  .body = framer.take_body(),
                  .keep_alive = framer.keep_alive()};
  framer.next();
  return request;
}

struct ResponseParser::Impl {
  explicit Impl(bool to_head) : framer(to_head) {}
  Framer<false> framer;
};

ResponseParser::ResponseParser(bool to_head) : impl_(std::make_unique<Impl>(to_head)) {}
ResponseParser::~ResponseParser() = default;
ResponseParser::ResponseParser(ResponseParser&&) noexcept = default;
ResponseParser& ResponseParser::operator=(ResponseParser&&) noexcept = default;

ParseState ResponseParser::feed(ByteView bytes) { return impl_->framer.feed(bytes); }
ParseState ResponseParser::feed_end() { return impl_->framer.feed_end(); }
const Error& ResponseParser::error() const { return impl_->framer.error(); }

Response ResponseParser::take() {
  auto& framer = impl_->framer;
  CHECK(framer.state() == ParseState::kDone);
  const auto& header = framer.header();
  return {.status = static_cast<int>(header.result_int()),
          .headers = copy_headers(header),
          .body = framer.take_body()};
}

}  // namespace culvert::http
