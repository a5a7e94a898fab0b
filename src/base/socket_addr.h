#pragma once
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace culvert {

// An IP address and port as a value: comparable, hashable, printable. IPv4-mapped IPv6 is turned into IPv4.
class SocketAddr {
 public:
  SocketAddr() = default;
  static SocketAddr from_sockaddr(
      const sockaddr* address);  // AF_INET or AF_INET6; anything else gives 0.0.0.0:0
  static SocketAddr v4(std::array<uint8_t, 4> ip, uint16_t port);
  static SocketAddr v6(std::array<uint8_t, 16> ip, uint16_t port);
  // "1.2.3.4:5", "[::1]:5". No names. kInvalid says what is wrong.
  static Result<SocketAddr> parse(std::string_view text);

  bool is_v4() const { return family_ == AF_INET; }
  bool is_unspecified() const;  // 0.0.0.0 or ::
  bool is_loopback() const;
  uint16_t port() const { return port_; }
  // 4 or 16 bytes, network order.
  ByteView ip() const { return ByteView(ip_).first(is_v4() ? 4 : 16); }
  std::string ip_text() const;
  std::string to_string() const;
  SocketAddr with_port(uint16_t port) const;
  // What limits for each source count by: an IPv4 address, the /64 of an IPv6 address, as raw bytes.
  std::string source_prefix() const;

  // Fills `out` and returns its length. `as_v6` gives IPv4 in its mapped form, for dual-stack sockets.
  socklen_t to_sockaddr(sockaddr_storage& out, bool as_v6 = false) const;

  auto operator<=>(const SocketAddr&) const = default;

 private:
  sa_family_t family_ = AF_INET;
  uint16_t port_ = 0;
  std::array<uint8_t, 16> ip_{};
};

// The text is an IPv4 or IPv6 address, without brackets, port or zone.
std::optional<SocketAddr> parse_ip(std::string_view text, uint16_t port = 0);

}  // namespace culvert

template <>
struct std::hash<culvert::SocketAddr> {
  size_t operator()(const culvert::SocketAddr& address) const noexcept {
    auto ip = address.ip();
    return std::hash<std::string_view>{}({reinterpret_cast<const char*>(ip.data()), ip.size()}) * 31 +
           address.port();
  }
};
