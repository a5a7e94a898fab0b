#include "http/h1_lines.h"

#include <algorithm>

#include "base/ascii.h"
#include "base/whole_number.h"

namespace culvert::http {
namespace {

constexpr size_t kMaxMethod = 32;
constexpr size_t kMaxLengthDigits = 19;  // below 2^64
constexpr size_t kMaxChunkDigits = 15;   // below 2^64 with room for sums

std::unexpected<const char*> bad(const char* why) { return std::unexpected(why); }

constexpr bool is_letter(char c) { return to_lower(c) >= 'a' && to_lower(c) <= 'z'; }
constexpr bool is_visible(char c) { return c > 0x20 && c < 0x7f; }

// RFC 9110, 5.6.2
bool is_token(std::string_view text) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return is_digit(c) || is_letter(c) || kOthers.contains(c);
  });
}

std::optional<int> minor_version(std::string_view text) {
  if (text == "HTTP/1.1") return 1;
  if (text == "HTTP/1.0") return 0;
  return std::nullopt;
}

// host [":" port] (RFC 3986, 3.2), without userinfo: a name before an '@' has misled many.
bool is_authority(std::string_view text) {
  size_t host_end = text.find(':');
  if (text.starts_with('[')) {
    host_end = text.find(']');
    if (host_end == text.npos) return false;
    const std::string_view address = text.substr(1, host_end - 1);
    if (address.empty() || !std::ranges::all_of(address, [](char c) {
          return is_letter(c) || is_digit(c) || c == ':' || c == '.' || c == '%';
        })) {
      return false;
    }
    ++host_end;
  } else {
    constexpr std::string_view kOthers = "-._~!$&'()*+;=%";
    const std::string_view name = text.substr(0, host_end);
    if (name.empty() || !std::ranges::all_of(name, [&](char c) {
          return is_letter(c) || is_digit(c) || kOthers.contains(c);
        })) {
      return false;
    }
  }
  const std::string_view port = text.substr(std::min(host_end, text.size()));
  return port.empty() || (port.starts_with(':') && port.size() <= 6 &&
                          std::ranges::all_of(port.substr(1), [](char c) { return is_digit(c); }));
}

// "http://authority/path": the authority; nullopt when it has another form.
std::optional<std::string_view> authority_of_absolute(std::string_view target) {
  const size_t mark = target.find("://");
  if (mark == target.npos || mark == 0 || !is_letter(target.front())) return std::nullopt;
  if (!std::ranges::all_of(target.substr(0, mark), [](char c) {
        return is_letter(c) || is_digit(c) || c == '+' || c == '-' || c == '.';
      })) {
    return std::nullopt;
  }
  const std::string_view rest = target.substr(mark + 3);
  return rest.substr(0, rest.find_first_of("/?#"));
}

}  // namespace

Parsed<RequestLine> parse_request_line(std::string_view line, H1Rules rules) {
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == line.npos || first == last) return bad("its first line has no method, target and version");
  auto version = minor_version(line.substr(last + 1));
  if (!version) return bad("its version is not HTTP/1.1 or HTTP/1.0");
  const RequestLine out{line.substr(0, first), line.substr(first + 1, last - first - 1), *version};
  if (!is_token(out.method) || out.method.size() > kMaxMethod) return bad("its method is not a token");
  if (out.target.empty() || out.target.contains(' ')) return bad("spaces in its first line");
  if (rules == H1Rules::kStrict && !std::ranges::all_of(out.target, is_visible)) {
    return bad("characters in its target that are not visible ASCII");
  }
  return out;
}

Parsed<StatusLine> parse_status_line(std::string_view line) {
  const size_t space = line.find(' ');
  auto version = minor_version(line.substr(0, space));
  if (!version) return bad("its version is not HTTP/1.1 or HTTP/1.0");
  if (space == line.npos) return bad("no status");
  const std::string_view rest = line.substr(space + 1);
  auto status = whole_number<int>(rest.substr(0, 3));
  // The space before an empty reason is often left out.
  if (!status || *status < 100 || (rest.size() > 3 && rest[3] != ' '))
    return bad("its status is not a number of three digits");
  return StatusLine{*version, *status};
}

Parsed<FieldLine> parse_field_line(std::string_view line) {
  if (line.starts_with(' ') || line.starts_with('\t')) return bad("a folded field line");
  const size_t colon = line.find(':');
  if (colon == line.npos) return bad("a field line without a colon");
  if (!is_token(line.substr(0, colon))) return bad("a field name that is not a token");
  return FieldLine{line.substr(0, colon), trim(line.substr(colon + 1))};
}

