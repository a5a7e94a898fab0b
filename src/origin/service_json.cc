#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json/value.hpp>

#include "base/ascii.h"
#include "base/json.h"
#include "base/text.h"
#include "base/values.h"
#include "origin/service_parts.h"
#include "origin/service_text.h"

namespace culvert::origin {
namespace {

namespace json = boost::json;

// Of the times of a check: less would load an origin like clients do, more would say nothing of its state
// now.
constexpr Duration kLeastInterval = std::chrono::milliseconds(100);
constexpr std::chrono::days kMostInterval{1};
constexpr int kMostThreshold = 100;

Result<route::TlsMode> read_tls_mode(std::string_view text) {
  auto mode = route::parse_tls_mode(text);
  if (!mode) {
    return fail(ErrorCode::kInvalid, "{} is unknown; use \"passthrough\" or \"terminate\"", quoted(text));
  }
  return *mode;
}

// A member that must be a string.
Result<std::string_view> text_of(const json::object& entry, const char* name, const char* example) {
  const json::value* member = entry.if_contains(name);
  if (member == nullptr) return fail(ErrorCode::kInvalid, "{} is missing; give e.g. \"{}\"", name, example);
  if (!member->is_string())
    return fail(ErrorCode::kInvalid, "{} must be a string, e.g. \"{}\"", name, example);
  return member->get_string();
}

// A member that may be missing, and must be a string otherwise.
Result<std::string> optional_text_of(const json::object& entry, const char* name, const char* example) {
  if (!entry.contains(name)) return std::string();
  auto text = text_of(entry, name, example);
  if (!text) return std::unexpected(text.error());
  if (text->empty())
    return fail(ErrorCode::kInvalid, "{} is empty; give e.g. \"{}\", or leave it out", name, example);
  return std::string(*text);
}

// Of every service, behind its own.
std::vector<std::string_view> with_common_members(std::vector<std::string_view> own) {
  own.insert(own.end(), {"origin", "proxy_protocol", "origin_server_name", "origin_tls", "origin_ca_file",
                         "origin_cert_file", "origin_key_file", "health"});
  return own;
}

Result<> check_members(const json::object& entry, const std::vector<std::string_view>& allowed) {
  for (const auto& member : entry) {
    const std::string_view key = member.key();
    if (std::ranges::find(allowed, key) == allowed.end()) {
      return fail(ErrorCode::kInvalid, "member {} is unknown; allowed are {}", quoted(key),
                  fmt::join(allowed, ", "));
    }
  }
  return {};
}

Result<std::optional<OriginTls>> read_origin_tls(const json::object& entry, tunnel::StreamKind kind) {
  auto name = optional_text_of(entry, "origin_server_name", "app.internal");
  if (!name) return std::unexpected(name.error());
  OriginTls tls{.server_name = to_lower(*name)};
  auto policy = optional_text_of(entry, "origin_tls", "verify");
  if (!policy) return std::unexpected(policy.error());
  for (const auto& [member, file] : {std::pair{"origin_ca_file", &tls.ca_file},
                                     {"origin_cert_file", &tls.cert_file},
                                     {"origin_key_file", &tls.key_file}}) {
    auto text = optional_text_of(entry, member, "/etc/culvert/origin.pem");
    if (!text) return std::unexpected(text.error());
    *file = std::move(*text);
  }
  if (tls.server_name.empty()) {
    for (const char* member : {"origin_tls", "origin_ca_file", "origin_cert_file", "origin_key_file"}) {
      if (!entry.contains(member)) continue;
      if (auto has_tls = check_has_tls(kind); !has_tls)
        return fail(ErrorCode::kInvalid, "{}: {}", member, has_tls.error().message);
      return fail(ErrorCode::kInvalid,
                  "{} is for TLS to the origin; give origin_server_name as well, the name of its certificate",
                  member);
    }
    return std::nullopt;
  }
  auto fits = check_origin_tls(tls, kind);
  if (!fits) return fail(ErrorCode::kInvalid, "origin_server_name: {}", fits.error().message);
  tls.is_insecure = *policy == "insecure";
  if (!policy->empty() && *policy != "verify" && *policy != "insecure") {
    return fail(ErrorCode::kInvalid, "origin_tls: {} is unknown; use \"verify\" or \"insecure\"",
                quoted(*policy));
  }
  if (tls.is_insecure && !tls.ca_file.empty()) {
    return fail(
        ErrorCode::kInvalid,
        "origin_tls: \"insecure\" checks no certificate, so origin_ca_file has no use; remove one of them");
  }
  if (tls.cert_file.empty() != tls.key_file.empty())
    return fail(ErrorCode::kInvalid, "origin_cert_file and origin_key_file belong together; give both");
  return tls;
}

// Changes `into` where there is such a member.
Result<> read_duration(const json::object& object, const char* name, Duration& into) {
  auto text = optional_text_of(object, name, "10s");
  if (!text) return std::unexpected(text.error());
  if (text->empty()) return {};
  auto duration = parse_duration(*text, kMostInterval);
  if (!duration) return fail(ErrorCode::kInvalid, "{}: {}", name, duration.error().message);
  if (*duration < kLeastInterval) {
    return fail(ErrorCode::kInvalid, "{}: {} is too short (expected {} or more)", name, *text,
                format_duration(kLeastInterval));
  }
  into = *duration;
  return {};
}

Result<> read_threshold(const json::object& object, const char* name, int& into) {
  const json::value* member = object.if_contains(name);
  if (member == nullptr) return {};
  const int64_t number = member->is_int64() ? member->as_int64() : 0;
  if (number < 1 || number > kMostThreshold)
    return fail(ErrorCode::kInvalid, "{} must be a number from 1 to {}", name, kMostThreshold);
  into = static_cast<int>(number);
  return {};
}

// "tcp", "tls", "http", a path, or an object with the member "check" and others.
Result<HealthCheck> read_health(const json::value& value) {
  if (value.is_string()) return parse_health(value.get_string());
  const json::object* object = value.if_object();
  if (object == nullptr) {
    return fail(ErrorCode::kInvalid,
                "must be a string like \"/healthz\", or an object like {{\"check\": \"http\", \"path\": "
                "\"/healthz\"}}");
  }
  auto known = check_members(*object, {"check", "path", "interval", "timeout", "fall", "rise"});
  if (!known) return std::unexpected(known.error());
  auto check = text_of(*object, "check", "http");
  if (!check) return std::unexpected(check.error());
  auto health = parse_health(*check);
  if (!health) return fail(ErrorCode::kInvalid, "check: {}", health.error().message);
  auto path = optional_text_of(*object, "path", "/healthz");
  if (!path) return std::unexpected(path.error());
  if (!path->empty() && health->kind != HealthCheck::Kind::kHttp)
    return fail(ErrorCode::kInvalid, "path is for the check \"http\"; remove it, or use that");
  if (!path->empty()) health->path = std::move(*path);
  auto interval = read_duration(*object, "interval", health->interval);
  if (!interval) return std::unexpected(interval.error());
  health->timeout = std::min(health->timeout, health->interval);
  auto timeout = read_duration(*object, "timeout", health->timeout);
  if (!timeout) return std::unexpected(timeout.error());
  auto fall = read_threshold(*object, "fall", health->fall);
  if (!fall) return std::unexpected(fall.error());
  auto rise = read_threshold(*object, "rise", health->rise);
  if (!rise) return std::unexpected(rise.error());
  return health;
}

Result<hubapi::DeclaredService> read_web(const json::object& entry) {
  auto known = check_members(entry, with_common_members({"hostname", "tls_mode", "http_origin"}));
  if (!known) return std::unexpected(known.error());
  auto hostname_text = text_of(entry, "hostname", "app.example.com");
  if (!hostname_text) return std::unexpected(hostname_text.error());
  auto hostname = route::HostPattern::parse(*hostname_text);
  if (!hostname) return fail(ErrorCode::kInvalid, "hostname: {}", hostname.error().message);
  auto mode = route::TlsMode::kPassthrough;
  if (const json::value* member = entry.if_contains("tls_mode")) {
    const json::object* object = member->if_object();
    const json::value* text = member;
    if (object != nullptr) text = object->size() == 1 ? object->if_contains("mode") : nullptr;
    if (text == nullptr || !text->is_string()) {
      return fail(ErrorCode::kInvalid,
                  "tls_mode must be \"passthrough\", \"terminate\" or {{\"mode\": one of them}}");
    }
    auto parsed = read_tls_mode(text->get_string());
    if (!parsed) return fail(ErrorCode::kInvalid, "tls_mode: {}", parsed.error().message);
    mode = *parsed;
  }
  return hubapi::DeclaredService{std::move(*hostname), mode};
}

Result<hubapi::DeclaredPort> read_port(const json::object& entry) {
  auto known = check_members(entry, with_common_members({"protocol", "name", "listen_port", "origin_ports"}));
  if (!known) return std::unexpected(known.error());
  auto protocol = text_of(entry, "protocol", "tcp");
  if (!protocol) return std::unexpected(protocol.error());
  const auto known_protocol = route::parse_port_protocol(*protocol);
  if (!known_protocol) {
    return fail(ErrorCode::kInvalid, "protocol: {} is unknown; a service with a port has \"tcp\" or \"udp\"",
                quoted(*protocol));
  }
  auto name = text_of(entry, "name", "ssh");
  if (!name) return std::unexpected(name.error());
  if (auto good = route::check_service_name(*name); !good)
    return fail(ErrorCode::kInvalid, "name: {}", good.error().message);
  hubapi::DeclaredPort port{*known_protocol, std::string(*name)};
  const json::value* member = entry.if_contains("listen_port");
  if (member != nullptr && member->is_string() && std::string_view(member->get_string()).contains('-')) {
    auto with_port = parse_listen_port(std::move(port), member->get_string());
    if (!with_port) return fail(ErrorCode::kInvalid, "listen_port: {}", with_port.error().message);
    return with_port;
  }
  if (member != nullptr) {
    const auto number = member->is_int64() ? member->as_int64() : -1;
    if (number < 0 || number > UINT16_MAX)
      return fail(ErrorCode::kInvalid,
                  "listen_port must be a port from 1 to 65535, or 0 for one that the hub picks, or of a UDP "
                  "service a range like \"40000-40100\"");
    port.listen_port = static_cast<uint16_t>(number);
  }
  return port;
}

Result<std::variant<hubapi::DeclaredService, hubapi::DeclaredPort>> read_face(const json::object& entry) {
  if (entry.contains("protocol")) return read_port(entry);
  return read_web(entry);
}

// One entry of the JSON array; errors name the member only.
Result<Service> read_entry(const json::value& value) {
  const json::object* entry = value.if_object();
  if (entry == nullptr) {
    return fail(ErrorCode::kInvalid,
                "must be an object like {{\"hostname\":\"app.example.com\",\"origin\":\"localhost:3000\"}}");
  }
  auto face = read_face(*entry);
  if (!face) return std::unexpected(face.error());
  auto origin_member = text_of(*entry, "origin", "localhost:3000");
  if (!origin_member) return std::unexpected(origin_member.error());
  auto origin = Origin::parse(*origin_member);
  if (!origin) return fail(ErrorCode::kInvalid, "origin: {}", origin.error().message);
  Service service{.face = std::move(*face), .origin = std::move(*origin), .proxy_protocol = false};
  if (auto fits = check_place(service.origin, service.kind()); !fits)
    return fail(ErrorCode::kInvalid, "origin: {}", fits.error().message);
  auto origin_ports = optional_text_of(*entry, "origin_ports", "one");
  if (!origin_ports) return std::unexpected(origin_ports.error());
  if (!origin_ports->empty()) {
    auto parsed = parse_origin_ports(*origin_ports, service);
    if (!parsed) return fail(ErrorCode::kInvalid, "origin_ports: {}", parsed.error().message);
    service.has_one_origin_port = *parsed;
  }
  if (auto fits = check_origin_ports(service); !fits)
    return fail(ErrorCode::kInvalid, "origin: {}", fits.error().message);
  auto tls = read_origin_tls(*entry, service.kind());
  if (!tls) return std::unexpected(tls.error());
  service.origin.tls = std::move(*tls);
  service.proxy_protocol = default_proxy_protocol(service.kind());
  if (const json::value* member = entry->if_contains("proxy_protocol")) {
    if (!member->is_string()) return fail(ErrorCode::kInvalid, "proxy_protocol must be \"v2\" or \"none\"");
    auto parsed = parse_proxy_protocol(member->get_string());
    if (!parsed) return fail(ErrorCode::kInvalid, "proxy_protocol: {}", parsed.error().message);
    service.proxy_protocol = *parsed;
  }
  auto http_origin = optional_text_of(*entry, "http_origin", "localhost:80");
  if (!http_origin) return std::unexpected(http_origin.error());
  service.http_origin = default_http_origin(service);
  if (!http_origin->empty()) {
    auto parsed = parse_http_origin(*http_origin, service.kind());
    if (!parsed) return fail(ErrorCode::kInvalid, "http_origin: {}", parsed.error().message);
    service.http_origin = std::move(*parsed);
  }
  if (const json::value* member = entry->if_contains("health")) {
    auto health = read_health(*member);
    if (!health) return fail(ErrorCode::kInvalid, "health: {}", health.error().message);
    auto fits = check_health(*health, service);
    if (!fits) return fail(ErrorCode::kInvalid, "health: {}", fits.error().message);
    service.health = std::move(*health);
  }
  return service;
}

}  // namespace

Result<std::vector<Service>> parse_services(std::string_view text) {
  auto document = parse_json("services", text);
  if (!document) return std::unexpected(document.error());
  const json::array* entries = document->if_array();
  if (entries == nullptr) {
    return fail(ErrorCode::kInvalid,
                "services must be a JSON array like "
                "[{{\"hostname\":\"app.example.com\",\"origin\":\"localhost:3000\"}}]");
  }
  std::vector<Service> services;
  for (const json::value& entry : *entries) {
    auto service = read_entry(entry);
    if (!service) {
      return fail(ErrorCode::kInvalid, "service {}: {}", services.size() + 1, service.error().message);
    }
    services.push_back(std::move(*service));
  }
  auto valid = check_services(services);
  if (!valid) return std::unexpected(valid.error());
  return services;
}

}  // namespace culvert::origin
