#include "acme/https_url.h"

#include <algorithm>

#include "base/ascii.h"
#include "base/host_port.h"
#include "base/text.h"

namespace culvert::acme {
namespace {

std::unexpected<Error> bad_url(std::string_view text, std::string_view why) {
  return fail(ErrorCode::kInvalid, "invalid URL {}: {} (expected https://host/path)", quoted(text), why);
}

// "[::1]" has colons of its own.
bool has_port(std::string_view authority) {
  const size_t colon = authority.rfind(':');
  return colon != authority.npos && authority.find(']', colon) == authority.npos;
}

}  // namespace

std::string HttpsUrl::authority() const {
  const std::string with_port = HostPort{.host = host, .port = port}.to_string();
  return port == 443 ? with_port.substr(0, with_port.rfind(':')) : with_port;
}

Result<HttpsUrl> parse_https_url(std::string_view text) {
  constexpr std::string_view kScheme = "https://";
  if (text.size() > kMaxUrl) return bad_url(text, "it is too long");
  if (std::ranges::any_of(text, [](char c) { return c <= ' ' || c >= 0x7f; })) {
    return bad_url(text, "it has a character that is not printable ASCII");
  }
  if (!equals_lower(text.substr(0, kScheme.size()), kScheme))
    return bad_url(text, "it does not start with https://");
  if (text.find('#') != text.npos) return bad_url(text, "it has a fragment");
  const std::string_view rest = text.substr(kScheme.size());
  const size_t end = std::min(rest.find_first_of("/?"), rest.size());
  const std::string authority = to_lower(rest.substr(0, end));
  auto place = parse_host_port(has_port(authority) ? authority : authority + ":443");
  if (!place) return bad_url(text, "its host or port is not valid");
  std::string target(rest.substr(end));
  if (!target.starts_with('/')) target.insert(0, 1, '/');
  return HttpsUrl{.host = std::move(place->host), .port = place->port, .target = std::move(target)};
}

}  // namespace culvert::acme