Parsed<uint64_t> parse_chunk_line(std::string_view line, H1Rules rules) {
  if (rules == H1Rules::kObserver) {
    auto size = whole_number<uint64_t>(trim(line.substr(0, line.find(';'))), 16);
    return size ? Parsed<uint64_t>(*size) : bad("a chunk size that is not a hexadecimal number");
  }
  const size_t digits = std::min(line.find_first_not_of("0123456789abcdefABCDEF"), line.size());
  if (digits == 0) return bad("a chunk size that is not a hexadecimal number");
  if (digits > kMaxChunkDigits) return bad("a chunk size with too many digits");
  if (digits < line.size() && line[digits] != ';') return bad("a chunk size followed by no extension");
  return *whole_number<uint64_t>(line.substr(0, digits), 16);
}

Parsed<void> check_authority(std::string_view method, std::string_view target, int minor_version,
                             const Headers& headers) {
  const size_t hosts = headers.count("host");
  if (hosts > 1) return bad("more than one Host");
  if (hosts == 0 && minor_version >= 1) return bad("no Host");
  const std::string* host = headers.find("host");
  // An empty one says that the target has no authority.
  if (host && !host->empty() && !is_authority(*host)) return bad("its Host is not a host and a port");
  if (method == "CONNECT") {
    if (!is_authority(target)) return bad("a target of CONNECT that is not a host and a port");
    return {};
  }
  if (target.starts_with('/')) return {};
  if (target == "*")
    return method == "OPTIONS" ? Parsed<void>() : bad("the target * of a method other than OPTIONS");
  auto authority = authority_of_absolute(target);
  if (!authority || !is_authority(*authority)) return bad("its target is neither a path nor a URL");
  if (host && !equals_lower(*host, to_lower(*authority))) return bad("a Host other than its target's");
  return {};
}

bool may_be_trailer(std::string_view name) {
  constexpr std::string_view kNever[] = {"age",
                                         "authorization",
                                         "cache-control",
                                         "connection",
                                         "content-encoding",
                                         "content-length",
                                         "content-range",
                                         "content-type",
                                         "cookie",
                                         "date",
                                         "expect",
                                         "expires",
                                         "host",
                                         "if-match",
                                         "if-modified-since",
                                         "if-none-match",
                                         "if-range",
                                         "if-unmodified-since",
                                         "keep-alive",
                                         "location",
                                         "max-forwards",
                                         "pragma",
                                         "proxy-authenticate",
                                         "proxy-authorization",
                                         "proxy-connection",
                                         "range",
                                         "retry-after",
                                         "set-cookie",
                                         "te",
                                         "trailer",
                                         "transfer-encoding",
                                         "upgrade",
                                         "vary",
                                         "warning",
                                         "www-authenticate"};
  return std::ranges::none_of(kNever, [&](std::string_view never) { return equals_lower(name, never); });
}

Parsed<void> BodyFields::add(const FieldLine& field, bool cut, H1Rules rules) {
  const bool is_length = equals_lower(field.name, "content-length");
  if (!is_length && !equals_lower(field.name, "transfer-encoding")) return {};
  if (cut) return bad("a field about its body that is too long");
  const bool strict = rules == H1Rules::kStrict;
  if (is_length) {
    auto length = whole_number<uint64_t>(field.value);
    if (!length || field.value.size() > kMaxLengthDigits) return bad("its Content-Length is not a number");
    if (strict && field.value.size() > 1 && field.value.starts_with('0')) {
      return bad("its Content-Length begins with a zero");
    }
    if (length_ && (strict || *length_ != *length)) return bad("more than one Content-Length");
    length_ = length;
    return {};
  }
  if (strict && codings_ > 0) return bad("more than one Transfer-Encoding");
  if (strict && !equals_lower(field.value, "chunked")) return bad("a transfer coding other than chunked");
  ++codings_;
  const size_t comma = field.value.rfind(',');
  chunked_ =
      equals_lower(trim(comma == field.value.npos ? field.value : field.value.substr(comma + 1)), "chunked");
  return {};
}

Parsed<void> BodyFields::check(int minor_version) const {
  if (length_ && codings_ > 0) return bad("both Content-Length and Transfer-Encoding");
  if (codings_ > 0 && minor_version < 1) return bad("Transfer-Encoding in HTTP/1.0");
  return {};
}

}  // namespace culvert::http
