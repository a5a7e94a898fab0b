#include "hubapi/declaration.h"

#include <fmt/format.h>
#include <algorithm>
#include <boost/json/serialize.hpp>
#include <initializer_list>
#include <optional>

#include "base/encoding.h"
#include "base/json.h"
#include "base/text.h"

namespace culvert::hubapi {
namespace {

namespace json = boost::json;

// Renewing later than this would outlive any lease; sooner than a second would be a flood.
constexpr int64_t kMaxRenewSeconds = 24 * 3600;

template <class... Args>
std::unexpected<Error> invalid(fmt::format_string<Args...> format, Args&&... args) {
  return fail(ErrorCode::kInvalid, format, std::forward<Args>(args)...);
}

Result<DeclaredService> decode_service(const json::value& value, size_t index) {
  std::string what = fmt::format("the declaration's service {}", index + 1);
  if (!value.is_object()) return invalid("{} is not a JSON object", what);
  const json::object& object = value.get_object();
  if (auto known = refuse_unknown_members(what, object, {"hostname", "tls_mode"}); !known)
    return std::unexpected(known.error());
  JsonReader reader(what, object);
  std::string_view hostname = reader.text("hostname");
  std::string_view mode_text = reader.text("tls_mode");
  if (reader.error()) return std::unexpected(*reader.error());
  auto pattern = route::HostPattern::parse(hostname);
  if (!pattern) return invalid("{}: {}", what, pattern.error().message);
  auto mode = route::parse_tls_mode(mode_text);
  if (!mode)
    return invalid("{}: tls_mode {} is neither \"passthrough\" nor \"terminate\"", what,
                   culvert::quoted(mode_text));
  return DeclaredService{std::move(*pattern), *mode};
}

// Members of the declaration and of the answer.
constexpr std::string_view member_of(route::PortProtocol protocol) {
  return protocol == route::PortProtocol::kTcp ? "tcp_services" : "udp_services";
}
constexpr auto kPortProtocols = {route::PortProtocol::kTcp, route::PortProtocol::kUdp};

json::string_view json_text(std::string_view text) { return {text.data(), text.size()}; }

// The last port of a range, as `more_ports` has it; 0 where there is none.
uint16_t read_more_ports(JsonReader& reader, uint16_t listen_port) {
  if (!reader.has("last_port")) return 0;
  const int64_t last =
      reader.integer("last_port", listen_port + 1,
                     std::min<int64_t>(listen_port + route::PublicPort::kMostPorts - 1, UINT16_MAX));
  return reader.error() ? uint16_t{0} : static_cast<uint16_t>(last - listen_port);
}

// Appends those of one protocol.
Result<> decode_ports(route::PortProtocol protocol, const json::array& entries,
                      std::vector<DeclaredPort>& ports) {
  const size_t first = ports.size();
  for (const json::value& entry : entries) {
    const std::string what =
        fmt::format("the declaration's {} service {}", route::to_string(protocol), ports.size() - first + 1);
    if (!entry.is_object()) return invalid("{} is not a JSON object", what);
    const json::object& object = entry.get_object();
    if (auto known = refuse_unknown_members(what, object, {"name", "listen_port", "last_port"}); !known)
      return std::unexpected(known.error());
    JsonReader reader(what, object);
    DeclaredPort port{.protocol = protocol, .name = std::string(reader.text("name"))};
    if (reader.has("listen_port"))
      port.listen_port = static_cast<uint16_t>(reader.integer("listen_port", 0, UINT16_MAX));
    port.more_ports = read_more_ports(reader, port.listen_port);
    if (reader.error()) return std::unexpected(*reader.error());
    if (port.more_ports > 0 && port.listen_port == 0)
      return invalid("{}: last_port is for a range; give its first port as listen_port", what);
    if (port.more_ports > 0 && protocol != route::PortProtocol::kUdp)
      return invalid("{}: last_port is for UDP services; declare a service for each TCP port", what);
    if (auto good = route::check_service_name(port.name); !good)
      return invalid("{}: {}", what, good.error().message);
    for (size_t i = first; i < ports.size(); ++i) {
      if (ports[i].name == port.name)
        return invalid("the declaration has {} service {} twice", route::to_string(protocol),
                       culvert::quoted(port.name));
      if (port.listen_port == 0 || ports[i].listen_port == 0 || !ports[i].ports().overlaps(port.ports()))
        continue;
      return invalid("the declaration has {} port {} twice, for {} and {}", route::to_string(protocol),
                     std::max(port.listen_port, ports[i].listen_port), culvert::quoted(ports[i].name),
                     culvert::quoted(port.name));
    }
    ports.push_back(std::move(port));
  }
  return {};
}

// Appends those of one protocol.
void read_verdicts(route::PortProtocol protocol, const json::array& entries, std::vector<PortVerdict>& ports,
                   std::optional<Error>& error) {
  for (const json::value& entry : entries) {
    if (!entry.is_object()) {
      error = Error{ErrorCode::kInvalid, "the hub's answer: a service is not a JSON object"};
      return;
    }
    JsonReader reader("a service in the hub's answer", entry.get_object());
    PortVerdict verdict{.protocol = protocol,
                        .name = std::string(reader.text("name")),
                        .listen_port = static_cast<uint16_t>(reader.integer("listen_port", 0, UINT16_MAX)),
                        .accepted = reader.boolean("accepted")};
    verdict.more_ports = read_more_ports(reader, verdict.listen_port);
    if (!verdict.accepted) verdict.reason = reader.text("reason");
    if (reader.has("retry_after_secs"))
      verdict.retry_after = std::chrono::seconds(reader.integer("retry_after_secs", 1, kMaxRenewSeconds));
    if (reader.has("others")) verdict.others = static_cast<size_t>(reader.integer("others", 0, INT32_MAX));
    if (reader.error()) {
      error = reader.error();
      return;
    }
    ports.push_back(std::move(verdict));
  }
}

}  // namespace

Result<> check_size(const std::vector<DeclaredService>& services, const std::vector<DeclaredPort>& ports) {
  const size_t count = services.size() + ports.size();
  if (count > kMaxServices) {
    return invalid("there are {} services, and one agent may declare {} at most; run several agents", count,
                   kMaxServices);
  }
  // Ids have one length.
  const EndpointId some_id = SecretKey::from_seed(Bytes(SecretKey::kSize, 1)).value().public_key();
  const size_t bytes = encode(Declaration{{}, {}, some_id, services, ports}).size();
  if (bytes > kMaxDeclarationBytes) {
    return invalid(
        "the declaration of {} services is {} bytes long, and {} are allowed; run several agents, or use "
        "shorter names",
        count, bytes, kMaxDeclarationBytes);
  }
  return {};
}

std::string encode(const Declaration& declaration) {
  json::array services;
  for (const DeclaredService& service : declaration.services) {
    services.push_back(
        json::object{{"hostname", service.hostname.text()}, {"tls_mode", to_string(service.tls_mode)}});
  }
  json::object body{{"protocol", kDeclarationVersion},
                    {"invite_id", to_base64url(declaration.invite_id)},
                    {"invite_secret", to_base64url(declaration.invite_secret.expose())},
                    {"agent_id", declaration.agent_id.to_string()},
                    {"services", std::move(services)}};
  // Only where there are such: an older hub refuses members that it does not know.
  for (const route::PortProtocol protocol : kPortProtocols) {
    json::array ports;
    for (const DeclaredPort& port : declaration.ports) {
      if (port.protocol != protocol) continue;
      json::object entry{{"name", port.name}};
      if (port.listen_port != 0) entry["listen_port"] = port.listen_port;
      if (port.more_ports != 0) entry["last_port"] = port.ports().last();
      ports.push_back(std::move(entry));
    }
    if (!ports.empty()) body[json_text(member_of(protocol))] = std::move(ports);
  }
  if (declaration.is_exclusive) body["exclusive"] = true;
  return json::serialize(body);
}

Result<Declaration> decode_declaration(std::string_view text) {
  constexpr std::string_view kWhat = "the declaration";
  auto object = parse_json_object(kWhat, text);
  if (!object) return std::unexpected(object.error());
  // The version first: what a newer agent adds must be answered with the version, not with "unknown member".
  JsonReader reader(kWhat, *object);
  int64_t version = reader.integer("protocol", 0, INT32_MAX);
  if (reader.error()) return std::unexpected(*reader.error());
  if (version != kDeclarationVersion) {
    return fail(
        ErrorCode::kConflict,
        "the declaration is of protocol version {}, this hub speaks version {}; upgrade the older of the two",
        version, kDeclarationVersion);
  }
  if (auto known = refuse_unknown_members(kWhat, *object,
                                          {"protocol", "invite_id", "invite_secret", "agent_id", "services",
                                           "tcp_services", "udp_services", "exclusive"});
      !known) {
    return std::unexpected(known.error());
  }
  auto invite_id = reader.bytes<16>("invite_id");
  auto invite_secret = reader.secret<32>("invite_secret");
  auto agent_id = reader.key("agent_id");
  const json::array& entries = reader.array("services");
  static const json::array kNone;
  const auto ports_of = [&](route::PortProtocol protocol) -> const json::array& {
    return reader.has(member_of(protocol)) ? reader.array(member_of(protocol)) : kNone;
  };
  const bool is_exclusive = reader.has("exclusive") && reader.boolean("exclusive");
  size_t count = entries.size();
  for (const route::PortProtocol protocol : kPortProtocols) count += ports_of(protocol).size();
  if (reader.error()) return std::unexpected(*reader.error());
  if (count > kMaxServices) {
    return invalid("the declaration has {} services, at most {} are allowed", count, kMaxServices);
  }
  Declaration declaration{invite_id, invite_secret, *agent_id, {}};
  std::vector<std::string_view> names;
  declaration.services.reserve(entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    auto service = decode_service(entries[i], i);
    if (!service) return std::unexpected(service.error());
    declaration.services.push_back(std::move(*service));
    names.push_back(declaration.services.back().hostname.text());
  }
  std::ranges::sort(names);
  if (auto twice = std::ranges::adjacent_find(names); twice != names.end()) {
    return invalid("the declaration has hostname {} twice", *twice);
  }
  for (const route::PortProtocol protocol : kPortProtocols) {
    auto decoded = decode_ports(protocol, ports_of(protocol), declaration.ports);
    if (!decoded) return std::unexpected(decoded.error());
  }
  declaration.is_exclusive = is_exclusive;
  return declaration;
}

std::string encode(const LeaseAnswer& answer) {
  json::array edges;
  for (const EdgeInfo& edge : answer.edges) {
    edges.push_back(json::object{{"id", edge.id.to_string()}, {"addresses", json_array(edge.addresses)}});
  }
  json::array services;
  for (const ServiceVerdict& verdict : answer.services) {
    json::object entry{{"hostname", verdict.hostname}, {"accepted", verdict.accepted}};
    if (!verdict.accepted) entry["reason"] = verdict.reason;
    if (verdict.retry_after) entry["retry_after_secs"] = verdict.retry_after->count();
    if (verdict.others > 0) entry["others"] = verdict.others;
    services.push_back(std::move(entry));
  }
  json::object body{
      {"status", "ok"},
      {"protocol", kDeclarationVersion},
      {"tenant", answer.tenant.to_string()},
      {"granted", json_array(answer.granted)},
      {"edges", std::move(edges)},
      {"services", std::move(services)},
      {"public_port", answer.public_port},
      {"internal_ca", answer.internal_ca_pem},
      {"renew_after_secs", std::chrono::duration_cast<std::chrono::seconds>(answer.renew_after).count()},
      {"suspended", answer.is_suspended}};
  for (const route::PortProtocol protocol : kPortProtocols) {
    json::array ports;
    for (const PortVerdict& verdict : answer.ports) {
      if (verdict.protocol != protocol) continue;
      json::object entry{
          {"name", verdict.name}, {"listen_port", verdict.listen_port}, {"accepted", verdict.accepted}};
      if (verdict.more_ports != 0) entry["last_port"] = verdict.ports().last();
      if (!verdict.accepted) entry["reason"] = verdict.reason;
      if (verdict.retry_after) entry["retry_after_secs"] = verdict.retry_after->count();
      if (verdict.others > 0) entry["others"] = verdict.others;
      ports.push_back(std::move(entry));
    }
    if (!ports.empty()) body[json_text(member_of(protocol))] = std::move(ports);
  }
  return json::serialize(body);
}

Result<LeaseAnswer> decode_lease_answer(std::string_view text) {
  constexpr std::string_view kWhat = "the hub's answer";
  auto object = parse_json_object(kWhat, text);
  if (!object) return std::unexpected(object.error());
  JsonReader reader(kWhat, *object);
  auto tenant = reader.key("tenant");
  auto granted = reader.texts("granted");
  auto port = static_cast<uint16_t>(reader.integer("public_port", 1, UINT16_MAX));
  std::string root(reader.text("internal_ca"));
  std::chrono::seconds renew_after(reader.integer("renew_after_secs", 1, kMaxRenewSeconds));
  const bool is_suspended = reader.has("suspended") && reader.boolean("suspended");
  std::vector<EdgeInfo> edges;
  for (const json::value& entry : reader.array("edges")) {
    if (!entry.is_object()) return invalid("{}: an edge is not a JSON object", kWhat);
    JsonReader edge("an edge in the hub's answer", entry.get_object());
    auto id = edge.key("id");
    auto addresses = edge.texts("addresses");
    if (edge.error()) return std::unexpected(*edge.error());
    edges.push_back({*id, std::move(addresses)});
  }
  std::vector<ServiceVerdict> services;
  for (const json::value& entry : reader.array("services")) {
    if (!entry.is_object()) return invalid("{}: a service is not a JSON object", kWhat);
    JsonReader service("a service in the hub's answer", entry.get_object());
    std::string hostname(service.text("hostname"));
    bool accepted = service.boolean("accepted");
    std::string reason(accepted ? std::string_view() : service.text("reason"));
    ServiceVerdict verdict{std::move(hostname), accepted, std::move(reason)};
    if (service.has("retry_after_secs"))
      verdict.retry_after = std::chrono::seconds(service.integer("retry_after_secs", 1, kMaxRenewSeconds));
    if (service.has("others")) verdict.others = static_cast<size_t>(service.integer("others", 0, INT32_MAX));
    if (service.error()) return std::unexpected(*service.error());
    services.push_back(std::move(verdict));
  }
  std::vector<PortVerdict> ports;
  for (const route::PortProtocol protocol : kPortProtocols) {
    std::optional<Error> wrong;
    if (reader.has(member_of(protocol)))
      read_verdicts(protocol, reader.array(member_of(protocol)), ports, wrong);
    if (wrong) return std::unexpected(*wrong);
  }
  if (reader.error()) return std::unexpected(*reader.error());
  return LeaseAnswer{*tenant,         std::move(granted), std::move(edges), std::move(services), port,
                     std::move(root), renew_after,        is_suspended,     std::move(ports)};
}

}  // namespace culvert::hubapi
