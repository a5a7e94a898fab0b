#pragma once
#include <chrono>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/key.h"
#include "hub/invite.h"
#include "hubapi/declaration.h"

namespace culvert::hub {

// What agents declared and were refused, while they go on declaring it: agents are told in the answer, and
// operators see it here. As this hub answered; not stored. Sans-I/O.
class RefusedServices {
 public:
  // An agent declares every 30 s; one that has missed this many in a row is no longer there.
  static constexpr Duration kKept = std::chrono::minutes(2);
  // Of the agents beyond them, those that declared longest ago are forgotten.
  static constexpr size_t kMaxAgents = 1000;
  // The first of each agent; the rest is only counted.
  static constexpr size_t kMaxPerAgent = 32;

  struct Refused {
    std::string wanted;   // "x.example.com", "tcp/2222", "udp" when the hub was to pick the port
    std::string service;  // of a port
    std::string reason;
    bool operator==(const Refused&) const = default;
  };
  struct OfAgent {
    InviteId invite;
    std::vector<Refused> refused;
    size_t count;  // of them all
    UnixTime since;
    TimePoint declared_at;
  };

  // What became of an agent's declaration; what was accepted is passed over. Returns what was not refused to
  // it before, at most kMaxPerAgent.
  std::vector<Refused> note(const InviteId& invite, const EndpointId& agent,
                            const std::vector<hubapi::ServiceVerdict>& services,
                            const std::vector<hubapi::PortVerdict>& ports, TimePoint now, UnixTime wall);
  // Forgets agents that declare no more.
  void expire(TimePoint now);

  const std::map<EndpointId, OfAgent>& all() const { return agents_; }
  size_t count() const { return count_; }

 private:
  void forget(const EndpointId& agent);

  std::map<EndpointId, OfAgent> agents_;
  // When each declared last, the oldest first; an agent that declared again is here more than once.
  std::deque<std::pair<TimePoint, EndpointId>> order_;
  size_t count_ = 0;  // of all agents
};

}  // namespace culvert::hub
