#include "ca/account_key.h"

#include <algorithm>
#include <boost/json.hpp>

#include "acme/jws.h"
#include "base/crypto.h"
#include "base/encoding.h"
#include "base/json.h"
#include "base/text.h"

namespace culvert::ca {
namespace {

namespace json = boost::json;

AccountKey make(tls::SignatureKey key, std::string jwk) {
  std::string thumbprint = to_base64url(sha256(as_bytes(jwk)));
  return {.key = std::move(key), .jwk = std::move(jwk), .thumbprint = std::move(thumbprint)};
}

Result<AccountKey> parse_ec(JsonReader& reader) {
  if (reader.text("crv") != "P-256") reader.set_error("crv", "is not \"P-256\"");
  const tls::P256Key::Point point{.x = reader.bytes<32>("x"), .y = reader.bytes<32>("y")};
  if (reader.error()) return std::unexpected(*reader.error());
  auto key = tls::SignatureKey::p256(point.x, point.y);
  if (!key) return std::unexpected(key.error());
  return make(std::move(*key), acme::jwk_text(point));
}

Result<AccountKey> parse_rsa(JsonReader& reader) {
  const auto modulus = from_base64url(reader.text("n"));
  const auto exponent = from_base64url(reader.text("e"));
  // As few bytes as the number needs (RFC 7518, 6.3.1): otherwise one key has several thumbprints.
  const auto is_shortest = [](const Result<Bytes>& number) {
    return number && !number->empty() && number->front() != 0;
  };
  if (!is_shortest(modulus)) reader.set_error("n", "is not the shortest base64url of a number");
  if (!is_shortest(exponent)) reader.set_error("e", "is not the shortest base64url of a number");
  if (reader.error()) return std::unexpected(*reader.error());
  auto key = tls::SignatureKey::rsa(*modulus, *exponent);
  if (!key) return std::unexpected(key.error());
  return make(std::move(*key), fmt::format(R"({{"e":"{}","kty":"RSA","n":"{}"}})", to_base64url(*exponent),
                                           to_base64url(*modulus)));
}

Result<AccountKey> parse_okp(JsonReader& reader) {
  if (reader.text("crv") != "Ed25519") reader.set_error("crv", "is not \"Ed25519\"");
  const auto point = reader.bytes<PublicKey::kSize>("x");
  if (reader.error()) return std::unexpected(*reader.error());
  // Refuses points with which anyone can sign.
  auto checked = PublicKey::from_bytes(point);
  auto key = checked ? tls::SignatureKey::ed25519(point) : std::unexpected(checked.error());
  if (!key) return std::unexpected(key.error());
  return make(std::move(*key),
              fmt::format(R"({{"crv":"Ed25519","kty":"OKP","x":"{}"}})", to_base64url(point)));
}

}  // namespace

Result<AccountKey> parse_account_key(std::string_view jwk) {
  const auto object = parse_json_object("jwk", jwk);
  if (!object) return std::unexpected(object.error());
  if (object->contains("d")) {
    return fail(ErrorCode::kInvalid, "jwk: it has the private part \"d\"; send the public key alone");
  }
  JsonReader reader("jwk", *object);
  const std::string_view kind = reader.text("kty");
  if (reader.error()) return std::unexpected(*reader.error());
  if (kind == "EC") return parse_ec(reader);
  if (kind == "RSA") return parse_rsa(reader);
  if (kind == "OKP") return parse_okp(reader);
  return fail(ErrorCode::kInvalid, "jwk: unknown kind of key {} (expected EC, RSA or OKP)", quoted(kind));
}

}  // namespace culvert::ca
