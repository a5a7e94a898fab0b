#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/crypto.h"
#include "tls/p256_key.h"

namespace culvert::acme {

// How a name is proven.
enum class ChallengeType : uint8_t {
  kTlsAlpn01,  // by a certificate on port 443 (RFC 8737)
  kHttp01,     // by a file on port 80 (RFC 8555, 8.3)
  kDns01,      // by a TXT record (RFC 8555, 8.4); the only one for wildcards
};
inline constexpr size_t kChallengeTypes = 3;

const char* to_string(ChallengeType type);  // "tls-alpn-01"
std::optional<ChallengeType> parse_challenge_type(std::string_view text);

// What a token is made of (RFC 8555, 8.1): base64url, so that it is safe in a path. Bounded by us.
bool is_challenge_token(std::string_view text);

// What a CA looks for, and where.
struct Challenge {
  ChallengeType type;
  std::string name;  // the hostname; of a wildcard what follows "*."
  std::string token;
  std::string key_authorization;

  static Challenge make(ChallengeType type, std::string name, std::string token,
                        const tls::P256Key& account_key);

  // kHttp01: the path that answers with key_authorization.
  std::string http_path() const { return "/.well-known/acme-challenge/" + token; }
  // kTlsAlpn01: what the certificate holds (tls::acme_challenge_identity).
  Sha256 digest() const;
  // kDns01: the record. Several values may be needed at one name at once: those of a name and its wildcard.
  std::string dns_name() const { return "_acme-challenge." + name; }
  std::string dns_text() const;
};

}  // namespace culvert::acme
