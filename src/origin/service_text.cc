#include "origin/service_text.h"

#include <utility>

#include "base/ascii.h"
#include "base/text.h"
#include "base/whole_number.h"
#include "origin/service_parts.h"

namespace culvert::origin {
namespace {

// "NAME=ORIGIN[,OPTION]...", as the short forms have it.
struct ShortForm {
  std::string_view name;
  Origin origin;
  std::vector<std::string_view> options;
};
Result<ShortForm> split_short_form(std::string_view text, std::string_view example) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos)
    return fail(ErrorCode::kInvalid, "{} has no '='; give {}", quoted(text), example);
  ShortForm form{.name = text.substr(0, equals), .origin = {}, .options = {}};
  std::string_view rest = text.substr(equals + 1);
  size_t comma = rest.find(',');
  auto origin = Origin::parse(rest.substr(0, comma));
  if (!origin) return std::unexpected(origin.error());
  form.origin = std::move(*origin);
  while (comma != std::string_view::npos) {
    rest.remove_prefix(comma + 1);
    comma = rest.find(',');
    form.options.push_back(rest.substr(0, comma));
  }
  return form;
}

constexpr std::string_view kUdpOptions =
    ",proxy=v2 or ,proxy=none, and with a range of ports ,origin-ports=one";
constexpr std::string_view kOriginOptions =
    ",proxy=v2 or ,proxy=none, ,tls=NAME and ,insecure, ,http=HOST:PORT or ,http=none, and ,health=/PATH";

constexpr std::string_view kRouteOptions =
    ",proxy=v2 or ,proxy=none, ,tls=NAME and ,insecure, ,health=/PATH, ,priority=N and ,weight=N";

// Of an option "KEY=VALUE" the value; nullopt: it is another.
std::optional<std::string_view> value_of(std::string_view option, std::string_view key) {
  if (!option.starts_with(key)) return std::nullopt;
  return option.substr(key.size());
}

// What a static route asks for among those of its name.
class ShareOptions {
 public:
  // False: the option is another, or given twice.
  Result<bool> take(std::string_view option) {
    if (const auto value = value_of(option, "priority="); value && !priority_) {
      return store(priority_, "priority", *value, 0, route::Share::kMaxPriority);
    }
    if (const auto value = value_of(option, "weight="); value && !weight_) {
      return store(weight_, "weight", *value, 1, route::Share::kMaxWeight);
    }
    return false;
  }
  route::Share share() const {
    const route::Share usual;
    return {.priority = priority_.value_or(usual.priority), .weight = weight_.value_or(usual.weight)};
  }

 private:
  static Result<bool> store(std::optional<uint32_t>& member, std::string_view name, std::string_view text,
                            uint32_t least, uint32_t most) {
    const auto number = whole_number<uint32_t>(text);
    if (!number || *number < least || *number > most)
      return fail(ErrorCode::kInvalid, "{}: {} is not a number from {} to {}", name, quoted(text), least,
                  most);
    member = *number;
    return true;
  }

  std::optional<uint32_t> priority_, weight_;
};

// The options of all short forms.
class OriginOptions {
 public:
  // False: the option is another, or given twice.
  Result<bool> take(std::string_view option) {
    if (const auto value = value_of(option, "proxy="); value && !proxy_protocol_) {
      auto parsed = parse_proxy_protocol(*value);
      if (!parsed) return fail(ErrorCode::kInvalid, "proxy: {}", parsed.error().message);
      proxy_protocol_ = *parsed;
      return true;
    }
    if (const auto value = value_of(option, "tls="); value && server_name_.empty()) {
      server_name_ = to_lower(*value);
      if (server_name_.empty())
        return fail(ErrorCode::kInvalid, "tls: there is no name; give e.g. tls=app.internal");
      return true;
    }
    if (const auto value = value_of(option, "http="); value && !http_origin_) {
      http_origin_ = *value;
      return true;
    }
    if (const auto value = value_of(option, "health="); value && !health_) {
      auto parsed = parse_health(*value);
      if (!parsed) return fail(ErrorCode::kInvalid, "health: {}", parsed.error().message);
      health_ = std::move(*parsed);
      return true;
    }
    if (option == "insecure") return !std::exchange(is_insecure_, true);
    return false;
  }
  Result<> apply(Service& service) const {
    service.proxy_protocol = proxy_protocol_.value_or(default_proxy_protocol(service.kind()));
    if (server_name_.empty() && is_insecure_) {
      if (auto has_tls = check_has_tls(service.kind()); !has_tls)
        return fail(ErrorCode::kInvalid, "insecure: {}", has_tls.error().message);
      return fail(ErrorCode::kInvalid, "insecure is for TLS to the origin; give ,tls=NAME as well");
    }
    if (!server_name_.empty()) {
      service.origin.tls = OriginTls{.server_name = server_name_, .is_insecure = is_insecure_};
      auto fits = check_origin_tls(*service.origin.tls, service.kind());
      if (!fits) return fail(ErrorCode::kInvalid, "tls: {}", fits.error().message);
    }
    service.http_origin = default_http_origin(service);
    if (http_origin_) {
      auto parsed = parse_http_origin(*http_origin_, service.kind());
      if (!parsed) return fail(ErrorCode::kInvalid, "http: {}", parsed.error().message);
      service.http_origin = std::move(*parsed);
    }
    if (!health_) return {};
    service.health = health_;
    auto fits = check_health(*health_, service);
    if (!fits) return fail(ErrorCode::kInvalid, "health: {}", fits.error().message);
    return {};
  }

