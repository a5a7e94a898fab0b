#include "hub/certificates.h"

#include <boost/json/serialize.hpp>

#include "base/hostname.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"

namespace culvert::hub {
namespace {

namespace json = boost::json;

std::string key_of(const acme::Challenge& challenge) {
  return fmt::format("{} {} {}", acme::to_string(challenge.type), challenge.name, challenge.token);
}

Result<acme::Challenge> read_challenge(std::string_view text) {
  constexpr std::string_view kWhat = "the challenge's record";
  auto body = parse_json_object(kWhat, text);
  if (!body) return std::unexpected(body.error());
  JsonReader reader(kWhat, *body);
  const auto type = acme::parse_challenge_type(reader.text("type"));
  acme::Challenge challenge{.type = type.value_or(acme::ChallengeType::kTlsAlpn01),
                            .name = std::string(reader.text("name")),
                            .token = std::string(reader.text("token")),
                            .key_authorization = std::string(reader.text("key_authorization"))};
  if (!type) reader.set_error("type", "is not a type of challenge");
  if (!is_hostname_or_wildcard(challenge.name)) reader.set_error("name", "is not a hostname");
  if (!acme::is_challenge_token(challenge.token)) reader.set_error("token", "is not a token");
  if (reader.error()) return std::unexpected(*reader.error());
  return challenge;
}

std::string orderer_in(std::string_view text) {
  const auto body = parse_json_object("the orderer's record", text);
  const json::value* hub = body ? body->if_contains("hub") : nullptr;
  return hub != nullptr && hub->is_string() ? std::string(hub->get_string()) : "";
}

}  // namespace

void Certificates::apply(const Record& record) {
  const auto put_into = [&record](Bodies& bodies) {
    if (record.body) {
      bodies.insert_or_assign(record.key, *record.body);
    } else {
      bodies.erase(record.key);
    }
  };
  if (record.kind == kKind) {
    put_into(certificates_);
    if (listeners_.certificate) listeners_.certificate(record.key);
  } else if (record.kind == kAccountKind) {
    put_into(accounts_);
  } else if (record.kind == kBudgetKind) {
    budgets_ = record.body.value_or("");
  } else if (record.kind == kChallengeKind) {
    apply_challenge(record);
  } else if (record.kind == kOrdererKind) {
    orderer_ = record.body ? orderer_in(*record.body) : "";
  }
}

void Certificates::apply_challenge(const Record& record) {
  auto challenge = record.body ? read_challenge(*record.body) : fail(ErrorCode::kNotFound, "it is withdrawn");
  if (record.body && !challenge) {
    log_error("hub_record_damaged", "kind={} key={} reason={}", record.kind, culvert::quoted(record.key),
              culvert::quoted(challenge.error().message));
  }
  const auto known = challenges_.find(record.key);
  if (known != challenges_.end()) {
    if (challenge && challenge->key_authorization == known->second.key_authorization) return;
    const acme::Challenge old = std::move(challenges_.extract(known).mapped());
    if (listeners_.challenge) listeners_.challenge(old, false);
  }
  if (!challenge) return;
  const auto& added = challenges_.emplace(record.key, std::move(*challenge)).first->second;
  if (listeners_.challenge) listeners_.challenge(added, true);
}

void Certificates::each_key(
    const std::function<void(std::string_view kind, const std::string& key)>& visit) const {
  for (const auto& [name, body] : certificates_) visit(kKind, name);
  for (const auto& [directory, body] : accounts_) visit(kAccountKind, directory);
  for (const auto& [key, challenge] : challenges_) visit(kChallengeKind, key);
  if (!budgets_.empty()) visit(kBudgetKind, std::string(kOnly));
  if (!orderer_.empty()) visit(kOrdererKind, std::string(kOnly));
}

Record Certificates::challenge_record(const acme::Challenge& challenge, bool is_pending) {
  Record record{.kind = std::string(kChallengeKind), .key = key_of(challenge), .body = std::nullopt};
  if (is_pending) {
    record.body = json::serialize(json::object{{"type", acme::to_string(challenge.type)},
                                               {"name", challenge.name},
                                               {"token", challenge.token},
                                               {"key_authorization", challenge.key_authorization}});
  }
  return record;
}

Record Certificates::orderer_record(const std::string& hub) {
  return {.kind = std::string(kOrdererKind),
          .key = std::string(kOnly),
          .body = json::serialize(json::object{{"hub", hub}})};
}

}  // namespace culvert::hub
