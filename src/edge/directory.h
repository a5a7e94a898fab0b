#pragma once
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/key.h"

namespace culvert::edge {

// Which worker holds the tunnel of which agent. Thread-safe.
class Directory {
 public:
  struct Entry {
    unsigned worker;
    uint64_t generation;  // grows with every tunnel: tells a tunnel from its successor
    TimePoint since;      // when it was let in
  };
  struct Added {
    uint64_t generation;
    std::optional<Entry> replaced;  // the agent's tunnel until now: its worker is to close it
  };

  Added add(const EndpointId& agent, unsigned worker, TimePoint now) {
    std::lock_guard lock(mutex_);
    Added added{++generations_, std::nullopt};
    auto [place, fresh] = entries_.try_emplace(agent);
    if (!fresh) added.replaced = place->second;
    place->second = {worker, added.generation, now};
    return added;
  }

  // False when a newer tunnel of the agent has taken the place.
  bool remove(const EndpointId& agent, uint64_t generation) {
    std::lock_guard lock(mutex_);
    auto place = entries_.find(agent);
    if (place == entries_.end() || place->second.generation != generation) return false;
    entries_.erase(place);
    return true;
  }

  // The youngest tunnel of any of these agents.
  std::optional<Entry> newest(const std::vector<EndpointId>& agents) const {
    std::lock_guard lock(mutex_);
    std::optional<Entry> best;
    for (const EndpointId& agent : agents) {
      auto place = entries_.find(agent);
      if (place == entries_.end()) continue;
      if (!best || place->second.generation > best->generation) best = place->second;
    }
    return best;
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_map<EndpointId, Entry> entries_;
  uint64_t generations_ = 0;
};

}  // namespace culvert::edge
