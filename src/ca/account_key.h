#pragma once
#include <string>
#include <string_view>

#include "base/result.h"
#include "tls/signature_key.h"

namespace culvert::ca {

// The public key of an account.
struct AccountKey {
  tls::SignatureKey key;
  std::string jwk;         // its required members in the order of their names (RFC 7638, 3)
  std::string thumbprint;  // RFC 7638, base64url
};

// A JWK (RFC 7517): EC on P-256, RSA, or OKP with Ed25519 (RFC 8037). kInvalid says what is wrong; a key with
// its private part is refused as well, since it has been shown to others.
Result<AccountKey> parse_account_key(std::string_view jwk);

}  // namespace culvert::ca
