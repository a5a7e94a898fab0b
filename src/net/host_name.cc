#include "net/host_name.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace culvert::net {
namespace {

// RFC 1035, 2.3.4: 255 octets on the wire, which are 253 characters and perhaps a final dot.
constexpr size_t kMaxName = 254;

}  // namespace

std::optional<SocketAddr> parse_ip_literal(const std::string& host) {
  // inet_aton stops at white space and takes what is before it, both functions stop at a NUL.
  if (std::ranges::any_of(host, [](char c) { return c <= ' '; })) return std::nullopt;
  in_addr ip4{};
  if (inet_aton(host.c_str(), &ip4) != 0) {
    std::array<uint8_t, 4> bytes;
    std::memcpy(bytes.data(), &ip4, bytes.size());
    return SocketAddr::v4(bytes, 0);
  }
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  auto ip = parse_ip(bracketed ? host.substr(1, host.size() - 2) : host);
  if (bracketed && ip && ip->is_v4()) return std::nullopt;
  return ip;
}

bool is_localhost(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  return host == "localhost" || host.ends_with(".localhost");
}

bool is_plausible_name(std::string_view host) {
  if (host.empty() || host.size() > kMaxName) return false;
  return std::ranges::all_of(host, [](char c) {
    return c > ' ' && c < 0x7f && c != '[' && c != ']' && c != '/' && c != ':' && c != '\\';
  });
}

}  // namespace culvert::net
