#include "acme/documents.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>

#include "acme/https_url.h"
#include "acme/timestamp.h"
#include "base/ascii.h"
#include "base/json.h"

namespace culvert::acme {
namespace {

namespace json = boost::json;

constexpr std::array kOrderStatuses = {"pending", "ready", "processing", "valid", "invalid"};
constexpr std::array kAuthorizationStatuses = {"pending",     "valid",   "invalid",
                                               "deactivated", "expired", "revoked"};
// Let's Encrypt has four.
constexpr size_t kMaxProfiles = 32;

std::string url(JsonReader& reader, std::string_view name) {
  const std::string text(reader.text(name));
  if (!reader.error() && !parse_https_url(text)) reader.set_error(name, "is not an https URL");
  return text;
}

std::string optional_url(JsonReader& reader, std::string_view name) {
  return reader.has(name) ? url(reader, name) : std::string();
}

template <class Status, size_t kCount>
Status status_of(JsonReader& reader, const std::array<const char*, kCount>& names) {
  const std::string_view text = reader.text("status");
  const auto at = std::ranges::find(names, text);
  if (at != names.end()) return static_cast<Status>(at - names.begin());
  reader.set_error("status", "is not one of RFC 8555, 7.1.6");
  return Status{};
}

std::optional<Problem> error_of(const json::object& object) {
  const json::value* error = object.if_contains("error");
  if (error == nullptr || !error->is_object()) return std::nullopt;
  return parse_problem(json::serialize(*error));
}

// The member of that name when it is an object.
const json::object* object_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_object() ? &value->get_object() : nullptr;
}

void read_meta(const json::object& meta, Directory& into) {
  // Only for messages and choices: what cannot be read is as good as absent.
  const json::value* terms = meta.if_contains("termsOfService");
  if (terms != nullptr && terms->is_string()) into.terms_of_service = terms->get_string();
  const json::value* required = meta.if_contains("externalAccountRequired");
  into.external_account_required = required != nullptr && required->is_bool() && required->get_bool();
  const json::object* profiles = object_of(meta, "profiles");
  if (profiles == nullptr) return;
  for (const auto& profile : *profiles) {
    if (into.profiles.size() < kMaxProfiles) into.profiles.emplace_back(profile.key());
  }
}

Result<> read_offer(const json::object& challenge, Authorization& into) {
  JsonReader reader("challenge", challenge);
  const std::string_view name = reader.text("type");
  into.type_names.emplace_back(name);
  const auto type = parse_challenge_type(name);
  if (reader.error()) return std::unexpected(*reader.error());
  if (!type) return {};
  ChallengeOffer offer{.type = *type,
                       .url = url(reader, "url"),
                       .token = std::string(reader.text("token")),
                       .error = error_of(challenge)};
  if (!reader.error() && !is_challenge_token(offer.token)) reader.set_error("token", "is not base64url");
  if (reader.error()) return std::unexpected(*reader.error());
  into.offers.push_back(std::move(offer));
  return {};
}

}  // namespace

const char* to_string(AuthorizationStatus status) {
  return kAuthorizationStatuses.at(static_cast<size_t>(status));
}

Result<Directory> parse_directory(std::string_view text) {
  const auto object = parse_json_object("directory", text);
  if (!object) return std::unexpected(object.error());
  JsonReader reader("directory", *object);
  Directory out{.new_nonce = url(reader, "newNonce"),
                .new_account = url(reader, "newAccount"),
                .new_order = url(reader, "newOrder"),
                .revoke_cert = optional_url(reader, "revokeCert"),
                .renewal_info = optional_url(reader, "renewalInfo"),
                .terms_of_service = {},
                .profiles = {}};
  if (reader.error()) return std::unexpected(*reader.error());
  if (const json::object* meta = object_of(*object, "meta")) read_meta(*meta, out);
  return out;
}

Result<Order> parse_order(std::string_view text) {
  const auto object = parse_json_object("order", text);
  if (!object) return std::unexpected(object.error());
  JsonReader reader("order", *object);
  Order out{.status = status_of<OrderStatus>(reader, kOrderStatuses),
            .authorizations = reader.texts("authorizations"),
            .finalize = url(reader, "finalize"),
            .certificate = optional_url(reader, "certificate"),
            .error = error_of(*object)};
  if (reader.error()) return std::unexpected(*reader.error());
  if (out.authorizations.size() > Order::kMaxAuthorizations) {
    return fail(ErrorCode::kLimit, "order: more than {} authorizations", Order::kMaxAuthorizations);
  }
  for (const std::string& authorization : out.authorizations) {
    auto parsed = parse_https_url(authorization);
    if (!parsed) return std::unexpected(parsed.error());
  }
  if (out.status == OrderStatus::kValid && out.certificate.empty()) {
    return fail(ErrorCode::kInvalid, "order: it is valid, but names no certificate");
  }
  return out;
}

Result<Authorization> parse_authorization(std::string_view text) {
  const auto object = parse_json_object("authorization", text);
  if (!object) return std::unexpected(object.error());
  JsonReader reader("authorization", *object);
  Authorization out;
  out.status = status_of<AuthorizationStatus>(reader, kAuthorizationStatuses);
  const json::object* identifier = object_of(*object, "identifier");
  if (identifier == nullptr) return fail(ErrorCode::kInvalid, "authorization: it has no identifier");
  JsonReader identified("identifier", *identifier);
  if (identified.text("type") != "dns") identified.set_error("type", "is not \"dns\"");
  out.name = to_lower(identified.text("value"));
  if (identified.error()) return std::unexpected(*identified.error());
  out.is_wildcard = reader.has("wildcard") && reader.boolean("wildcard");
  const json::array& challenges = reader.array("challenges");
  if (reader.error()) return std::unexpected(*reader.error());
  if (challenges.size() > Authorization::kMaxChallenges) {
    return fail(ErrorCode::kLimit, "authorization: more than {} challenges", Authorization::kMaxChallenges);
  }
  for (const json::value& challenge : challenges) {
    if (!challenge.is_object())
      return fail(ErrorCode::kInvalid, "authorization: a challenge is not an object");
    auto read = read_offer(challenge.get_object(), out);
    if (!read) return std::unexpected(read.error());
  }
  return out;
}

Result<RenewalWindow> parse_renewal_info(std::string_view text) {
  const auto object = parse_json_object("renewal info", text);
  if (!object) return std::unexpected(object.error());
  const json::object* window = object_of(*object, "suggestedWindow");
  if (window == nullptr) return fail(ErrorCode::kInvalid, "renewal info: it has no suggestedWindow");
  JsonReader reader("suggestedWindow", *window);
  const auto start = parse_timestamp(reader.text("start"));
  const auto end = parse_timestamp(reader.text("end"));
  if (!start) reader.set_error("start", "is not a time of RFC 3339");
  if (!end) reader.set_error("end", "is not a time of RFC 3339");
  if (start && end && *end <= *start) reader.set_error("end", "is not after its start");
  if (reader.error()) return std::unexpected(*reader.error());
  return RenewalWindow{.start = *start, .end = *end};
}

std::optional<std::string> renewal_id(const Bytes& authority_key_id, const Bytes& serial) {
  if (authority_key_id.empty() || serial.empty()) return std::nullopt;
  return to_base64url(authority_key_id) + "." + to_base64url(serial);
}

}  // namespace culvert::acme
