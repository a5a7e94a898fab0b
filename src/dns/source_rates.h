#pragma once
#include <array>
#include <vector>

#include "base/crypto.h"
#include "base/random.h"
#include "base/rate_limit.h"
#include "base/socket_addr.h"

namespace culvert::dns {

// A rate for each source: an IPv4 address or the /64 of an IPv6 address. Senders of UDP can be forged without
// number, so the table has a fixed size: sources share a slot by chance, and nobody can tell which.
class SourceRates {
 public:
  static constexpr size_t kSlots = 4096;  // 128 KiB

  SourceRates(Random& random, uint32_t burst, Duration interval)
      : slots_(kSlots, RateLimit(burst, interval)) {
    random.fill(key_);
  }

  bool allow(const SocketAddr& source, TimePoint now) {
    const Sha256 digest = hmac_sha256(key_, as_bytes(source.source_prefix()));
    const size_t number = static_cast<size_t>(digest[0]) << 8 | digest[1];
    return slots_[number % kSlots].allow(now);
  }

 private:
  std::array<uint8_t, 16> key_;
  std::vector<RateLimit> slots_;
};

}  // namespace culvert::dns
