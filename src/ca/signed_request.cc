#include "ca/signed_request.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/json.h"
#include "base/text.h"

namespace culvert::ca {
namespace {

namespace json = boost::json;
using acme::ProblemType;

struct Parts {
  json::object header;
  std::string payload;
  std::string signed_part;
  Bytes signature;
};

Outcome<Parts> take_apart(std::string_view what, std::string_view text) {
  const auto object = parse_json_object(what, text);
  if (!object) return malformed("{}", object.error().message);
  // "header" and "signatures" are not allowed, others have no meaning.
  auto known = refuse_unknown_members(what, *object, {"protected", "payload", "signature"});
  if (!known) return malformed("{}", known.error().message);
  JsonReader reader(what, *object);
  const std::string_view header = reader.text("protected"), payload = reader.text("payload");
  auto decoded = from_base64url(header), content = from_base64url(payload);
  auto signature = from_base64url(reader.text("signature"));
  if (!decoded) reader.set_error("protected", "is not base64url");
  if (!content) reader.set_error("payload", "is not base64url");
  if (!signature) reader.set_error("signature", "is not base64url");
  if (reader.error()) return malformed("{}", reader.error()->message);
  auto parsed = parse_json_object("protected header", as_text(*decoded));
  if (!parsed) return malformed("{}", parsed.error().message);
  // It lists extensions that a reader must know (RFC 7515, 4.1.11): we know none.
  if (parsed->contains("crit")) return malformed("protected header: no critical extension is known here");
  return Parts{.header = std::move(*parsed),
               .payload = std::string(as_text(*content)),
               .signed_part = fmt::format("{}.{}", header, payload),
               .signature = std::move(*signature)};
}

}  // namespace

Outcome<SignedRequest> parse_signed_request(std::string_view body) {
  auto parts = take_apart("JWS", body);
  if (!parts) return std::unexpected(parts.error());
  JsonReader reader("protected header", parts->header);
  SignedRequest out{.algorithm = std::string(reader.text("alg")),
                    .url = std::string(reader.text("url")),
                    .nonce = std::string(reader.optional_text("nonce")),
                    .account_url = std::string(reader.optional_text("kid")),
                    .key = std::nullopt,
                    .payload = std::move(parts->payload),
                    .signed_part = std::move(parts->signed_part),
                    .signature = std::move(parts->signature)};
  if (reader.error()) return malformed("{}", reader.error()->message);
  if (std::ranges::find(kSignatureAlgorithms, out.algorithm) == kSignatureAlgorithms.end()) {
    return refuse(400, ProblemType::kBadSignatureAlgorithm,
                  "the signature algorithm {} is not accepted (expected {})", quoted(out.algorithm),
                  fmt::join(kSignatureAlgorithms, ", "));
  }
  const json::value* key = parts->header.if_contains("jwk");
  if ((key == nullptr) == out.account_url.empty()) {
    return malformed("protected header: it must have either \"jwk\" or \"kid\"");
  }
  if (key == nullptr) return out;
  auto parsed = parse_account_key(json::serialize(*key));
  if (!parsed) return refuse(400, ProblemType::kBadPublicKey, "{}", parsed.error().message);
  out.key = std::move(*parsed);
  return out;
}

Outcome<> SignedRequest::check(const AccountKey& by) const {
  if (algorithm != by.key.algorithm()) {
    return refuse(400, ProblemType::kBadSignatureAlgorithm,
                  "the request is signed with {}, but its key is one for {}", algorithm, by.key.algorithm());
  }
  if (by.key.verify(as_bytes(signed_part), signature)) return {};
  return malformed("the signature of the request does not belong to its key and its content");
}

Outcome<> check_external_binding(std::string_view binding, const acme::ExternalAccount& account,
                                 const AccountKey& key, std::string_view url) {
  const auto parts = take_apart("externalAccountBinding", binding);
  if (!parts) return std::unexpected(parts.error());
  JsonReader reader("header of the externalAccountBinding", parts->header);
  if (reader.text("alg") != "HS256") reader.set_error("alg", "is not \"HS256\"");
  if (reader.text("url") != url) reader.set_error("url", "is not the URL of this request");
  if (reader.has("nonce")) reader.set_error("nonce", "is not allowed here");
  const std::string key_id(reader.text("kid"));
  if (reader.error()) return malformed("{}", reader.error()->message);
  const auto bound = parse_account_key(parts->payload);
  if (!bound || bound->jwk != key.jwk) {
    return malformed("the externalAccountBinding is for another key than that of the account");
  }
  const Sha256 expected = hmac_sha256(account.mac_key.expose(), as_bytes(parts->signed_part));
  if (key_id == account.key_id && equal_constant_time(parts->signature, expected)) return {};
  return refuse(403, ProblemType::kUnauthorized,
                "the externalAccountBinding has an unknown key id or another MAC key");
}

}  // namespace culvert::ca
