#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace culvert::acme {

// An absolute https URL, as a CA names its resources: "https://acme.example/directory".
struct HttpsUrl {
  std::string host;    // lower case, an address without brackets
  uint16_t port;       // 443 unless given
  std::string target;  // path and query, at least "/"

  std::string authority() const;  // host, and the port unless it is 443: what Host carries
  std::string to_string() const { return "https://" + authority() + target; }
  bool operator==(const HttpsUrl&) const = default;
};

inline constexpr size_t kMaxUrl = 2048;

// kInvalid: not https, with user information or a fragment, longer than kMaxUrl, or not of printable ASCII.
Result<HttpsUrl> parse_https_url(std::string_view text);

}  // namespace culvert::acme
