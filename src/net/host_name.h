#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/socket_addr.h"

// What can be said of a host without asking anything. Inside net/ only.
namespace culvert::net {

// An IP address (port 0) in one of the forms that other programs accept: "192.0.2.7", "127.1", "::1",
// "[::1]".
std::optional<SocketAddr> parse_ip_literal(const std::string& host);

// RFC 6761, 6.3: names below localhost are this machine, whatever a name server says. `host` is in lower
// case.
bool is_localhost(std::string_view host);

// False for URLs, host:port, control characters and what is too long to be a name: these are not asked for.
bool is_plausible_name(std::string_view host);

}  // namespace culvert::net
