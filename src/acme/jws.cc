#include "acme/jws.h"

#include <boost/json.hpp>

#include "base/crypto.h"
#include "base/encoding.h"

namespace culvert::acme {
namespace {

namespace json = boost::json;

std::string flattened(const std::string& protected_part, const std::string& payload, ByteView signature) {
  return fmt::format(R"({{"protected":"{}","payload":"{}","signature":"{}"}})", protected_part, payload,
                     to_base64url(signature));
}

}  // namespace

std::string jwk_text(const tls::P256Key::Point& point) {
  return fmt::format(R"({{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}})", to_base64url(point.x),
                     to_base64url(point.y));
}

std::string jwk_thumbprint(const tls::P256Key& key) {
  return to_base64url(sha256(as_bytes(jwk_text(key.point()))));
}

std::string sign_jws(const tls::P256Key& key, const JwsTarget& target, std::string_view payload) {
  json::object header{{"alg", "ES256"}, {"nonce", target.nonce}, {"url", target.url}};
  if (target.account_url.empty()) {
    header["jwk"] = json::parse(jwk_text(key.point()));
  } else {
    header["kid"] = target.account_url;
  }
  const std::string protected_part = to_base64url(as_bytes(json::serialize(header)));
  const std::string encoded = to_base64url(as_bytes(payload));
  return flattened(protected_part, encoded, key.sign(as_bytes(protected_part + "." + encoded)));
}

Result<ExternalAccount> parse_external_account(std::string_view key_id, const SecretString& mac_key) {
  std::string_view text = mac_key.expose();
  while (text.ends_with('=')) text.remove_suffix(1);
  auto bytes = from_base64url(text);
  if (key_id.empty()) return fail(ErrorCode::kInvalid, "the external account has no key id");
  if (!bytes || bytes->empty()) {
    return fail(ErrorCode::kInvalid,
                "the MAC key of the external account {} is not base64url; copy it again from the CA", key_id);
  }
  return ExternalAccount{.key_id = std::string(key_id), .mac_key = SecretBuffer(std::move(*bytes))};
}

std::string sign_external_binding(const ExternalAccount& account, const tls::P256Key& key,
                                  const std::string& new_account_url) {
  const json::object header{{"alg", "HS256"}, {"kid", account.key_id}, {"url", new_account_url}};
  const std::string protected_part = to_base64url(as_bytes(json::serialize(header)));
  const std::string payload = to_base64url(as_bytes(jwk_text(key.point())));
  return flattened(protected_part, payload,
                   hmac_sha256(account.mac_key.expose(), as_bytes(protected_part + "." + payload)));
}

}  // namespace culvert::acme
