#include "hub/operator_keys.h"

#include <boost/json/serialize.hpp>

#include "base/json.h"
#include "base/log.h"
#include "base/text.h"

namespace culvert::hub {
namespace {

namespace json = boost::json;

Result<OperatorKey> read(const std::string& name, std::string_view text) {
  constexpr std::string_view kWhat = "the operator key's record";
  auto body = parse_json_object(kWhat, text);
  if (!body) return std::unexpected(body.error());
  JsonReader reader(kWhat, *body);
  const auto role = parse_operator_role(reader.text("role"));
  const Sha256 hash = reader.bytes<std::tuple_size_v<Sha256>>("hash");
  const UnixTime created_at = reader.time("created_at");
  if (!role) reader.set_error("role", "is not a role");
  if (reader.error()) return std::unexpected(*reader.error());
  return OperatorKey{.name = name, .role = *role, .hash = hash, .created_at = created_at};
}

}  // namespace

const char* to_string(OperatorRole role) { return role == OperatorRole::kAdmin ? "admin" : "read-only"; }

std::optional<OperatorRole> parse_operator_role(std::string_view text) {
  for (OperatorRole role : {OperatorRole::kAdmin, OperatorRole::kReadOnly}) {
    if (text == to_string(role)) return role;
  }
  return std::nullopt;
}

void OperatorKeys::apply(const Record& record) {
  if (const auto old = keys_.find(record.key); old != keys_.end()) {
    names_.erase(old->second.hash);
    keys_.erase(old);
  }
  if (!record.body) return;
  auto key = read(record.key, *record.body);
  if (!key) {
    log_error("hub_record_damaged", "kind={} key={} reason={}", record.kind, culvert::quoted(record.key),
              culvert::quoted(key.error().message));
    return;
  }
  names_.emplace(key->hash, key->name);
  keys_.emplace(record.key, std::move(*key));
}

const OperatorKey* OperatorKeys::find(std::string_view name) const {
  const auto key = keys_.find(name);
  return key == keys_.end() ? nullptr : &key->second;
}

const OperatorKey* OperatorKeys::find_by_hash(const Sha256& hash) const {
  const auto name = names_.find(hash);
  return name == names_.end() ? nullptr : find(name->second);
}

Result<Record> OperatorKeys::add(const OperatorKey& key) const {
  if (find(key.name) != nullptr) {
    return fail(ErrorCode::kConflict,
                "there is an operator key called {} already; revoke it, or choose another name",
                culvert::quoted(key.name));
  }
  if (keys_.size() >= kMax)
    return fail(ErrorCode::kLimit, "there are {} operator keys, the most this hub keeps; revoke some", kMax);
  json::object body{{"role", to_string(key.role)},
                    {"hash", to_base64url(key.hash)},
                    {"created_at", key.created_at.time_since_epoch().count()}};
  return Record{.kind = std::string(kKind), .key = key.name, .body = json::serialize(body)};
}

Result<Record> OperatorKeys::remove(std::string_view name) const {
  if (find(name) == nullptr)
    return fail(ErrorCode::kNotFound, "there is no operator key called {}", culvert::quoted(name));
  return Record{.kind = std::string(kKind), .key = std::string(name), .body = std::nullopt};
}

std::string operator_key_json(const OperatorKey& key) {
  return json::serialize(json::object{{"name", key.name},
                                      {"role", to_string(key.role)},
                                      {"created_at", key.created_at.time_since_epoch().count()}});
}

}  // namespace culvert::hub
