#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/key.h"
#include "base/random.h"
#include "http/message.h"

// HTTP message signatures: RFC 9421 with ed25519, over "@method", "@path" and "content-digest" (RFC 9530,
// sha-256), "@query" if there is one, and kInstanceField if that is there; a signer may cover more
// ("@authority", any field), never less.
namespace culvert::http {

// Names the server process that a request is signed for (ReplayGuard::instance).
constexpr std::string_view kInstanceField = "culvert-hub-instance";

// Adds Content-Digest, if there is none, Signature-Input and Signature (created, nonce, keyid = hex public
// key, alg, tag). A request may be signed by several keys, each with a label and a tag of its own.
void sign_request(Request& request, const SecretKey& key, std::string_view tag, UnixTime now, Random& random,
                  std::string_view label = "sig1");

// The text that is signed (RFC 9421, 2.5): one line for each of `components`, then "@signature-params" with
// `parameters`, their serialized inner list. kUnauthorized names a component that is missing or not
// understood.
Result<std::string> signature_base(const Request& request, const std::vector<std::string>& components,
                                   std::string_view parameters);

// The key that is said to have signed with this tag, in lower-case hex; empty when there is none. Nothing is
// verified.
std::string claimed_key(const Request& request, std::string_view tag);

struct VerifiedSignature {
  PublicKey key;  // who signed
  UnixTime created;
  std::string nonce;
};

constexpr std::chrono::seconds kMaxClockSkew{60};

// kUnauthorized, saying which part is missing, stale or wrong: any covered component absent, another tag or
// algorithm, a digest that does not fit the body, `created` more than kMaxClockSkew from `now`, a bad
// signature, a query or a kInstanceField that the signature leaves open.
Result<VerifiedSignature> verify_request(const Request& request, std::string_view tag, UnixTime now);

// Whether a signature with this tag is there, good or not.
bool has_signature(const Request& request, std::string_view tag);

// Takes each signature once. A request is signed for one process, which names itself at random
// (kInstanceField): what was captured on its way to another server, or to this one before it was restarted,
// is for another instance, whatever the clocks of all say, and nothing has to be stored or shared. What is
// for this one is remembered by key and nonce for as long as its time allows.
class ReplayGuard {
 public:
  explicit ReplayGuard(Random& random);

  // For kInstanceField. It is no secret.
  const std::string& instance() const { return instance_; }
  // Whether the request names this instance. If not its sender has to sign it again: ask before anything that
  // costs more. That the signature covers the name is verify_request()'s to see.
  bool is_addressed(const Request& request) const;

  // An agent that declares every 30 s holds two or three: enough for 30,000 agents, at about 150 bytes each.
  static constexpr size_t kMaxEntries = 100'000;
  // For a signature that was verified, of a request that is addressed to this instance. Ask last, after the
  // key is known to be a tenant's: each one that passes takes one of the places. kUnauthorized: seen before.
  // kLimit: full of entries that are still fresh.
  Result<> admit(const VerifiedSignature& signature, UnixTime now);

 private:
  void forget_stale(UnixTime now);

  const std::string instance_;
  std::unordered_map<std::string, UnixTime> seen_;  // until when
  UnixTime next_sweep_{};
};

}  // namespace culvert::http
