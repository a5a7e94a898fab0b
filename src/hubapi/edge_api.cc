#include "hubapi/edge_api.h"

#include <array>
#include <boost/json/serialize.hpp>

#include "base/host_port.h"
#include "base/json.h"
#include "base/text.h"

namespace culvert::hubapi {
namespace {

namespace json = boost::json;

constexpr size_t kMaxPem = 16 * 1024;
constexpr size_t kMaxVersion = 64;

struct ListOfReport {
  std::string_view name;
  std::vector<EndpointId> TunnelReport::* agents;
};
constexpr std::array<ListOfReport, 4> kLists = {{{"heard", &TunnelReport::heard},
                                                 {"silent", &TunnelReport::silent},
                                                 {"closed", &TunnelReport::closed},
                                                 {"left", &TunnelReport::left}}};

}  // namespace

std::string encode(const EdgeAnnouncement& announcement) {
  json::array addresses;
  for (const std::string& address : announcement.addresses) addresses.push_back(json::string(address));
  return json::serialize(json::object{{"addresses", std::move(addresses)},
                                      {"internal_ca", announcement.internal_ca_pem},
                                      {"version", announcement.version},
                                      {"leaving", announcement.is_leaving}});
}

Result<EdgeAnnouncement> decode_edge_announcement(std::string_view text) {
  constexpr std::string_view kWhat = "the edge's announcement";
  auto object = parse_json_object(kWhat, text);
  if (!object) return std::unexpected(object.error());
  if (auto known = refuse_unknown_members(kWhat, *object, {"addresses", "internal_ca", "version", "leaving"});
      !known)
    return std::unexpected(known.error());
  JsonReader reader(kWhat, *object);
  EdgeAnnouncement announcement{.addresses = reader.texts("addresses"),
                                .internal_ca_pem = std::string(reader.text("internal_ca")),
                                .version = std::string(reader.text("version")),
                                .is_leaving = reader.boolean("leaving")};
  if (reader.error()) return std::unexpected(*reader.error());
  if (announcement.addresses.empty() || announcement.addresses.size() > kMaxEdgeAddresses)
    return fail(ErrorCode::kInvalid, "{}: 1 to {} addresses are possible", kWhat, kMaxEdgeAddresses);
  for (const std::string& address : announcement.addresses) {
    auto parsed = parse_host_port(address);
    if (!parsed) return fail(ErrorCode::kInvalid, "{}: address {}", kWhat, parsed.error().message);
  }
  if (announcement.internal_ca_pem.size() > kMaxPem)
    return fail(ErrorCode::kInvalid, "{}: internal_ca is longer than {} bytes", kWhat, kMaxPem);
  if (announcement.version.size() > kMaxVersion || !is_printable(announcement.version))
    return fail(ErrorCode::kInvalid, "{}: version is no text of {} bytes at most", kWhat, kMaxVersion);
  return announcement;
}

std::string encode(const EdgeWelcome& welcome) {
  return json::serialize(json::object{{"status", "ok"}, {"name", welcome.name}, {"region", welcome.region}});
}

Result<EdgeWelcome> decode_edge_welcome(std::string_view text) {
  constexpr std::string_view kWhat = "the hub's answer";
  auto object = parse_json_object(kWhat, text);
  if (!object) return std::unexpected(object.error());
  JsonReader reader(kWhat, *object);
  // Hubs of earlier versions say neither.
  EdgeWelcome welcome{std::string(reader.optional_text("name")), std::string(reader.optional_text("region"))};
  if (reader.error()) return std::unexpected(*reader.error());
  return welcome;
}

std::string encode(const TunnelReport& report) {
  json::object body{{"session", report.session}, {"number", report.number}};
  for (const auto& [name, agents] : kLists) {
    json::array ids;
    for (const EndpointId& agent : report.*agents) ids.push_back(json::string(agent.to_string()));
    body[json::string_view(name.data(), name.size())] = std::move(ids);
  }
  return json::serialize(body);
}

Result<TunnelReport> decode_tunnel_report(std::string_view text) {
  constexpr std::string_view kWhat = "the report of tunnels";
  auto object = parse_json_object(kWhat, text);
  if (!object) return std::unexpected(object.error());
  if (auto known =
          refuse_unknown_members(kWhat, *object, {"session", "number", "heard", "silent", "closed", "left"});
      !known)
    return std::unexpected(known.error());
  JsonReader reader(kWhat, *object);
  TunnelReport report{.session = static_cast<uint64_t>(reader.integer("session", 0, INT64_MAX)),
                      .number = static_cast<uint64_t>(reader.integer("number", 0, INT64_MAX))};
  size_t total = 0;
  for (const auto& [name, agents] : kLists) {
    for (const std::string& id : reader.texts(name)) {
      auto agent = PublicKey::parse(id);
      if (!agent)
        return fail(ErrorCode::kInvalid, "{}: an agent of {}: {}", kWhat, name, agent.error().message);
      (report.*agents).push_back(*agent);
      ++total;
    }
  }
  if (reader.error()) return std::unexpected(*reader.error());
  if (total > kMaxReportedAgents)
    return fail(ErrorCode::kInvalid, "{}: it names more than {} agents", kWhat, kMaxReportedAgents);
  return report;
}

}  // namespace culvert::hubapi
