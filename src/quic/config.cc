#include "quic/config.h"

#include <algorithm>

namespace culvert::quic {

EndpointLimits EndpointLimits::for_machine(uint64_t memory, unsigned workers) {
  constexpr uint64_t kMiB = 1024 * 1024;
  // Below these nothing works well, above them a machine has better use for its memory.
  constexpr uint64_t kLeastReceive = 32 * kMiB;
  constexpr uint64_t kMostReceive = 1024 * kMiB;
  constexpr uint64_t kLeastSend = 16 * kMiB;
  constexpr uint64_t kMostSend = 512 * kMiB;
  EndpointLimits limits;
  limits.max_receive_memory = std::clamp(memory / 8, kLeastReceive, kMostReceive) / workers;
  limits.max_send_memory = std::clamp(memory / 16, kLeastSend, kMostSend) / workers;
  return limits;
}

}  // namespace culvert::quic
