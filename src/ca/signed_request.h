#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "acme/jws.h"
#include "base/bytes.h"
#include "ca/account_key.h"
#include "ca/refusal.h"

// Signed requests as the server reads them: JWS in the flattened JSON serialization (RFC 7515, 7.2.2) with
// the restrictions of RFC 8555, 6.2. acme/jws.h makes them.
namespace culvert::ca {

struct SignedRequest {
  std::string algorithm;
  std::string url;
  std::string nonce;              // empty: there is none
  std::string account_url;        // the member kid, or:
  std::optional<AccountKey> key;  // the member jwk
  std::string payload;            // empty: POST-as-GET
  std::string signed_part;
  Bytes signature;

  // Checks the signature. Refuses with badSignatureAlgorithm where the key makes another kind.
  Outcome<> check(const AccountKey& by) const;
};

// Reads one; its signature is not checked. Refuses with malformed, badPublicKey and badSignatureAlgorithm.
Outcome<SignedRequest> parse_signed_request(std::string_view body);

// The member externalAccountBinding of a newAccount request (RFC 8555, 7.3.4): by this external account, for
// this key and this URL. Refuses with malformed and unauthorized.
Outcome<> check_external_binding(std::string_view binding, const acme::ExternalAccount& account,
                                 const AccountKey& key, std::string_view url);

}  // namespace culvert::ca
