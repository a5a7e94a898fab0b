#pragma once
#include <optional>
#include <string_view>

#include "origin/service.h"

// What the JSON and the short forms of a service have in common.
namespace culvert::origin {

// "v2": true, "none": false.
Result<bool> parse_proxy_protocol(std::string_view text);
// What TLS passthrough needs for the client's address to be known; the others would not expect it.
bool default_proxy_protocol(tunnel::StreamKind kind);
// kInvalid: the clients of a service of this kind cannot be served by an origin there.
Result<> check_place(const Origin& origin, tunnel::StreamKind kind);
// "2222", or of a UDP service "40000-40100". kInvalid: also 0.
Result<hubapi::DeclaredPort> parse_listen_port(hubapi::DeclaredPort port, std::string_view text);
// Of a service with a range of ports; "each": false, "one": true.
Result<bool> parse_origin_ports(std::string_view text, const Service& service);
// kInvalid: the ports of the origin that belong to its range are not all ports.
Result<> check_origin_ports(const Service& service);
// kInvalid: of a service of this kind nothing speaks TLS with the origin.
Result<> check_has_tls(tunnel::StreamKind kind);
// As check_has_tls(); or nothing does with such a name.
Result<> check_origin_tls(const OriginTls& tls, tunnel::StreamKind kind);
// Port 80 of the origin's host for a passthrough service, which is where it answers challenges by itself;
// nullopt: the origin is a unix socket, or the service has no use for one.
std::optional<Origin> default_http_origin(const Service& service);
// An origin in plain HTTP, or "none". kInvalid: also for a service that is not passed through.
Result<std::optional<Origin>> parse_http_origin(std::string_view text, tunnel::StreamKind kind);
// "tcp", "tls", "http" with the path "/", or a path like "/healthz".
Result<HealthCheck> parse_health(std::string_view text);
// kInvalid: of such a service the origin cannot be asked in this way. `service` is complete otherwise.
Result<> check_health(const HealthCheck& health, const Service& service);

}  // namespace culvert::origin
