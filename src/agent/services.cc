#include "agent/services.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json/value.hpp>
#include <initializer_list>
#include <map>
#include <unordered_set>

#include "agent/verdict.h"
#include "base/host_port.h"
#include "base/json.h"
#include "base/text.h"
#include "base/whole_number.h"

namespace culvert::agent {
namespace {

namespace json = boost::json;

// What TLS passthrough needs for the client's address to be known; the others would not expect it.
bool default_proxy_protocol(tunnel::StreamKind kind) { return kind == tunnel::StreamKind::kPassthrough; }

Result<bool> parse_proxy_protocol(std::string_view text) {
  if (text == "v2") return true;
  if (text == "none") return false;
  return fail(ErrorCode::kInvalid, "{} is unknown; use \"v2\" or \"none\"", quoted(text));
}

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

Result<> check_members(const json::object& entry, std::initializer_list<std::string_view> allowed) {
  for (const auto& member : entry) {
    const std::string_view key = member.key();
    if (std::ranges::find(allowed, key) == allowed.end()) {
      return fail(ErrorCode::kInvalid, "member {} is unknown; allowed are {}", quoted(key),
                  fmt::join(allowed, ", "));
    }
  }
  return {};
}

Result<hubapi::DeclaredService> read_web(const json::object& entry) {
  auto known = check_members(entry, {"hostname", "origin", "tls_mode", "proxy_protocol"});
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
  auto known = check_members(entry, {"protocol", "name", "origin", "listen_port", "proxy_protocol"});
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
  if (const json::value* member = entry.if_contains("listen_port")) {
    const auto number = member->is_int64() ? member->as_int64() : -1;
    if (number < 0 || number > UINT16_MAX)
      return fail(ErrorCode::kInvalid,
                  "listen_port must be a port from 1 to 65535, or 0 for one that the hub picks");
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
  auto origin = parse_host_port(*origin_member);
  if (!origin) return fail(ErrorCode::kInvalid, "origin: {}", origin.error().message);
  Service service{.face = std::move(*face),
                  .origin_host = std::move(origin->host),
                  .origin_port = origin->port,
                  .proxy_protocol = false};
  service.proxy_protocol = default_proxy_protocol(service.kind());
  if (const json::value* member = entry->if_contains("proxy_protocol")) {
    if (!member->is_string()) return fail(ErrorCode::kInvalid, "proxy_protocol must be \"v2\" or \"none\"");
    auto parsed = parse_proxy_protocol(member->get_string());
    if (!parsed) return fail(ErrorCode::kInvalid, "proxy_protocol: {}", parsed.error().message);
    service.proxy_protocol = *parsed;
  }
  return service;
}

// "NAME=HOST:PORT[,OPTION]...", as the short forms have it.
struct ShortForm {
  std::string_view name;
  HostPort origin;
  std::vector<std::string_view> options;
};
Result<ShortForm> split_short_form(std::string_view text, std::string_view example) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos)
    return fail(ErrorCode::kInvalid, "{} has no '='; give {}", quoted(text), example);
  ShortForm form{.name = text.substr(0, equals), .origin = {}, .options = {}};
  std::string_view rest = text.substr(equals + 1);
  size_t comma = rest.find(',');
  auto origin = parse_host_port(rest.substr(0, comma));
  if (!origin) return std::unexpected(origin.error());
  form.origin = std::move(*origin);
  while (comma != std::string_view::npos) {
    rest.remove_prefix(comma + 1);
    comma = rest.find(',');
    form.options.push_back(rest.substr(0, comma));
  }
  return form;
}

// Takes "proxy=v2"; false: the option is another.
Result<bool> take_proxy_protocol(std::string_view option, std::optional<bool>& proxy_protocol) {
  constexpr std::string_view kKey = "proxy=";
  if (!option.starts_with(kKey) || proxy_protocol) return false;
  auto parsed = parse_proxy_protocol(option.substr(kKey.size()));
  if (!parsed) return fail(ErrorCode::kInvalid, "proxy: {}", parsed.error().message);
  proxy_protocol = *parsed;
  return true;
}

}  // namespace

std::string origin_text(const Service& service) {
  return HostPort{service.origin_host, service.origin_port}.to_string();
}

std::string Service::name() const {
  return port() != nullptr ? port_service_name(port()->protocol, port()->name) : web()->hostname.text();
}

tunnel::StreamKind Service::kind() const {
  if (port() == nullptr) return tunnel::kind_of(web()->tls_mode);
  return port()->protocol == route::PortProtocol::kTcp ? tunnel::StreamKind::kTcpPort
                                                       : tunnel::StreamKind::kUdpPort;
}

