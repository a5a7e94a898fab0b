#include "hub/invite_record.h"

#include <algorithm>
#include <boost/json/serialize.hpp>

#include "base/encoding.h"
#include "base/json.h"

namespace culvert::hub {
namespace {

namespace json = boost::json;

json::string_view key_of(const QuotaMember& member) { return {member.name.data(), member.name.size()}; }

}  // namespace

std::string invite_key(const InviteId& id) { return to_base64url(id); }

std::optional<InviteId> parse_invite_id(std::string_view text) {
  auto bytes = from_base64url(text);
  InviteId id;
  if (!bytes || bytes->size() != id.size()) return std::nullopt;
  std::ranges::copy(*bytes, id.begin());
  return id;
}

Record invite_record(const Invite& invite) {
  json::array hostnames;
  for (const auto& pattern : invite.hostnames) hostnames.push_back(json::string(pattern.text()));
  json::object body{
      {"sequence", invite.sequence},         {"name", invite.name},
      {"tenant", invite.tenant.to_string()}, {"secret_hash", to_base64url(invite.secret_hash)},
      {"hostnames", std::move(hostnames)},   {"created_at", invite.created_at.time_since_epoch().count()},
      {"revoked", invite.revoked},           {"suspended", invite.suspended}};
  if (invite.expires_at) body["expires_at"] = invite.expires_at->time_since_epoch().count();
  if (invite.allow_custom_domains) body["allow_custom_domains"] = true;
  for (const QuotaMember& member : kQuotaMembers) {
    if (const auto& quota = invite.quotas.*member.quota) body[key_of(member)] = *quota;
  }
  if (!invite.ports.empty()) {
    json::array ports;
    for (const PortRange& range : invite.ports) ports.push_back(json::string(range.text()));
    body["ports"] = std::move(ports);
  }
  return {.kind = std::string(kInviteKind), .key = invite_key(invite.id), .body = json::serialize(body)};
}

Record tombstone_record(const InviteId& id, const std::optional<PublicKey>& tenant, UnixTime removed_at) {
  json::object body{{"removed_at", removed_at.time_since_epoch().count()}};
  if (tenant) body["tenant"] = tenant->to_string();
  return {.kind = std::string(kTombstoneKind), .key = invite_key(id), .body = json::serialize(body)};
}

std::optional<PublicKey> tombstone_tenant(std::string_view text) {
  auto body = parse_json_object("the tombstone's record", text);
  if (!body) return std::nullopt;
  JsonReader reader("the tombstone's record", *body);
  return reader.has("tenant") ? reader.key("tenant") : std::nullopt;
}

Result<Invite> read_invite_record(const InviteId& id, std::string_view text) {
  constexpr std::string_view kWhat = "the invite's record";
  auto body = parse_json_object(kWhat, text);
  if (!body) return std::unexpected(body.error());
  JsonReader reader(kWhat, *body);
  const int64_t sequence = reader.integer("sequence", 0, INT64_MAX);
  std::string name(reader.text("name"));
  const auto tenant = reader.key("tenant");
  const Sha256 secret_hash = reader.bytes<std::tuple_size_v<Sha256>>("secret_hash");
  const UnixTime created_at = reader.time("created_at");
  const bool revoked = reader.boolean("revoked");
  const bool suspended = reader.has("suspended") && reader.boolean("suspended");
  std::vector<route::HostPattern> hostnames;
  for (const std::string& hostname : reader.texts("hostnames")) {
    auto pattern = route::HostPattern::parse(hostname);
    if (!pattern) return std::unexpected(pattern.error());
    hostnames.push_back(std::move(*pattern));
  }
  std::optional<UnixTime> expires_at;
  if (reader.has("expires_at")) expires_at = reader.time("expires_at");
  const bool allow_custom_domains =
      reader.has("allow_custom_domains") && reader.boolean("allow_custom_domains");
  Quotas quotas;
  for (const QuotaMember& member : kQuotaMembers) {
    if (reader.has(member.name))
      quotas.*member.quota = static_cast<uint32_t>(reader.integer(member.name, member.least, member.most));
  }
  std::vector<PortRange> ports;
  if (reader.has("ports")) {
    for (const std::string& each : reader.texts("ports")) {
      auto range = PortRange::parse(each);
      if (!range) return std::unexpected(range.error());
      ports.push_back(*range);
    }
  }
  if (reader.error()) return std::unexpected(*reader.error());
  return Invite{.id = id,
                .sequence = sequence,
                .name = std::move(name),
                .tenant = *tenant,
                .secret_hash = secret_hash,
                .hostnames = std::move(hostnames),
                .created_at = created_at,
                .expires_at = expires_at,
                .revoked = revoked,
                .suspended = suspended,
                .quotas = quotas,
                .ports = std::move(ports),
                .allow_custom_domains = allow_custom_domains};
}

}  // namespace culvert::hub
