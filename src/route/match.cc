#include "route/match.h"

#include <fmt/format.h>

#include "base/text.h"
#include "base/whole_number.h"

namespace culvert::route {

const char* to_string(PortProtocol protocol) {
  switch (protocol) {
    case PortProtocol::kTcp:
      return "tcp";
    case PortProtocol::kUdp:
      return "udp";
  }
  return "unknown";
}

std::optional<PortProtocol> parse_port_protocol(std::string_view text) {
  if (text == "tcp") return PortProtocol::kTcp;
  if (text == "udp") return PortProtocol::kUdp;
  return std::nullopt;
}

Result<PublicPort> PublicPort::parse(PortProtocol protocol, std::string_view numbers) {
  const size_t dash = numbers.find('-');
  const auto first = whole_number<uint16_t>(numbers.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : whole_number<uint16_t>(numbers.substr(dash + 1));
  if (!first || !last || *first == 0) {
    return fail(ErrorCode::kInvalid, "{} is not a port from 1 to 65535, or a range of them like 40000-40100",
                quoted(numbers));
  }
  if (dash != std::string_view::npos && *first >= *last) {
    return fail(ErrorCode::kInvalid,
                "the range {} does not ascend (expected two ports like 40000-40100, the lower one first)",
                quoted(numbers));
  }
  const PublicPort port{protocol, *first, static_cast<uint16_t>(*last - *first)};
  if (port.size() > kMostPorts) {
    return fail(ErrorCode::kInvalid,
                "the range {} has {} ports, and one service may have {}; divide it between several services",
                quoted(numbers), port.size(), kMostPorts);
  }
  return port;
}

std::string PublicPort::numbers() const {
  return is_range() ? fmt::format("{}-{}", number, last()) : fmt::format("{}", number);
}

std::string PublicPort::text() const { return fmt::format("{}/{}", to_string(protocol), numbers()); }

Result<> check_service_name(std::string_view name) {
  constexpr size_t kMaxName = 64;
  if (name.empty()) return fail(ErrorCode::kInvalid, "the name is empty; give the service one");
  if (name.size() > kMaxName)
    return fail(ErrorCode::kInvalid, "the name {} is longer than {} bytes", quoted(name), kMaxName);
  if (!is_printable(name))
    return fail(ErrorCode::kInvalid, "the name {} has a control character", quoted(name));
  return {};
}

Result<Match> Match::parse(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) {
    auto hostname = HostPattern::parse(text);
    if (!hostname) return std::unexpected(hostname.error());
    return Match(std::move(*hostname));
  }
  const auto protocol = parse_port_protocol(text.substr(0, slash));
  const auto port = protocol ? PublicPort::parse(*protocol, text.substr(slash + 1))
                             : Result<PublicPort>(fail(ErrorCode::kInvalid, "unknown protocol"));
  if (port && port->text() == text) return Match(*port);
  return fail(ErrorCode::kInvalid, "{} is neither a hostname nor a port like tcp/25565 or udp/51820",
              quoted(text));
}

}  // namespace culvert::route
