#include "origin/service_parts.h"

#include <algorithm>

#include "base/hostname.h"
#include "base/socket_addr.h"
#include "base/text.h"
#include "base/values.h"

namespace culvert::origin {

bool default_proxy_protocol(tunnel::StreamKind kind) { return kind == tunnel::StreamKind::kPassthrough; }

Result<bool> parse_proxy_protocol(std::string_view text) {
  if (text == "v2") return true;
  if (text == "none") return false;
  return fail(ErrorCode::kInvalid, "{} is unknown; use \"v2\" or \"none\"", quoted(text));
}

Result<> check_place(const Origin& origin, tunnel::StreamKind kind) {
  if (kind != tunnel::StreamKind::kUdpPort || std::holds_alternative<HostPort>(origin.place)) return {};
  return fail(ErrorCode::kInvalid,
              "{} is a unix socket, which a UDP service cannot use (expected a host and port, like "
              "localhost:53)",
              quoted(origin.to_string()));
}

Result<hubapi::DeclaredPort> parse_listen_port(hubapi::DeclaredPort port, std::string_view text) {
  const auto ports = route::PublicPort::parse(port.protocol, text);
  if (!ports && !text.contains('-')) {
    return fail(ErrorCode::kInvalid,
                "{} is not a port from 1 to 65535; leave it out for one that the hub picks", quoted(text));
  }
  if (!ports) return std::unexpected(ports.error());
  if (ports->is_range() && port.protocol != route::PortProtocol::kUdp) {
    return fail(ErrorCode::kInvalid,
                "the range {} is for UDP services; give a TCP service for each port that clients use", text);
  }
  port.listen_port = ports->number;
  port.more_ports = ports->more;
  return port;
}

Result<bool> parse_origin_ports(std::string_view text, const Service& service) {
  if (text != "each" && text != "one")
    return fail(ErrorCode::kInvalid, "{} is unknown; use \"each\" or \"one\"", quoted(text));
  if (service.port() == nullptr || service.port()->more_ports == 0) {
    return fail(ErrorCode::kInvalid,
                "it is for a UDP service with a range of ports, like 40000-40100; leave it out");
  }
  return text == "one";
}

Result<> check_origin_ports(const Service& service) {
  if (service.port() == nullptr || service.port()->more_ports == 0) return {};
  const auto* place = std::get_if<HostPort>(&service.origin.place);
  if (place == nullptr || service.has_one_origin_port) return {};
  const size_t last = size_t{place->port} + service.port()->more_ports;
  if (last <= UINT16_MAX) return {};
  return fail(
      ErrorCode::kInvalid,
      "the {} ports of {} would lead to the origin's ports {} to {}, and 65535 is the last one; choose "
      "a lower port of the origin, or give them all to one with origin_ports \"one\"",
      service.port()->ports().size(), service.port()->ports().numbers(), place->port, last);
}

Result<> check_has_tls(tunnel::StreamKind kind) {
  if (kind == tunnel::StreamKind::kPassthrough) {
    return fail(
        ErrorCode::kInvalid,
        "passthrough brings the TLS of the client to the origin as it is, so the agent has none of its own; "
        "leave it out, or set the mode to terminate");
  }
  if (kind == tunnel::StreamKind::kUdpPort)
    return fail(ErrorCode::kInvalid,
                "the agent speaks no TLS with the origin of a UDP service; leave it out");
  return {};
}

Result<> check_origin_tls(const OriginTls& tls, tunnel::StreamKind kind) {
  if (auto has_tls = check_has_tls(kind); !has_tls) return has_tls;
  if (!parse_ip(tls.server_name) && !is_hostname(tls.server_name)) {
    return fail(ErrorCode::kInvalid,
                "{} is neither a hostname nor an address (expected one like app.internal)",
                quoted(tls.server_name));
  }
  return {};
}

std::optional<Origin> default_http_origin(const Service& service) {
  constexpr uint16_t kHttpPort = 80;
  const auto* place = std::get_if<HostPort>(&service.origin.place);
  if (service.kind() != tunnel::StreamKind::kPassthrough || place == nullptr) return std::nullopt;
  return Origin{.place = HostPort{place->host, kHttpPort}};
}

Result<std::optional<Origin>> parse_http_origin(std::string_view text, tunnel::StreamKind kind) {
  if (kind != tunnel::StreamKind::kPassthrough) {
    return fail(
        ErrorCode::kInvalid,
        "it is where a passthrough service answers challenges of its own; leave it out, or set the mode to "
        "passthrough");
  }
  if (text == "none") return std::optional<Origin>();
  auto origin = Origin::parse(text);
  if (!origin) return std::unexpected(origin.error());
  return std::optional(std::move(*origin));
}

Result<HealthCheck> parse_health(std::string_view text) {
  if (text == "tcp") return HealthCheck{.kind = HealthCheck::Kind::kTcp};
  if (text == "tls") return HealthCheck{.kind = HealthCheck::Kind::kTls};
  if (text == "http") return HealthCheck{.kind = HealthCheck::Kind::kHttp};
  if (text.starts_with('/')) return HealthCheck{.kind = HealthCheck::Kind::kHttp, .path = std::string(text)};
  return fail(ErrorCode::kInvalid,
              "{} is unknown; use \"tcp\", \"tls\", \"http\" or a path like \"/healthz\"", quoted(text));
}

Result<> check_health(const HealthCheck& health, const Service& service) {
  if (service.kind() == tunnel::StreamKind::kUdpPort)
    return fail(ErrorCode::kInvalid, "the origin of a UDP service cannot be checked; leave it out");
  const bool is_path = health.path.starts_with('/') &&
                       std::ranges::all_of(health.path, [](char c) { return c > ' ' && c <= '~'; });
  if (!is_path) {
    return fail(ErrorCode::kInvalid, "{} is not a path (expected one like /healthz, without blanks)",
                quoted(health.path));
  }
  const bool is_plain = service.kind() == tunnel::StreamKind::kTerminate && !service.origin.tls;
  if (health.kind == HealthCheck::Kind::kTls && is_plain) {
    return fail(
        ErrorCode::kInvalid,
        "the origin of this service is spoken to in plaintext; use \"tcp\" or \"http\", or give it TLS by "
        "origin_server_name");
  }
  if (health.timeout > health.interval) {
    return fail(ErrorCode::kInvalid,
                "the timeout {} is longer than the interval {}; lower one or raise the other",
                format_duration(health.timeout), format_duration(health.interval));
  }
  return {};
}

}  // namespace culvert::origin
