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

std::string PublicPort::text() const { return fmt::format("{}/{}", to_string(protocol), number); }

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
  const auto number = whole_number<uint16_t>(text.substr(slash + 1));
  const bool is_port = protocol && number && *number != 0;
  if (is_port) {
    const PublicPort port{*protocol, *number};
    if (port.text() == text) return Match(port);
  }
  return fail(ErrorCode::kInvalid, "{} is neither a hostname nor a port like tcp/25565 or udp/51820",
              quoted(text));
}

}  // namespace culvert::route
