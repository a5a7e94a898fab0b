#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace culvert::ca {

struct HttpPorts {
  uint16_t http = 80;
  uint16_t tls = 443;
};

// Where an answer over HTTP is looked for: at the name itself, or where redirects lead.
struct HttpLocation {
  bool is_https = false;
  std::string host;    // a hostname or an address
  std::string target;  // path and query

  // The place that a redirect names, as seen from this one (RFC 9110, 10.2.2): a URL, or a path that starts
  // with a slash. kInvalid: something else, or a port that is neither that of its scheme nor the one in
  // `ports`: an answer on any other port could be that of any user of the host.
  Result<HttpLocation> follow(std::string_view location, const HttpPorts& ports) const;
  std::string authority() const;  // the host as Host and URLs have it
  std::string to_string() const { return (is_https ? "https://" : "http://") + authority() + target; }
};

}  // namespace culvert::ca
