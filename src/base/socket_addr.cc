#include "base/socket_addr.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/text.h"
#include "base/whole_number.h"

namespace culvert {
namespace {

// ::ffff:0:0/96, RFC 4291, 2.5.5.2
constexpr std::array<uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

}  // namespace

SocketAddr SocketAddr::from_sockaddr(const sockaddr* address) {
  // Copied out: the caller's buffer need not be aligned for the type it holds.
  if (address->sa_family == AF_INET) {
    sockaddr_in in;
    std::memcpy(&in, address, sizeof in);
    std::array<uint8_t, 4> ip;
    std::memcpy(ip.data(), &in.sin_addr, ip.size());
    return v4(ip, ntohs(in.sin_port));
  }
  if (address->sa_family == AF_INET6) {
    sockaddr_in6 in6;
    std::memcpy(&in6, address, sizeof in6);
    std::array<uint8_t, 16> ip;
    std::memcpy(ip.data(), &in6.sin6_addr, ip.size());
    return v6(ip, ntohs(in6.sin6_port));
  }
  return {};
}

SocketAddr SocketAddr::v4(std::array<uint8_t, 4> ip, uint16_t port) {
  SocketAddr out;
  out.port_ = port;
  std::ranges::copy(ip, out.ip_.begin());
  return out;
}

SocketAddr SocketAddr::v6(std::array<uint8_t, 16> ip, uint16_t port) {
  if (std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), ip.begin())) {
    return v4({ip[12], ip[13], ip[14], ip[15]}, port);
  }
  SocketAddr out;
  out.family_ = AF_INET6;
  out.port_ = port;
  out.ip_ = ip;
  return out;
}

Result<SocketAddr> SocketAddr::parse(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || text.ends_with(']')) {
    return fail(ErrorCode::kInvalid, "address {} has no port; write it like 1.2.3.4:443 or [::1]:443",
                quoted(text));
  }
  constexpr size_t kMaxDigits = 5;
  const std::string_view digits = text.substr(colon + 1);
  const auto port = whole_number<uint16_t>(digits);
  if (!port || digits.size() > kMaxDigits) {
    return fail(ErrorCode::kInvalid, "address {} has a wrong port; ports are 0 to 65535", quoted(text));
  }
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (!bracketed && host.find(':') != std::string_view::npos) {
    return fail(ErrorCode::kInvalid, "address {} needs brackets around its IPv6 part, like [::1]:443",
                quoted(text));
  }
  if (bracketed) host = host.substr(1, host.size() - 2);
  const bool is_v6 = host.contains(':');
  const auto ip = parse_ip(host, *port);
  if (ip && bracketed == is_v6) return *ip;
  return fail(ErrorCode::kInvalid, "address {} does not start with an IP address", quoted(text));
}

bool SocketAddr::is_unspecified() const {
  return std::ranges::all_of(ip(), [](uint8_t byte) { return byte == 0; });
}

std::string SocketAddr::source_prefix() const { return std::string(as_text(ip().first(is_v4() ? 4 : 8))); }

bool SocketAddr::is_loopback() const {
  if (is_v4()) return ip_[0] == 127;
  return std::all_of(ip_.begin(), ip_.end() - 1, [](uint8_t byte) { return byte == 0; }) && ip_.back() == 1;
}

std::string SocketAddr::ip_text() const {
  char text[INET6_ADDRSTRLEN];
  return inet_ntop(family_, ip_.data(), text, sizeof text);
}

std::string SocketAddr::to_string() const {
  return is_v4() ? fmt::format("{}:{}", ip_text(), port_) : fmt::format("[{}]:{}", ip_text(), port_);
}

SocketAddr SocketAddr::with_port(uint16_t port) const {
  SocketAddr out = *this;
  out.port_ = port;
  return out;
}

socklen_t SocketAddr::to_sockaddr(sockaddr_storage& out, bool as_v6) const {
  std::memset(&out, 0, sizeof out);
  if (is_v4() && !as_v6) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port_);
    std::memcpy(&in.sin_addr, ip_.data(), 4);
    std::memcpy(&out, &in, sizeof in);
    return sizeof in;
  }
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(port_);
  auto* ip = reinterpret_cast<uint8_t*>(&in6.sin6_addr);
  if (is_v4()) {
    std::ranges::copy(kMappedPrefix, ip);
    std::memcpy(ip + kMappedPrefix.size(), ip_.data(), 4);
  } else {
    std::memcpy(ip, ip_.data(), ip_.size());
  }
  std::memcpy(&out, &in6, sizeof in6);
  return sizeof in6;
}

std::optional<SocketAddr> parse_ip(std::string_view text, uint16_t port) {
  // inet_pton would stop at a NUL and take what stands before it.
  if (text.contains('\0')) return std::nullopt;
  const std::string terminated(text);
  std::array<uint8_t, 4> ip4;
  if (inet_pton(AF_INET, terminated.c_str(), ip4.data()) == 1) return SocketAddr::v4(ip4, port);
  std::array<uint8_t, 16> ip6;
  if (inet_pton(AF_INET6, terminated.c_str(), ip6.data()) == 1) return SocketAddr::v6(ip6, port);
  return std::nullopt;
}

}  // namespace culvert
