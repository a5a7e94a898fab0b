#pragma once
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

// What a CA answers instead of what was asked for.
namespace culvert::acme {

// The types of RFC 8555, 6.7, and those that later documents added. The names are those of the CA.
enum class ProblemType : uint8_t {
  kNone,  // the failure is not of a CA, or its problem has a type that is not known
  kAccountDoesNotExist,
  kAlreadyReplaced,  // RFC 9773, 7.4
  kAlreadyRevoked,
  kBadCsr,
  kBadNonce,
  kBadPublicKey,
  kBadRevocationReason,
  kBadSignatureAlgorithm,
  kCaa,
  kCompound,
  kConnection,
  kDns,
  kExternalAccountRequired,
  kIncorrectResponse,
  kInvalidContact,
  kInvalidProfile,  // draft-ietf-acme-profiles
  kMalformed,
  kOrderNotReady,
  kRateLimited,
  kRejectedIdentifier,
  kServerInternal,
  kTls,
  kUnauthorized,
  kUnsupportedContact,
  kUnsupportedIdentifier,
  kUserActionRequired,
};
inline constexpr size_t kProblemTypes = static_cast<size_t>(ProblemType::kUserActionRequired) + 1;

const char* to_string(ProblemType type);  // "rateLimited"; "other" for kNone
// What a person can do about it: an imperative without a full stop.
const char* advice(ProblemType type);

// A problem document (RFC 7807).
struct Problem {
  struct Part {
    ProblemType type;
    std::string identifier;  // the hostname that it is about, or empty
    std::string detail;
  };

  ProblemType type = ProblemType::kNone;
  std::string detail;       // as the CA wrote it: not for a log without quoted()
  std::vector<Part> parts;  // the first kMaxParts

  static constexpr size_t kMaxParts = 10;
};

// Of the answer's body. One that is no problem document is a problem all the same, by its status.
Problem parse_problem(int status, std::string_view body);
// Of the member "error" of a challenge or an order, as JSON text.
Problem parse_problem(std::string_view text);

// Why something was not done, and what that means for what comes next.
struct Failure {
  Error error;
  ProblemType type = ProblemType::kNone;
  // The CA asks not to be asked again before this has passed.
  std::optional<Duration> retry_after = std::nullopt;
  // The name did not prove itself: another CA would see the same. Otherwise another one may do it.
  bool is_of_name = false;
};
template <class T = void>
using Outcome = std::expected<T, Failure>;

// `what` was refused: "the order for app.example". The message has what the CA says and the advice.
Failure refused(std::string_view ca, std::string_view what, const Problem& problem);
// The same of a challenge: here "unauthorized" speaks of what the CA found at the name, not of the account.
Failure not_proven(std::string_view ca, std::string_view what, const Problem& problem);

}  // namespace culvert::acme
