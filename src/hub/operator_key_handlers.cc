#include "hub/operator_key_handlers.h"

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/json.h"
#include "base/log.h"
#include "hub/answers.h"
#include "hub/names.h"
#include "hub/operator_auth.h"
#include "hub/page.h"
#include "hub/query.h"

namespace culvert::hub {
namespace {

constexpr size_t kKeySize = 32;

struct KeyRequest {
  std::string name;
  OperatorRole role;
};

Result<KeyRequest> parse_request(std::string_view text) {
  constexpr std::string_view kWhat = "the body";
  auto body = parse_json_object(kWhat, text);
  if (!body) return std::unexpected(body.error());
  if (auto known = refuse_unknown_members(kWhat, *body, {"name", "role"}); !known)
    return std::unexpected(known.error());
  JsonReader reader(kWhat, *body);
  const std::string_view name = reader.text("name");
  const std::string_view role = reader.has("role") ? reader.text("role") : "admin";
  if (reader.error()) return std::unexpected(*reader.error());
  if (!is_plain_name(name, OperatorKeys::kMaxNameLength) || name == OperatorAuth::kOwn) {
    return fail(ErrorCode::kInvalid, "\"name\" is not {}, or is {}",
                plain_name_rule(OperatorKeys::kMaxNameLength), OperatorAuth::kOwn);
  }
  const auto parsed = parse_operator_role(role);
  if (!parsed) {
    return fail(ErrorCode::kInvalid, "\"role\" is {}; roles are \"admin\" and \"read-only\"",
                culvert::quoted(role));
  }
  return KeyRequest{std::string(name), *parsed};
}

}  // namespace

http::Response OperatorKeyHandlers::refuse(const Error& error, TimePoint now) {
  switch (error.code) {
    case ErrorCode::kConflict:
      return error_response(409, "name_conflict", error.message);
    case ErrorCode::kLimit:
      return error_response(409, "key_limit", error.message);
    case ErrorCode::kNotFound:
      return error_response(404, "not_found", error.message);
    default:
      return failures_.answer(error, now);
  }
}

net::Task<http::Response> OperatorKeyHandlers::create(const http::Exchange& exchange) {
  auto wanted = parse_request(exchange.request.body);
  if (!wanted) co_return error_response(400, "invalid_request", wanted.error().message);
  const auto secret = SecretBytes<kKeySize>::random(random_);
  const SecretString shown = SecretString::take(to_base64url(secret.expose()));
  const OperatorKey key{.name = wanted->name,
                        .role = wanted->role,
                        .hash = hmac_sha256(ledger_.hash_key(), as_bytes(shown.expose())),
                        .created_at = config_.wall_clock()};
  auto added = co_await ledger_.commit(
      {.touches = {std::string(OperatorKeys::kKind)}, .judge = [&]() -> Result<Batch> {
         auto record = keys_.add(key);
         if (!record) return std::unexpected(record.error());
         return Batch{.records = {std::move(*record)},
                      .audit = {{.at = key.created_at,
                                 .actor = exchange.user,
                                 .action = "operator-key.create",
                                 .subject = key.name,
                                 .after = operator_key_json(key)}}};
       }});
  if (!added) co_return refuse(added.error(), exchange.now);
  log_info("operator_key_created", "name={} role={} by={}", key.name, to_string(key.role),
           culvert::quoted(exchange.user));
  co_return json_response(200, with_secret("key", shown, operator_key_json(key)));
}

http::Response OperatorKeyHandlers::list(const http::Exchange& exchange) const {
  auto query = Query::read(exchange, {"after"});
  if (!query) return bad_query(query.error());
  const auto after = query->text("after");
  auto next = after ? keys_.all().upper_bound(*after) : keys_.all().begin();
  Page page;
  for (; next != keys_.all().end() && !page.is_full(); ++next)
    page.add(operator_key_json(next->second), next->first);
  return page.answer("keys");
}

net::Task<http::Response> OperatorKeyHandlers::revoke(const http::Exchange& exchange) {
  const std::string name = exchange.rest;
  auto removed = co_await ledger_.commit(
      {.touches = {std::string(OperatorKeys::kKind)}, .judge = [&]() -> Result<Batch> {
         auto record = keys_.remove(name);
         if (!record) return std::unexpected(record.error());
         return Batch{.records = {std::move(*record)},
                      .audit = {{.at = config_.wall_clock(),
                                 .actor = exchange.user,
                                 .action = "operator-key.revoke",
                                 .subject = name,
                                 .before = operator_key_json(*keys_.find(name))}}};
       }});
  if (!removed) co_return refuse(removed.error(), exchange.now);
  log_info("operator_key_revoked", "name={} by={}", culvert::quoted(name), culvert::quoted(exchange.user));
  co_return json_response(200, R"({"status":"revoked"})");
}

}  // namespace culvert::hub
