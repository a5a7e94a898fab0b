#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "acme/challenge.h"
#include "base/result.h"
#include "hub/record.h"

namespace culvert::hub {

// What the hubs of a database keep of public certificates, as its records have it: certificates, accounts
// with CAs, budgets, the challenges that are pending, and which hub orders. Private keys are sealed here;
// CertificateStore opens them. Sans-I/O.
class Certificates {
 public:
  static constexpr std::string_view kKind = "certificate";          // by hostname or wildcard
  static constexpr std::string_view kAccountKind = "acme-account";  // by the directory URL of the CA
  static constexpr std::string_view kBudgetKind = "acme-budgets";   // kOnly
  static constexpr std::string_view kChallengeKind = "acme-challenge";
  static constexpr std::string_view kOrdererKind = "acme-orderer";  // kOnly
  static constexpr std::string_view kOnly = "all";

  using Bodies = std::map<std::string, std::string, std::less<>>;

  struct Listeners {
    // The record of this name was stored, changed or removed.
    std::function<void(const std::string& name)> certificate = nullptr;
    std::function<void(const acme::Challenge& challenge, bool is_pending)> challenge = nullptr;
  };
  void set_listeners(Listeners listeners) { listeners_ = std::move(listeners); }

  // A record of one of these kinds, as it is in the database from now on; others are left alone.
  void apply(const Record& record);
  // The keys of all that is here, by kind.
  void each_key(const std::function<void(std::string_view kind, const std::string& key)>& visit) const;

  const Bodies& certificates() const { return certificates_; }
  const Bodies& accounts() const { return accounts_; }
  const std::string& budgets() const { return budgets_; }  // empty: there are none
  const std::map<std::string, acme::Challenge>& challenges() const { return challenges_; }
  // Hubs::self() of the hub that orders; empty: none does.
  const std::string& orderer() const { return orderer_; }

  static Record challenge_record(const acme::Challenge& challenge, bool is_pending);
  static Record orderer_record(const std::string& hub);

 private:
  void apply_challenge(const Record& record);

  Bodies certificates_, accounts_;
  std::string budgets_;
  std::map<std::string, acme::Challenge> challenges_;
  std::string orderer_;
  Listeners listeners_;
};

}  // namespace culvert::hub
