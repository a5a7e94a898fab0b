#pragma once
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"
#include "route/hostname.h"

namespace culvert::route {

enum class PortProtocol : uint8_t { kTcp = 1, kUdp = 2 };
const char* to_string(PortProtocol protocol);  // "tcp", "udp"
std::optional<PortProtocol> parse_port_protocol(std::string_view text);

// A port of the edges' public addresses. TCP and UDP have ports of their own.
struct PublicPort {
  PortProtocol protocol;
  uint16_t number;  // not 0

  std::string text() const;  // "tcp/25565"
  auto operator<=>(const PublicPort&) const = default;
};

// Names the service behind a port to its agents: 1 to 64 bytes without control characters. kInvalid says what
// is wrong.
Result<> check_service_name(std::string_view name);

// What a public connection must ask for to be given a route: a hostname, or a TCP or UDP port.
class Match {
 public:
  // Not explicit: a hostname or a port is a match, and nothing is lost.
  Match(HostPattern hostname) : text_(hostname.text()), what_(std::move(hostname)) {}
  Match(PublicPort port) : text_(port.text()), what_(port) {}

  // "app.example.com", "*.example.com", "tcp/25565": different for different matches, because no hostname
  // has a slash.
  const std::string& text() const { return text_; }
  // nullptr: it is a port.
  const HostPattern* hostname() const { return std::get_if<HostPattern>(&what_); }
  // nullptr: it is a hostname.
  const PublicPort* port() const { return std::get_if<PublicPort>(&what_); }

  // The inverse of text(). kInvalid says what is wrong.
  static Result<Match> parse(std::string_view text);

  auto operator<=>(const Match&) const = default;

 private:
  std::string text_;
  std::variant<HostPattern, PublicPort> what_;
};

}  // namespace culvert::route
