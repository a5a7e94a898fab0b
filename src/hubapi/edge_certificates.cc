#include "hubapi/edge_certificates.h"

#include <boost/json/serialize.hpp>

#include "base/json.h"
#include "base/text.h"

namespace culvert::hubapi {
namespace {

namespace json = boost::json;

constexpr std::string_view kUpdate = "the certificates of the hub";
constexpr size_t kMaxTypes = 16;
constexpr size_t kMaxEpoch = 64;

// The keys in these objects stay in the heap of Boost.JSON otherwise.
void wipe_keys(json::array& certificates) {
  for (json::value& each : certificates) {
    json::value* key = each.is_object() ? each.get_object().if_contains("key") : nullptr;
    if (key == nullptr || !key->is_string()) continue;
    json::string& text = key->get_string();
    wipe({reinterpret_cast<uint8_t*>(text.data()), text.size()});
  }
}

json::array encode_challenges(const std::vector<EdgeChallenge>& challenges) {
  json::array out;
  for (const EdgeChallenge& each : challenges) {
    out.push_back(json::object{{"type", each.type},
                               {"name", each.name},
                               {"token", each.token},
                               {"key_authorization", each.key_authorization}});
  }
  return out;
}

Result<> read_challenges(const json::array& array, std::vector<EdgeChallenge>& into) {
  for (const json::value& each : array) {
    if (!each.is_object()) return fail(ErrorCode::kInvalid, "{}: a challenge is not an object", kUpdate);
    JsonReader reader(kUpdate, each.get_object());
    into.push_back({.type = std::string(reader.text("type")),
                    .name = std::string(reader.text("name")),
                    .token = std::string(reader.text("token")),
                    .key_authorization = std::string(reader.text("key_authorization"))});
    if (reader.error()) return std::unexpected(*reader.error());
  }
  return {};
}

Result<> read_certificates(const json::array& array, std::vector<EdgeCertificate>& into) {
  for (const json::value& each : array) {
    if (!each.is_object()) return fail(ErrorCode::kInvalid, "{}: a certificate is not an object", kUpdate);
    JsonReader reader(kUpdate, each.get_object());
    into.push_back({.name = std::string(reader.text("name")),
                    .chain = std::string(reader.text("chain")),
                    .key = SecretString(reader.text("key")),
                    .directory = std::string(reader.text("directory"))});
    if (reader.error()) return std::unexpected(*reader.error());
  }
  return {};
}

}  // namespace

std::string key_of(const EdgeChallenge& challenge) {
  return fmt::format("{} {} {}", challenge.type, challenge.name, challenge.token);
}

std::string encode(const CertificateRequest& request) {
  return json::serialize(json::object{{"epoch", request.epoch},
                                      {"version", request.version},
                                      {"challenges", json_array(request.challenges)}});
}

Result<CertificateRequest> decode_certificate_request(std::string_view text) {
  constexpr std::string_view kWhat = "the body";
  auto body = parse_json_object(kWhat, text);
  if (!body) return std::unexpected(body.error());
  JsonReader reader(kWhat, *body);
  CertificateRequest request{.epoch = std::string(reader.text("epoch")),
                             .version = static_cast<uint64_t>(reader.integer("version", 0, INT64_MAX)),
                             .challenges = reader.texts("challenges")};
  if (request.epoch.size() > kMaxEpoch) reader.set_error("epoch", "is too long");
  if (request.challenges.size() > kMaxTypes) reader.set_error("challenges", "has too many types");
  if (reader.error()) return std::unexpected(*reader.error());
  return request;
}

SecretString encode(const CertificateUpdate& update) {
  json::object out{{"epoch", update.epoch},
                   {"version", update.version},
                   {"restart", update.is_restart},
                   {"complete", update.is_complete},
                   {"removed_certificates", json_array(update.removed_certificates)},
                   {"challenges", encode_challenges(update.challenges)},
                   {"removed_challenges", encode_challenges(update.removed_challenges)}};
  json::array& certificates = out["certificates"].emplace_array();
  for (const EdgeCertificate& each : update.certificates) {
    certificates.push_back(json::object{{"name", each.name},
                                        {"chain", each.chain},
                                        {"key", each.key.expose()},
                                        {"directory", each.directory}});
  }
  SecretString text = SecretString::take(json::serialize(out));
  wipe_keys(certificates);
  return text;
}

Result<CertificateUpdate> decode_certificate_update(const SecretString& text) {
  auto body = parse_json_object(kUpdate, text.expose());
  if (!body) return std::unexpected(body.error());
  JsonReader reader(kUpdate, *body);
  CertificateUpdate update{.epoch = std::string(reader.text("epoch")),
                           .version = static_cast<uint64_t>(reader.integer("version", 0, INT64_MAX)),
                           .is_restart = reader.boolean("restart"),
                           .is_complete = reader.boolean("complete"),
                           .removed_certificates = reader.texts("removed_certificates")};
  Result<> read = read_certificates(reader.array("certificates"), update.certificates);
  if (json::value* certificates = body->if_contains("certificates");
      certificates != nullptr && certificates->is_array())
    wipe_keys(certificates->get_array());
  if (read) read = read_challenges(reader.array("challenges"), update.challenges);
  if (read) read = read_challenges(reader.array("removed_challenges"), update.removed_challenges);
  if (reader.error()) return std::unexpected(*reader.error());
  if (!read) return std::unexpected(read.error());
  return update;
}

}  // namespace culvert::hubapi
