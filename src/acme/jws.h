#pragma once
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/secret.h"
#include "tls/p256_key.h"

// Signed requests: JWS in the flattened JSON serialization (RFC 7515, 7.2.2) as RFC 8555, 6.2 restricts it.
namespace culvert::acme {

// A P-256 key in JSON (RFC 7517) with the required members in the order of their names: the text that RFC
// 7638, 3 hashes.
std::string jwk_text(const tls::P256Key::Point& point);
// RFC 7638, in base64url: what a key authorization ends with.
std::string jwk_thumbprint(const tls::P256Key& key);

// What a signature is for.
struct JwsTarget {
  std::string url;
  std::string nonce;
  std::string account_url;  // empty: the request names the key itself, as newAccount does
};

// ES256. An empty payload makes a POST-as-GET.
std::string sign_jws(const tls::P256Key& key, const JwsTarget& target, std::string_view payload);

// What binds an account to one that its owner has with the CA already (RFC 8555, 7.3.4).
struct ExternalAccount {
  std::string key_id;
  SecretBuffer mac_key;
};
// The MAC key as CAs hand it out: base64url, with or without padding. kInvalid; the message does not repeat
// it.
Result<ExternalAccount> parse_external_account(std::string_view key_id, const SecretString& mac_key);
// The member externalAccountBinding: HS256 over the account's public key.
std::string sign_external_binding(const ExternalAccount& account, const tls::P256Key& key,
                                  const std::string& new_account_url);

}  // namespace culvert::acme
