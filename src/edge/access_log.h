#pragma once
#include "base/rate_limit.h"
#include "edge/carried.h"
#include "tunnel/pump.h"

namespace culvert::edge {

// Where the operator wants it, a worker's line for each public connection that an agent took, when it has
// ended. Clients cause these lines, so that their rate is limited.
class AccessLog {
 public:
  // Of all workers together. A line has some 250 bytes; systemd's journal drops what is more than 10,000
  // lines in 30 s, those of other events with them.
  static constexpr uint32_t kBurst = 1000;
  static constexpr uint32_t kPerSecond = 200;

  explicit AccessLog(unsigned workers);

  // The connection has its pick.
  void ended(const CarriedConnection& carried, const tunnel::PumpResult& result, TimePoint now);

 private:
  RateLimit lines_;
};

}  // namespace culvert::edge
