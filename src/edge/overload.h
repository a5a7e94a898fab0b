#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/clock.h"
#include "base/metrics.h"

namespace culvert::edge {

// How near an edge is to what it may use at most, and what it does about it.
enum class OverloadState : uint8_t {
  kNormal,
  // Clients that have not finished their hello or handshake get less time, so that slow ones make room.
  kBusy,
  // A client address or a tenant that has its equal part of all connections gets no more.
  kShedding,
  // New public connections are reset. What is open goes on, and tunnels are taken.
  kFull,
};
constexpr size_t kOverloadStates = 4;
const char* to_string(OverloadState state);  // "normal", "busy", "shedding", "full"

// The state of an edge, from what is used of what it may have: that of the scarcest resource. One thread
// updates it, any reads it.
class Overload {
 public:
  // From these parts on. A state is left once kMargin less is used, so that it does not flap.
  static constexpr double kBusyFrom = 0.75;
  static constexpr double kSheddingFrom = 0.9;
  static constexpr double kFullFrom = 1.0;
  static constexpr double kMargin = 0.1;
  // In kBusy and above, for each phase in which a client has yet to do something.
  static constexpr Duration kPatience = std::chrono::seconds(2);

  enum class Resource : uint8_t { kConnections, kHandshakes, kMemory };
  static constexpr size_t kResources = 3;
  struct Usage {
    size_t used = 0;
    size_t most = 0;  // 0: no limit
  };
  using Usages = std::array<Usage, kResources>;  // by Resource

  Overload() = default;
  Overload(const Overload&) = delete;

  // Logs a change of the state.
  void update(const Usages& usages);
  OverloadState state() const;
  OverloadState state(Resource resource) const {
    return states_[static_cast<size_t>(resource)].load(std::memory_order_relaxed);
  }
  // What a client gets now of the time that it usually has.
  Duration patience(Duration usual) const {
    return state() == OverloadState::kNormal ? usual : std::min(usual, kPatience);
  }
  // For the operator: what is scarce, and what to do; empty below kShedding.
  std::string fault() const;
  void report(Metrics& metrics) const;

 private:
  using Count = std::atomic<uint64_t>;

  std::array<std::atomic<OverloadState>, kResources> states_{};
  std::array<std::atomic<double>, kResources> parts_{};
  std::array<Count, kOverloadStates> entered_{};
};

}  // namespace culvert::edge
