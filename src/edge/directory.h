#pragma once
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/key.h"
#include "route/delta.h"

namespace culvert::edge {

// Which worker holds the tunnel of which agent, and which agent gets a route's next connection. Thread-safe.
class Directory {
 public:
  // A killed agent says nothing, and the agent that takes its place is often a new one for the same
  // hostnames. So the youngest tunnel is always good, and an older one only once it was heard after the
  // youngest came, and lately: agents are heard every 2 s (docs/protocol.md), this allows for two losses.
  static constexpr Duration kSilence = std::chrono::seconds(7);

  struct Entry {
    unsigned worker;
    uint64_t generation;  // grows with every tunnel: tells a tunnel from its successor
    TimePoint since;      // when it was let in
    TimePoint heard;      // the last time that its worker reported
    bool open = true;
    bool draining = false;  // its agent stops: no new connection is for it
    bool suspect = false;   // data to it is unanswered; others are better
  };
  struct Added {
    uint64_t generation;
    std::optional<Entry> replaced;  // the agent's tunnel until now: its worker is to close it
  };
  struct Pick {
    EndpointId agent;
    unsigned worker;
    uint64_t generation;
  };
  // The tunnels that a connection was given to in vain, by generation; the last is the latest.
  using Tried = std::span<const uint64_t>;

  Added add(const EndpointId& agent, unsigned worker, TimePoint now);
  // False when a newer tunnel of the agent has taken the place.
  bool remove(const EndpointId& agent, uint64_t generation);
  // The tunnel is closed and about to be removed: pick() does not return it any more.
  void set_closed(const EndpointId& agent, uint64_t generation);
  void set_draining(const EndpointId& agent, uint64_t generation);
  void set_suspect(const EndpointId& agent, uint64_t generation, bool suspect);
  void set_heard(const EndpointId& agent, uint64_t generation, TimePoint when);

  // The youngest open tunnel of any of these targets.
  std::optional<Entry> newest(const std::vector<route::Target>& targets) const;
  // The agent for one connection of this route: of those that are best, the one that had its turn on this
  // route the longest time ago. Good ones come before those that were not heard, these before suspects, and
  // all of them before those that were tried, of which suspects and the latest do not count. nullopt: none is
  // left that is open and not draining.
  std::optional<Pick> pick(const route::Route& route, TimePoint now, Tried tried = {});
  // Whether pick() would find one.
  bool has_pick(const route::Route& route, Tried tried) const;
  // Whether one of these targets has an open tunnel that is neither draining nor suspect, apart from `agent`.
  bool has_substitute(const std::vector<route::Target>& targets, const EndpointId& agent) const;
  // Forgets the turns of routes and targets that are gone.
  void forget_turns(const route::Delta& changes);

 private:
  using Turns = std::unordered_map<EndpointId, uint64_t>;  // when each agent had its last turn

  static bool may_get(const Entry& entry, Tried tried);
  // `takes_new`: of those that are not draining.
  const Entry* newest_of(const std::vector<route::Target>& targets, bool takes_new) const;
  Entry* find(const EndpointId& agent, uint64_t generation);

  mutable std::mutex mutex_;
  std::unordered_map<EndpointId, Entry> entries_;
  std::unordered_map<std::string, Turns> turns_;  // by the route's pattern
  uint64_t generations_ = 0;
  uint64_t turn_ = 0;
};

}  // namespace culvert::edge
