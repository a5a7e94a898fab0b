#include "base/host_port.h"

#include <fmt/format.h>

#include "base/ascii.h"
#include "base/hostname.h"
#include "base/socket_addr.h"
#include "base/text.h"
#include "base/whole_number.h"

namespace culvert {

std::string HostPort::to_string() const {
  return host.contains(':') ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

std::optional<uint16_t> parse_port(std::string_view digits) {
  const auto port = whole_number<uint16_t>(digits);
  return port == 0 ? std::nullopt : port;
}

Result<HostPort> parse_host_port(std::string_view text) {
  if (text.contains("://")) {
    return fail(ErrorCode::kInvalid, "{} is a URL (expected host:port, without a scheme or path)",
                quoted(text));
  }
  const size_t colon = text.rfind(':');
  if (colon == text.npos || text.ends_with(']')) {
    return fail(ErrorCode::kInvalid, "{} has no port (expected host:port, like localhost:3000)",
                quoted(text));
  }
  const std::string_view host = text.substr(0, colon);
  const auto port = parse_port(text.substr(colon + 1));
  if (host.starts_with('[') && host.ends_with(']')) {
    const std::string_view address = host.substr(1, host.size() - 2);
    if (!address.contains(':') || !parse_ip(address) || !port) {
      return fail(ErrorCode::kInvalid, "{} is not an IPv6 address with a port (expected one like [::1]:3000)",
                  quoted(text));
    }
    return HostPort{std::string(address), *port};
  }
  if (host.contains(':')) {
    return fail(ErrorCode::kInvalid, "{} is ambiguous; put an IPv6 address in brackets, like [::1]:3000",
                quoted(text));
  }
  if (!is_hostname(to_lower(host))) {
    return fail(ErrorCode::kInvalid,
                "{} does not start with a hostname or address (expected host:port, like localhost:3000)",
                quoted(text));
  }
  if (!port) {
    return fail(ErrorCode::kInvalid, "{} does not end in a port from 1 to 65535", quoted(text));
  }
  return HostPort{std::string(host), *port};
}

}  // namespace culvert
