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

// A port of the edges' public addresses, or a range of such ports that is one service's. TCP and UDP have
// ports of their own.
struct PublicPort {
  // Of a range. An edge has a socket for each, and a relay or a game server needs no more.
  static constexpr unsigned kMostPorts = 512;

  PortProtocol protocol;
  uint16_t number;    // not 0; of a range the first
  uint16_t more = 0;  // of a range: so many follow

  // "25565" or "40000-40100". kInvalid says what is wrong.
  static Result<PublicPort> parse(PortProtocol protocol, std::string_view numbers);
  std::string numbers() const;  // the inverse
  std::string text() const;     // "tcp/25565", "udp/40000-40100"
  bool is_range() const { return more > 0; }
  size_t size() const { return size_t{more} + 1; }
  uint16_t last() const { return static_cast<uint16_t>(number + more); }
  // One of its ports; `index` is below size().
  PublicPort at(size_t index) const { return {protocol, static_cast<uint16_t>(number + index)}; }
  bool overlaps(const PublicPort& other) const {
    return protocol == other.protocol && number <= other.last() && other.number <= last();
  }
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

  // "app.example.com", "*.example.com", "tcp/25565", "udp/40000-40100": different for different matches,
  // because no hostname has a slash.
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
