#pragma once
#include <optional>
#include <string>
#include <unordered_map>

#include "base/clock.h"
#include "base/key.h"
#include "base/random.h"
#include "http/message.h"

// HTTP message signatures: RFC 9421 with ed25519, over "@method", "@path" and "content-digest" (RFC 9530, sha-256).
namespace culvert::http {

// Adds Content-Digest, Signature-Input and Signature (label "sig1": created, nonce, keyid = hex public key, alg, tag).
void sign_request(Request& request, const SecretKey& key, std::string_view tag, UnixTime now, Random& random);

struct VerifiedSignature {
  PublicKey key;      // who signed
  UnixTime created;
  std::string nonce;
};

constexpr std::chrono::seconds kMaxClockSkew{60};

// kUnauthorized, saying which part is missing, stale or wrong: any covered component absent, another tag or algorithm,
// a digest that does not fit the body, `created` more than kMaxClockSkew from `now`, a bad signature.
Result<VerifiedSignature> verify_request(const Request& request, std::string_view tag, UnixTime now);

// Remembers (key, nonce) for twice the clock skew, at most `kMaxEntries`; refuses what it saw.
class ReplayGuard {
 public:
  static constexpr size_t kMaxEntries = 10'000;
  // kUnauthorized: seen before. kLimit: full of entries that are still fresh.
  Result<> admit(const VerifiedSignature& signature, UnixTime now);

 private:
  std::unordered_map<std::string, UnixTime> seen_;
};

}  // namespace culvert::http
