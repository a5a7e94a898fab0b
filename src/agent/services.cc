#include "agent/services.h"

#include <fmt/format.h>
#include <algorithm>
#include <boost/json/value.hpp>
#include <unordered_set>

#include "base/host_port.h"
#include "base/json.h"
#include "base/text.h"

namespace culvert::agent {
namespace {

namespace json = boost::json;

bool default_proxy_protocol(route::TlsMode mode) { return mode == route::TlsMode::kPassthrough; }

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

// One entry of the JSON array; errors name the member only.
Result<Service> read_entry(const json::value& value) {
  const json::object* entry = value.if_object();
  if (entry == nullptr) {
    return fail(ErrorCode::kInvalid,
                "must be an object like {{\"hostname\":\"app.example.com\",\"origin\":\"localhost:3000\"}}");
  }
  for (const auto& member : *entry) {
    const std::string_view key = member.key();
    if (key != "hostname" && key != "origin" && key != "tls_mode" && key != "proxy_protocol") {
      return fail(ErrorCode::kInvalid,
                  "member {} is unknown; allowed are hostname, origin, tls_mode, proxy_protocol",
                  quoted(key));
    }
  }

  auto required = [entry](const char* name, const char* example) -> Result<std::string_view> {
    const json::value* member = entry->if_contains(name);
    if (member == nullptr) return fail(ErrorCode::kInvalid, "{} is missing; give e.g. \"{}\"", name, example);
    if (!member->is_string())
      return fail(ErrorCode::kInvalid, "{} must be a string, e.g. \"{}\"", name, example);
    return member->get_string();
  };
  auto hostname_text = required("hostname", "app.example.com");
  if (!hostname_text) return std::unexpected(hostname_text.error());
  auto hostname = route::HostPattern::parse(*hostname_text);
  if (!hostname) return fail(ErrorCode::kInvalid, "hostname: {}", hostname.error().message);
  auto origin_member = required("origin", "localhost:3000");
  if (!origin_member) return std::unexpected(origin_member.error());
  auto origin = parse_host_port(*origin_member);
  if (!origin) return fail(ErrorCode::kInvalid, "origin: {}", origin.error().message);

  auto mode = route::TlsMode::kPassthrough;
  if (const json::value* member = entry->if_contains("tls_mode")) {
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
  bool proxy_protocol = default_proxy_protocol(mode);
  if (const json::value* member = entry->if_contains("proxy_protocol")) {
    if (!member->is_string()) return fail(ErrorCode::kInvalid, "proxy_protocol must be \"v2\" or \"none\"");
    auto parsed = parse_proxy_protocol(member->get_string());
    if (!parsed) return fail(ErrorCode::kInvalid, "proxy_protocol: {}", parsed.error().message);
    proxy_protocol = *parsed;
  }
  return Service{std::move(*hostname), std::move(origin->host), origin->port, mode, proxy_protocol};
}

}  // namespace

std::string origin_text(const Service& service) {
  return HostPort{service.origin_host, service.origin_port}.to_string();
}

Result<Service> parse_service(std::string_view text) {
  size_t equals = text.find('=');
  if (equals == std::string_view::npos) {
    return fail(ErrorCode::kInvalid,
                "{} has no '='; give hostname=host:port, e.g. app.example.com=localhost:3000", quoted(text));
  }
  auto hostname = route::HostPattern::parse(text.substr(0, equals));
  if (!hostname) return std::unexpected(hostname.error());
  std::string_view rest = text.substr(equals + 1);
  size_t comma = rest.find(',');
  auto origin = parse_host_port(rest.substr(0, comma));
  if (!origin) return std::unexpected(origin.error());

  std::optional<route::TlsMode> mode;
  std::optional<bool> proxy_protocol;
  while (comma != std::string_view::npos) {
    rest.remove_prefix(comma + 1);
    comma = rest.find(',');
    std::string_view part = rest.substr(0, comma);
    auto named_mode = route::parse_tls_mode(part);
    if (part.starts_with("proxy=") && !proxy_protocol) {
      auto parsed = parse_proxy_protocol(part.substr(6));
      if (!parsed) return fail(ErrorCode::kInvalid, "proxy: {}", parsed.error().message);
      proxy_protocol = *parsed;
    } else if (named_mode && !mode) {
      mode = named_mode;
    } else {
      return fail(ErrorCode::kInvalid,
                  "{} is unknown or given twice; after the origin may follow ,terminate or ,passthrough and "
                  ",proxy=v2 or ,proxy=none",
                  quoted(part));
    }
  }
  auto chosen = mode.value_or(route::TlsMode::kPassthrough);
  return Service{std::move(*hostname), std::move(origin->host), origin->port, chosen,
                 proxy_protocol.value_or(default_proxy_protocol(chosen))};
}

Result<> check_services(const std::vector<Service>& services) {
  std::unordered_set<std::string_view> seen;
  std::vector<hubapi::DeclaredService> declared;
  for (const Service& service : services) {
    if (!seen.insert(service.hostname.text()).second) {
      return fail(ErrorCode::kInvalid, "hostname {} is given twice; keep one service for it",
                  service.hostname.text());
    }
    declared.push_back({service.hostname, service.tls_mode});
  }
  return hubapi::check_size(declared);
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
  for (const Service& service : services) by_pattern_.emplace(service.hostname.text(), &service);
}

const Service* ServiceTable::match(std::string_view authority, route::TlsMode mode) const {
  auto found = by_pattern_.find(std::string(authority));
  if (found == by_pattern_.end()) {
    size_t dot = authority.find('.');
    if (dot == std::string_view::npos) return nullptr;
    found = by_pattern_.find(fmt::format("*{}", authority.substr(dot)));
  }
  if (found == by_pattern_.end() || found->second->tls_mode != mode) return nullptr;
  return found->second;
}

}  // namespace culvert::agent
