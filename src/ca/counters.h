#pragma once
#include <array>
#include <cstdint>

#include "acme/challenge.h"
#include "acme/problem.h"
#include "base/metrics.h"

namespace culvert::ca {

// What a server did since it began. Of its thread.
struct Counters {
  uint64_t requests = 0;
  std::array<uint64_t, acme::kProblemTypes> refusals{};  // by type
  uint64_t accounts = 0;                                 // that are there
  uint64_t orders = 0;                                   // that were placed
  std::array<uint64_t, acme::kChallengeTypes> valid_challenges{}, invalid_challenges{};
  uint64_t running_validations = 0;
  uint64_t issued = 0;
  uint64_t revoked = 0;
  uint64_t store_failures = 0;
  uint64_t connections = 0;          // open now
  uint64_t refused_connections = 0;  // there were too many
  uint64_t failed_handshakes = 0;
};

void report(const Counters& counters, Metrics& metrics);

}  // namespace culvert::ca
