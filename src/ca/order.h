#pragma once
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "acme/challenge.h"
#include "acme/documents.h"
#include "acme/problem.h"
#include "base/clock.h"

namespace culvert::ca {

//  pending ──▶ processing ──▶ valid
//     └─────────────┴───────▶ invalid
enum class ChallengeStatus : uint8_t { kPending, kProcessing, kValid, kInvalid };
struct OfferedChallenge {
  acme::ChallengeType type;
  std::string token;
  ChallengeStatus status = ChallengeStatus::kPending;
  UnixTime validated_at{};  // where it is valid
  std::optional<acme::Problem> error = std::nullopt;
};

// The proof of one name of an order. An order has its own: what was proven for another one does not count.
struct OrderAuthorization {
  std::string name;  // of a wildcard what follows "*."
  bool is_wildcard = false;
  acme::AuthorizationStatus status = acme::AuthorizationStatus::kPending;
  std::vector<OfferedChallenge> challenges = {};

  OfferedChallenge* find(acme::ChallengeType type);
};

// As acme::Order::status says, without "processing": a certificate is issued at once.
struct PlacedOrder {
  std::string id;
  std::string account_id;
  std::vector<std::string> names;                  // in lower case, sorted, each once
  std::vector<OrderAuthorization> authorizations;  // one for each
  UnixTime expires_at;
  std::string replaces = {};  // id of the certificate that it replaces, or empty
  acme::OrderStatus status = acme::OrderStatus::kPending;
  std::string certificate_id = {};  // once it is valid

  // The status that follows from those of its authorizations.
  void update();
  bool is_unfinished() const {
    return status == acme::OrderStatus::kPending || status == acme::OrderStatus::kReady;
  }
};

// The orders that have not expired; an expired one is gone.
class Orders {
 public:
  // Let's Encrypt: 7 days. A day is long enough to put a TXT record somewhere by hand.
  static constexpr Duration kLifetime = std::chrono::hours(24);
  static constexpr size_t kMaxNames = 100;  // of one, as CAs have it
  // An authorization takes about 700 bytes: all of them 14 MiB. A finished order makes room for a new one.
  static constexpr size_t kMaxAuthorizations = 20'000;
  // One account must not take the room of all others.
  static constexpr size_t kMaxUnfinishedOfAccount = 300;

  // nullptr: there is none, or it has expired.
  PlacedOrder* find(const std::string& id, UnixTime now);
  // False: there is no room. All orders live equally long: `order` expires after those that are there.
  bool add(PlacedOrder order, UnixTime now);
  // In the order in which they were placed.
  std::vector<PlacedOrder*> of_account(const std::string& account_id, UnixTime now);
  size_t size() const { return orders_.size(); }

 private:
  void remove_expired(UnixTime now);
  void remove(const std::string& id);
  bool remove_oldest_finished();

  std::unordered_map<std::string, PlacedOrder> orders_;
  std::deque<std::string> ids_;  // oldest first
  size_t authorizations_ = 0;
};

}  // namespace culvert::ca
