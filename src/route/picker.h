#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/clock.h"
#include "base/key.h"
#include "base/result.h"
#include "route/delta.h"

namespace culvert::route {

// How connections are spread over the targets of a route that are equally healthy.
enum class Balance : uint8_t {
  kRoundRobin,        // in turns
  kLeastConnections,  // to the one with the fewest open connections, in turns among equals
};
const char* to_string(Balance balance);  // "round-robin", "least-connections"
Result<Balance> parse_balance(std::string_view text);

// What a target asks for among those of its routes.
struct Share {
  static constexpr uint32_t kMaxPriority = 1000;
  static constexpr uint32_t kMaxWeight = 1000;

  uint32_t priority = 0;  // the targets with the lowest number get all connections, as long as they can
  uint32_t weight = 1;    // its part of them, relative to the weights of others
  bool operator==(const Share&) const = default;
};

// What is known of one target of a route when a connection is to be given to one.
struct Candidate {
  enum class Tried : uint8_t { kNever, kBefore, kLast };  // by this connection, in vain

  Target target;
  uint64_t youngest;       // grows with each tunnel of any target: of its youngest
  TimePoint since;         // when that was opened
  TimePoint heard;         // when the target was heard last
  size_t connections = 0;  // open now
  bool suspect = false;    // data to it is unanswered
  bool unhealthy = false;  // its origin does not work, as its agent says or the edge has seen
  Share share = {};
  Tried tried = Tried::kNever;
};

// Picks the target that gets a connection. Sans-I/O; remembers only whose turn it was on each route.
//
// Targets that may get it are ranked: those that this connection did not try come first, then healthy ones,
// then those that are not suspect, then those that were heard, then by priority, then by `Balance` and
// weight. One that it tried may get it again if it is no suspect and not the latest.
//
// Turns are by stride scheduling: each turn moves a target's next one into the future by the inverse of its
// weight, and the earliest is next. A target that was out of turns for a while does not catch up on them.
class Picker {
 public:
  // A killed agent says nothing, and the agent that takes its place is often a new one for the same
  // hostnames. So the target with the youngest tunnel is always good, and another only once it was heard
  // lately, and after younger ones of its priority came: agents are heard every 2 s (docs/protocol.md), this
  // allows for two losses.
  static constexpr Duration kSilence = std::chrono::seconds(7);

  explicit Picker(Balance balance) : balance_(balance) {}

  // The place in `candidates` of the one that gets its turn; nullopt: none may get it.
  std::optional<size_t> pick(const Route& route, std::span<const Candidate> candidates, TimePoint now);
  // Whether pick() would find one.
  static bool can_pick(std::span<const Candidate> candidates);
  // Forgets the turns of routes and targets that are gone.
  void forget(const Delta& changes);

 private:
  struct Turn {
    uint64_t due = 0;   // on the clock of its route
    uint64_t last = 0;  // when it had one, as turn_ counts
  };
  struct Turns {
    uint64_t clock = 0;  // when the turn came that was taken last
    std::map<Target, Turn> of;
  };

  const Balance balance_;
  std::unordered_map<std::string, Turns> turns_;  // by the route's id
  uint64_t turn_ = 0;
};

}  // namespace culvert::route
