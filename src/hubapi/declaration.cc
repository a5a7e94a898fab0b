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

json::array to_json(const std::vector<std::string>& texts) {
  json::array out;
  for (const std::string& text : texts) out.push_back(json::string(text));
  return out;
}

}  // namespace

Result<> check_size(const std::vector<DeclaredService>& services) {
  if (services.size() > kMaxServices) {
    return invalid("there are {} services, and one agent may declare {} at most; run several agents",
                   services.size(), kMaxServices);
  }
  // Ids have one length.
  const EndpointId some_id = SecretKey::from_seed(Bytes(SecretKey::kSize, 1)).value().public_key();
  const size_t bytes = encode(Declaration{{}, {}, some_id, services}).size();
  if (bytes > kMaxDeclarationBytes) {
    return invalid(
        "the declaration of {} services is {} bytes long, and {} are allowed; run several agents, or use "
        "shorter hostnames",
        services.size(), bytes, kMaxDeclarationBytes);
  }
  return {};
}

std::string encode(const Declaration& declaration) {
  json::array services;
  for (const DeclaredService& service : declaration.services) {
    services.push_back(
        json::object{{"hostname", service.hostname.text()}, {"tls_mode", to_string(service.tls_mode)}});
  }
  return json::serialize(json::object{{"protocol", kDeclarationVersion},
                                      {"invite_id", to_base64url(declaration.invite_id)},
                                      {"invite_secret", to_base64url(declaration.invite_secret.expose())},
                                      {"agent_id", declaration.agent_id.to_string()},
                                      {"services", std::move(services)}});
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
                                          {"protocol", "invite_id", "invite_secret", "agent_id", "services"});
      !known) {
    return std::unexpected(known.error());
  }
  auto invite_id = reader.bytes<16>("invite_id");
  auto invite_secret = reader.secret<32>("invite_secret");
  auto agent_id = reader.key("agent_id");
  const json::array& entries = reader.array("services");
  if (reader.error()) return std::unexpected(*reader.error());
  if (entries.size() > kMaxServices) {
    return invalid("the declaration has {} services, at most {} are allowed", entries.size(), kMaxServices);
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
  return declaration;
}

std::string encode(const LeaseAnswer& answer) {
  json::array edges;
  for (const EdgeInfo& edge : answer.edges) {
    edges.push_back(json::object{{"id", edge.id.to_string()}, {"addresses", to_json(edge.addresses)}});
  }
  json::array services;
  for (const ServiceVerdict& verdict : answer.services) {
    json::object entry{{"hostname", verdict.hostname}, {"accepted", verdict.accepted}};
    if (!verdict.accepted) entry["reason"] = verdict.reason;
    if (verdict.retry_after) entry["retry_after_secs"] = verdict.retry_after->count();
    if (verdict.others > 0) entry["others"] = verdict.others;
    services.push_back(std::move(entry));
  }
  return json::serialize(json::object{
      {"status", "ok"},
      {"protocol", kDeclarationVersion},
      {"tenant", answer.tenant.to_string()},
      {"granted", to_json(answer.granted)},
      {"edges", std::move(edges)},
      {"services", std::move(services)},
      {"public_port", answer.public_port},
      {"internal_ca", answer.internal_ca_pem},
      {"renew_after_secs", std::chrono::duration_cast<std::chrono::seconds>(answer.renew_after).count()},
      {"suspended", answer.is_suspended}});
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
  if (reader.error()) return std::unexpected(*reader.error());
  return LeaseAnswer{*tenant, std::move(granted), std::move(edges), std::move(services),
                     port,    std::move(root),    renew_after,      is_suspended};
}

}  // namespace culvert::hubapi