Result<Service> parse_service(std::string_view text) {
  auto form = split_short_form(text, "hostname=host:port, e.g. app.example.com=localhost:3000");
  if (!form) return std::unexpected(form.error());
  auto hostname = route::HostPattern::parse(form->name);
  if (!hostname) return std::unexpected(hostname.error());
  std::optional<route::TlsMode> mode;
  std::optional<bool> proxy_protocol;
  for (const std::string_view option : form->options) {
    auto is_taken = take_proxy_protocol(option, proxy_protocol);
    if (!is_taken) return std::unexpected(is_taken.error());
    if (*is_taken) continue;
    const auto named_mode = route::parse_tls_mode(option);
    if (!named_mode || mode) {
      return fail(ErrorCode::kInvalid,
                  "{} is unknown or given twice; after the origin may follow ,terminate or ,passthrough and "
                  ",proxy=v2 or ,proxy=none",
                  quoted(option));
    }
    mode = named_mode;
  }
  Service service{
      .face = hubapi::DeclaredService{std::move(*hostname), mode.value_or(route::TlsMode::kPassthrough)},
      .origin_host = std::move(form->origin.host),
      .origin_port = form->origin.port,
      .proxy_protocol = false};
  service.proxy_protocol = proxy_protocol.value_or(default_proxy_protocol(service.kind()));
  return service;
}

Result<Service> parse_port_service(route::PortProtocol protocol, std::string_view text) {
  const bool is_tcp = protocol == route::PortProtocol::kTcp;
  auto form = split_short_form(text, is_tcp ? "name=host:port, e.g. ssh=localhost:22,port=2222"
                                            : "name=host:port, e.g. dns=localhost:53,port=53");
  if (!form) return std::unexpected(form.error());
  if (auto good = route::check_service_name(form->name); !good) return std::unexpected(good.error());
  hubapi::DeclaredPort port{protocol, std::string(form->name)};
  std::optional<bool> proxy_protocol;
  for (const std::string_view option : form->options) {
    auto is_taken = take_proxy_protocol(option, proxy_protocol);
    if (!is_taken) return std::unexpected(is_taken.error());
    if (*is_taken) continue;
    constexpr std::string_view kPort = "port=";
    if (!option.starts_with(kPort) || port.listen_port != 0) {
      return fail(ErrorCode::kInvalid,
                  "{} is unknown or given twice; after the origin may follow ,port=2222 and ,proxy=v2 or "
                  ",proxy=none",
                  quoted(option));
    }
    const auto number = whole_number<uint16_t>(option.substr(kPort.size()));
    if (!number || *number == 0) {
      return fail(ErrorCode::kInvalid,
                  "port: {} is not a port from 1 to 65535; leave it out for one that the hub picks",
                  quoted(option.substr(kPort.size())));
    }
    port.listen_port = *number;
  }
  return Service{.face = std::move(port),
                 .origin_host = std::move(form->origin.host),
                 .origin_port = form->origin.port,
                 .proxy_protocol = proxy_protocol.value_or(false)};
}

Result<> check_services(const std::vector<Service>& services) {
  std::unordered_set<std::string> seen;
  std::map<route::PublicPort, std::string> ports;
  std::vector<hubapi::DeclaredService> web;
  std::vector<hubapi::DeclaredPort> with_ports;
  for (const Service& service : services) {
    const std::string name = service.name();
    if (!seen.insert(name).second) {
      return fail(ErrorCode::kInvalid, "{} {} is given twice; keep one service for it",
                  service.web() != nullptr ? "hostname" : "service", name);
    }
    if (const auto* port = service.port()) {
      const auto [other, is_first] = ports.try_emplace({port->protocol, port->listen_port}, name);
      if (!is_first && port->listen_port != 0) {
        return fail(ErrorCode::kInvalid, "port {} is given to {} and to {}; each needs one of its own",
                    port->listen_port, other->second, name);
      }
      with_ports.push_back(*port);
    } else {
      web.push_back(*service.web());
    }
  }
  return hubapi::check_size(web, with_ports);
}

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

ServiceTable::ServiceTable(const std::vector<Service>& services) {
  for (const Service& service : services) by_name_.emplace(service.name(), &service);
}

const Service* ServiceTable::match(std::string_view authority, tunnel::StreamKind kind) const {
  if (kind == tunnel::StreamKind::kTcpPort || kind == tunnel::StreamKind::kUdpPort) {
    const auto protocol =
        kind == tunnel::StreamKind::kTcpPort ? route::PortProtocol::kTcp : route::PortProtocol::kUdp;
    const auto found = by_name_.find(port_service_name(protocol, authority));
    return found == by_name_.end() ? nullptr : found->second;
  }
  auto found = by_name_.find(std::string(authority));
  if (found == by_name_.end()) {
    size_t dot = authority.find('.');
    if (dot == std::string_view::npos) return nullptr;
    found = by_name_.find(fmt::format("*{}", authority.substr(dot)));
  }
  if (found == by_name_.end() || found->second->kind() != kind) return nullptr;
  return found->second;
}

}  // namespace culvert::agent
