#include "ca/http_location.h"

#include <algorithm>

#include "acme/https_url.h"
#include "base/ascii.h"
#include "base/text.h"

namespace culvert::ca {

std::string HttpLocation::authority() const { return host.find(':') == host.npos ? host : "[" + host + "]"; }

Result<HttpLocation> HttpLocation::follow(std::string_view location, const HttpPorts& ports) const {
  constexpr std::string_view kHttp = "http://", kHttps = "https://";
  // A fragment is for the reader of the resource.
  const std::string_view text = location.substr(0, location.find('#'));
  const bool is_http = equals_lower(text.substr(0, kHttp.size()), kHttp);
  const bool is_path = text.starts_with('/') && !text.starts_with("//");
  // The rules for hosts, ports and characters are those of https URLs.
  std::string whole(text);
  if (is_http) whole = std::string(kHttps) + std::string(text.substr(kHttp.size()));
  if (is_path) whole = "https://host" + whole;
  const auto url = acme::parse_https_url(whole);
  if (!url) return fail(ErrorCode::kInvalid, "the redirect to {} cannot be followed", quoted(location));
  if (is_path) return HttpLocation{.is_https = is_https, .host = host, .target = url->target};
  constexpr uint16_t kUsualPort = 443;  // parse_https_url's, when the URL names none
  const uint16_t configured = is_http ? ports.http : ports.tls;
  const bool is_usual = url->port == kUsualPort || (is_http && url->port == 80);
  if (!is_usual && url->port != configured) {
    return fail(ErrorCode::kInvalid,
                "the redirect to {} leads to port {}, which is not looked at (expected {})", quoted(location),
                url->port, configured);
  }
  return HttpLocation{.is_https = !is_http, .host = url->host, .target = url->target};
}

}  // namespace culvert::ca
