#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"
#include "origin/origin.h"

namespace culvert::origin {

// How an agent asks an origin whether it works, without a client.
struct HealthCheck {
  enum class Kind : uint8_t {
    kTcp,   // it accepts a connection
    kTls,   // its handshake succeeds
    kHttp,  // it answers a GET with a status from 200 to 399
  };
  Kind kind;
  std::string path = "/";  // of kHttp
  Duration interval = std::chrono::seconds(10);
  Duration timeout = std::chrono::seconds(5);
  int fall = 3;  // failures in a row that make it unhealthy
  int rise = 2;  // successes in a row that make it healthy again
  bool operator==(const HealthCheck&) const = default;
};

// Whether an origin works, by what was seen of it. Sans-I/O.
//
//             `fall` failures in a row
//   healthy ────────────────────────────▶ unhealthy
//           ◀────────────────────────────
//             `rise` successes in a row
//
// The first check decides alone: an agent that starts beside a dead origin must not take clients for as long
// as three checks last. A client that reached it is no success after a check that failed: a check may ask for
// more than a connection.
class HealthJudge {
 public:
  HealthJudge(int fall, int rise) : fall_(fall), rise_(rise) {}

  enum class Source : uint8_t { kCheck, kClient };
  // nullopt: it was reached. True: the verdict is another now.
  bool saw(std::optional<OriginFault> fault, Source source);

  bool is_healthy() const { return is_healthy_; }
  // The last failure; nullopt: there was none since it is healthy.
  const std::optional<OriginFault>& fault() const { return fault_; }

 private:
  int fall_, rise_;
  bool is_healthy_ = true;
  bool was_checked_ = false;
  bool last_check_failed_ = false;
  int in_a_row_ = 0;  // observations that contradict the verdict
  std::optional<OriginFault> fault_;
};

}  // namespace culvert::origin
