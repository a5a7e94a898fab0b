#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/key.h"
#include "edge/static_route.h"
#include "route/delta.h"
#include "route/liveness.h"
#include "route/picker.h"
#include "tunnel/control.h"

namespace culvert::edge {

// The tunnels of all workers, by agent and worker: an agent may have one on each. And the origins beside the
// edge, which every worker reaches. Picks the tunnel or origin for a public connection. Thread-safe.
class TunnelRegistry {
 public:
  // Counts an open connection of an agent for as long as it lives, from the pick on.
  class Load {
   public:
    Load() = default;
    Load(Load&&) = default;
    Load& operator=(Load&& other) noexcept {
      std::swap(count_, other.count_);
      return *this;
    }
    ~Load() {
      if (count_) count_->fetch_sub(1, std::memory_order_relaxed);
    }

   private:
    friend class TunnelRegistry;
    using Count = std::shared_ptr<std::atomic<size_t>>;
    explicit Load(Count count) : count_(std::move(count)) { count_->fetch_add(1, std::memory_order_relaxed); }
    Count count_;
  };

  struct Pick {
    route::Target target;
    unsigned worker;
    uint64_t generation;
    Load load;
    StaticOriginPtr origin = nullptr;  // of a target beside the edge

    const EndpointId& agent() const { return *target.agent(); }  // of a tunnel
  };
  // Of one tunnel: as many services as the hub accepts of one agent.
  static constexpr size_t kMaxUnhealthy = 256;
  enum class HealthChange : uint8_t { kNothing, kFails, kOtherReason, kWorks };
  // The tunnels and origins that a connection was given to in vain, by generation; the last is the latest.
  using Tried = std::span<const uint64_t>;

  explicit TunnelRegistry(route::Balance balance) : picker_(balance) {}

  // Takes the place of the agent's tunnel on this worker, if it has one. Returns the tunnel's generation,
  // which grows with every tunnel.
  uint64_t add(const EndpointId& agent, unsigned worker, TimePoint now, const route::Share& share = {});
  // How many tunnels the agent has left; nullopt: this one was replaced before.
  std::optional<size_t> remove(const EndpointId& agent, uint64_t generation);
  // The tunnel is closed and about to be removed: it gets no more connections.
  void set_closed(const EndpointId& agent, uint64_t generation);
  // Its agent stops: it gets no new connection.
  void set_draining(const EndpointId& agent, uint64_t generation);
  // Data to it is unanswered; others are better.
  void set_suspect(const EndpointId& agent, uint64_t generation, bool suspect);
  void set_heard(const EndpointId& agent, uint64_t generation, TimePoint when);
  // How it is reached now.
  void set_path(const EndpointId& agent, uint64_t generation, const SocketAddr& remote, Duration rtt);
  // Every tunnel, by agent and worker.
  std::vector<route::TunnelState> tunnels(TimePoint now) const;
  // What the agent says of the origin of a service. kNothing also for a tunnel that is gone, and for more
  // services than an agent can have (kMaxUnhealthy).
  HealthChange set_health(const EndpointId& agent, uint64_t generation, const tunnel::Health& health);
  // Why the origin of this agent does not work, by its own word; empty: it works, as far as is known.
  std::string fault_of_origin(const EndpointId& agent, uint64_t generation, const route::Route& route) const;

  // The origins beside the edge from now on. Of those that stay it keeps what it knows.
  void set_origins(std::vector<StaticOriginPtr> origins, TimePoint now);
  // What the edge has seen of one; empty: it works, as far as is known.
  void set_origin_fault(const route::LocalOrigin& origin, std::string fault);
  struct OriginState {
    StaticOriginPtr origin;
    std::string fault;
    size_t connections;  // open now
  };
  std::vector<OriginState> origins() const;

  // The tunnel for one connection of this route: one of the target that the picker chooses, and of that
  // target's the one on `worker` unless another is better: it was not tried, is no suspect, or was heard, by
  // the rule of route::Picker. nullopt: none is left that is open, not draining and not tried in vain.
  std::optional<Pick> pick(const route::Route& route, unsigned worker, TimePoint now, Tried tried = {});
  // Whether pick() would find one.
  bool can_pick(const route::Route& route, TimePoint now, Tried tried) const;
  // The same of those whose origin works.
  bool has_healthy(const route::Route& route, TimePoint now, Tried tried) const;
  // Whether pick() would find one that was not tried.
  bool has_untried(const route::Route& route, TimePoint now, Tried tried) const;
  // Whether one of these targets has an open tunnel that is neither draining nor suspect, apart from this.
  bool has_substitute(const route::Route& route, uint64_t generation) const;
  // Whether one of these targets has an open tunnel that is younger than the last word from this.
  bool has_successor(const route::Route& route, uint64_t generation, TimePoint last_heard) const;
  // Once no worker picks by the routes before these changes.
  void forget(const route::Delta& changes);

 private:
  struct Tunnel {
    unsigned worker;
    uint64_t generation;
    TimePoint since;
    TimePoint heard;
    bool open = true;
    bool draining = false;
    bool suspect = false;
    route::Share share = {};
    SocketAddr remote = {};
    Duration rtt{};
    std::map<std::string, std::string, std::less<>> unhealthy =
        {};  // services by tunnel::health_name, and why

    bool takes_connections() const { return open && !draining; }
  };
  struct Agent {
    std::vector<Tunnel> tunnels;  // one for each worker at most
    Load::Count connections = std::make_shared<std::atomic<size_t>>(0);
  };
  struct Local {
    StaticOriginPtr origin;
    uint64_t generation;
    TimePoint since;
    std::string fault = {};
    Load::Count connections = std::make_shared<std::atomic<size_t>>(0);
  };
  struct Choice {
    std::vector<route::Candidate> candidates;
    // Of each candidate its best tunnel, or what the edge reaches itself.
    std::vector<std::variant<const Tunnel*, const Local*>> ways;
  };

  void add_agent(Choice& choice, const EndpointId& id, const route::Route& route, unsigned worker,
                 TimePoint now, Tried tried) const;
  void add_origin(Choice& choice, const route::LocalOrigin& id, TimePoint now, Tried tried) const;
  Choice choice(const route::Route& route, unsigned worker, TimePoint now, Tried tried) const;
  static bool is_unhealthy(const Tunnel& tunnel, const route::Route& route);
  Tunnel* find(const EndpointId& agent, uint64_t generation);
  const Tunnel* find(const EndpointId& agent, uint64_t generation) const;
  bool any_tunnel(const route::Route& route, auto predicate) const;

  mutable std::mutex mutex_;
  std::unordered_map<EndpointId, Agent> agents_;
  std::map<route::LocalOrigin, Local> origins_;
  route::Picker picker_;
  uint64_t generations_ = 0;
};

}  // namespace culvert::edge
