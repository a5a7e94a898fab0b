#include <fmt/format.h>

#include "base/check.h"
#include "http/h1_codec.h"

namespace culvert::http {
namespace {

constexpr std::string_view kLineEnd = "\r\n";

void append_fields(std::string& out, const Headers& headers) {
  for (const auto& [name, value] : headers) {
    CHECK(!name.empty() && name.find_first_of("\r\n: ") == name.npos &&
          value.find_first_of("\r\n") == value.npos);
    out.append(name).append(": ").append(value).append(kLineEnd);
  }
  out.append(kLineEnd);
}

}  // namespace

void append_request_head(std::string& out, std::string_view method, std::string_view target,
                         const Headers& headers) {
  CHECK(method.find_first_of("\r\n ") == method.npos && target.find_first_of("\r\n ") == target.npos);
  out.append(method).append(" ").append(target).append(" HTTP/1.1\r\n");
  append_fields(out, headers);
}

void append_response_head(std::string& out, int status, const Headers& headers) {
  fmt::format_to(std::back_inserter(out), "HTTP/1.1 {} {}\r\n", status, reason_phrase(status));
  append_fields(out, headers);
}

void append_chunk_size(std::string& out, size_t size) {
  CHECK(size > 0);  // it would be the last one
  fmt::format_to(std::back_inserter(out), "{:x}\r\n", size);
}

void append_last_chunk(std::string& out, const Headers& trailers) {
  out.append("0\r\n");
  append_fields(out, trailers);
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 101:
      return "Switching Protocols";
    case 103:
      return "Early Hints";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 303:
      return "See Other";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 411:
      return "Length Required";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 416:
      return "Range Not Satisfiable";
    case 417:
      return "Expectation Failed";
    case 421:
      return "Misdirected Request";
    case 422:
      return "Unprocessable Content";
    case 425:
      return "Too Early";
    case 426:
      return "Upgrade Required";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    case 507:
      return "Insufficient Storage";
    case 508:
      return "Loop Detected";
    default:
      return "";
  }
}

}  // namespace culvert::http
