#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "acme/challenge.h"
#include "acme/problem.h"
#include "base/clock.h"
#include "base/result.h"
#include "tls/public_certificate.h"

// The JSON documents of a CA (RFC 8555, 7.1). Unknown members are ignored, as 7.1 says; every URL is https.
// The functions give kInvalid, and kLimit for lists that are longer than any CA's.
namespace culvert::acme {

struct Directory {
  std::string new_nonce, new_account, new_order, revoke_cert;
  std::string renewal_info;  // empty: the CA has none (RFC 9773)
  std::string terms_of_service;
  bool external_account_required = false;
  std::vector<std::string> profiles;
};
Result<Directory> parse_directory(std::string_view text);

//  pending ──▶ ready ──▶ processing ──▶ valid
//     └──────────┴───────────┴────────▶ invalid
enum class OrderStatus : uint8_t { kPending, kReady, kProcessing, kValid, kInvalid };
struct Order {
  OrderStatus status = OrderStatus::kPending;
  std::vector<std::string> authorizations;  // URLs
  std::string finalize;
  std::string certificate;  // once it is valid
  std::optional<Problem> error;

  static constexpr size_t kMaxAuthorizations = 100;
};
Result<Order> parse_order(std::string_view text);

//  pending ──▶ valid ──▶ expired, deactivated, revoked
//     └──────▶ invalid
enum class AuthorizationStatus : uint8_t { kPending, kValid, kInvalid, kDeactivated, kExpired, kRevoked };
const char* to_string(AuthorizationStatus status);
struct ChallengeOffer {
  ChallengeType type;
  std::string url;
  std::string token;
  std::optional<Problem> error;
};
struct Authorization {
  AuthorizationStatus status = AuthorizationStatus::kPending;
  std::string name;  // in lower case; of a wildcard what follows "*."
  bool is_wildcard = false;
  std::vector<ChallengeOffer> offers;   // of the types that are known
  std::vector<std::string> type_names;  // of all types, for messages

  static constexpr size_t kMaxChallenges = 20;
};
Result<Authorization> parse_authorization(std::string_view text);

// When the CA wants a certificate to be renewed (RFC 9773, 4.2).
struct RenewalWindow {
  UnixTime start, end;
  bool operator==(const RenewalWindow&) const = default;
};
Result<RenewalWindow> parse_renewal_info(std::string_view text);

// How RFC 9773, 4.1 names a certificate; nullopt: it has no authority key identifier.
std::optional<std::string> renewal_id(const Bytes& authority_key_id, const Bytes& serial);
inline std::optional<std::string> renewal_id(const tls::CertificateChain& chain) {
  return renewal_id(chain.authority_key_id(), chain.serial());
}

}  // namespace culvert::acme