 private:
  std::optional<bool> proxy_protocol_;
  std::string server_name_;
  bool is_insecure_ = false;
  std::optional<HealthCheck> health_;
  std::optional<std::string> http_origin_;
};

}  // namespace

Result<Service> parse_service(std::string_view text) {
  auto form = split_short_form(text, "hostname=origin, e.g. app.example.com=localhost:3000");
  if (!form) return std::unexpected(form.error());
  auto hostname = route::HostPattern::parse(form->name);
  if (!hostname) return std::unexpected(hostname.error());
  std::optional<route::TlsMode> mode;
  OriginOptions options;
  for (const std::string_view option : form->options) {
    auto is_taken = options.take(option);
    if (!is_taken) return std::unexpected(is_taken.error());
    if (*is_taken) continue;
    const auto named_mode = route::parse_tls_mode(option);
    if (!named_mode || mode) {
      return fail(ErrorCode::kInvalid,
                  "{} is unknown or given twice; after the origin may follow ,terminate or ,passthrough, {}",
                  quoted(option), kOriginOptions);
    }
    mode = named_mode;
  }
  Service service{
      .face = hubapi::DeclaredService{std::move(*hostname), mode.value_or(route::TlsMode::kPassthrough)},
      .origin = std::move(form->origin),
      .proxy_protocol = false};
  auto applied = options.apply(service);
  if (!applied) return std::unexpected(applied.error());
  return service;
}

Result<Service> parse_port_service(route::PortProtocol protocol, std::string_view text) {
  const bool is_tcp = protocol == route::PortProtocol::kTcp;
  auto form = split_short_form(text, is_tcp ? "name=origin, e.g. ssh=localhost:22,port=2222"
                                            : "name=host:port, e.g. dns=localhost:53,port=53");
  if (!form) return std::unexpected(form.error());
  if (auto good = route::check_service_name(form->name); !good) return std::unexpected(good.error());
  hubapi::DeclaredPort port{protocol, std::string(form->name)};
  std::optional<std::string_view> origin_ports;
  OriginOptions options;
  for (const std::string_view option : form->options) {
    auto is_taken = options.take(option);
    if (!is_taken) return std::unexpected(is_taken.error());
    if (*is_taken) continue;
    constexpr std::string_view kPort = "port=";
    constexpr std::string_view kOriginPorts = "origin-ports=";
    if (option.starts_with(kOriginPorts) && !is_tcp && !origin_ports) {
      origin_ports = option.substr(kOriginPorts.size());
      continue;
    }
    if (!option.starts_with(kPort) || port.listen_port != 0) {
      return fail(ErrorCode::kInvalid,
                  "{} is unknown or given twice; after the origin may follow ,port=2222, {}", quoted(option),
                  is_tcp ? kOriginOptions : kUdpOptions);
    }
    auto with_port = parse_listen_port(std::move(port), option.substr(kPort.size()));
    if (!with_port) return fail(ErrorCode::kInvalid, "port: {}", with_port.error().message);
    port = std::move(*with_port);
  }
  Service service{.face = std::move(port), .origin = std::move(form->origin), .proxy_protocol = false};
  if (auto fits = check_place(service.origin, service.kind()); !fits) return std::unexpected(fits.error());
  if (origin_ports) {
    auto parsed = parse_origin_ports(*origin_ports, service);
    if (!parsed) return fail(ErrorCode::kInvalid, "origin-ports: {}", parsed.error().message);
    service.has_one_origin_port = *parsed;
  }
  if (auto fits = check_origin_ports(service); !fits) return std::unexpected(fits.error());
  auto applied = options.apply(service);
  if (!applied) return std::unexpected(applied.error());
  return service;
}

Result<RouteText> parse_route(std::string_view text) {
  constexpr std::string_view kExample =
      "hostname=origin or tcp/port=origin, e.g. app.example.com=127.0.0.1:3000 or tcp/2222=127.0.0.1:22";
  auto form = split_short_form(text, kExample);
  if (!form) return std::unexpected(form.error());
  auto match = route::Match::parse(form->name);
  if (!match) return std::unexpected(match.error());
  const route::PublicPort* port = match->port();
  if (port != nullptr && port->protocol == route::PortProtocol::kUdp) {
    return fail(ErrorCode::kInvalid,
                "{} is a UDP port, which has no static route; run an agent beside the origin, with e.g. "
                "--udp-service dns={},port={}",
                port->text(), form->origin.to_string(), port->number);
  }
  RouteText route{.service = {.face = hubapi::DeclaredPort{},
                              .origin = std::move(form->origin),
                              .proxy_protocol = false}};
  std::optional<route::TlsMode> mode;
  OriginOptions options;
  ShareOptions share;
  for (const std::string_view option : form->options) {
    auto is_taken = share.take(option);
    if (is_taken && !*is_taken) is_taken = options.take(option);
    if (!is_taken) return std::unexpected(is_taken.error());
    if (*is_taken) continue;
    const auto named_mode = route::parse_tls_mode(option);
    if (port != nullptr || !named_mode || mode) {
      return fail(ErrorCode::kInvalid, "{} is unknown or given twice; after the origin may follow {}{}",
                  quoted(option), port == nullptr ? ",terminate or ,passthrough, " : "", kRouteOptions);
    }
    mode = named_mode;
  }
  if (port != nullptr) {
    route.service.face = hubapi::DeclaredPort{port->protocol, std::to_string(port->number), port->number};
  } else {
    route.service.face =
        hubapi::DeclaredService{*match->hostname(), mode.value_or(route::TlsMode::kPassthrough)};
  }
  auto applied = options.apply(route.service);
  if (!applied) return std::unexpected(applied.error());
  route.share = share.share();
  return route;
}

}  // namespace culvert::origin
