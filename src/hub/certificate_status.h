#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace culvert::hub {

// A public certificate as operators see it.
struct CertificateStatus {
  enum class State : uint8_t {
    kValid,
    kIssuing,  // there is none yet, and nothing has failed
    kFailing,  // there is none, or it cannot be renewed; `reason` says why and what to do
    kExpired,
    kUnused,  // it is kept, and nobody serves its name
  };

  std::string name;  // a hostname or a wildcard
  State state = State::kIssuing;
  std::string directory = {};  // of the CA that issued it
  std::string issuer = {};     // the name of that CA in the certificate
  std::optional<UnixTime> issued_at = std::nullopt, expires_at = std::nullopt;
  std::string reason = {};
  std::optional<UnixTime> next_try_at = std::nullopt;  // of an order or a renewal
};
const char* to_string(CertificateStatus::State state);  // "valid"

struct CertificateTotals {
  static constexpr size_t kMostSoonest = 10;
  struct Expiry {
    UnixTime at;
    std::string name;
    auto operator<=>(const Expiry&) const = default;
  };

  size_t names = 0;  // that are to have one
  size_t failing = 0;
  std::vector<Expiry> soonest = {};  // of those that are served, the first kMostSoonest to expire
};

// Where the hub's API asks. Not set: there are no certificates of public CAs.
struct CertificateSource {
  // At most so many, by name, behind `after`.
  std::function<std::vector<CertificateStatus>(const std::string& after, size_t most)> list = nullptr;
  std::function<CertificateTotals()> totals = nullptr;
};

}  // namespace culvert::hub
