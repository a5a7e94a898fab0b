#pragma once
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "route/delta.h"
#include "route/persistent_set.h"
#include "route/route.h"

namespace culvert::route {

class Snapshot;
using SnapshotPtr = std::shared_ptr<const Snapshot>;

// All routes at one version. Immutable and shared between threads; the next version shares with this one what
// did not change, so that a change costs O(change * log(routes)), and other routes nothing. What is returned
// by pointer lives as long as this or any other snapshot that has it.
class Snapshot {
 public:
  // None, at version 0.
  Snapshot() = default;
  // Two routes with the same match are a bug of the caller.
  static SnapshotPtr of(std::vector<Route> routes, uint64_t version);

  uint64_t version() const { return version_; }
  size_t size() const { return routes_.size(); }

  // Error: kConflict, the delta does not start at this version: take a complete snapshot instead.
  Result<SnapshotPtr> apply(const Delta& delta) const;
  // What leads from here to `other`, whatever their versions. Costs O(routes): for a snapshot that replaces
  // this one.
  Delta changes_to(const Snapshot& other) const;

  // The route for a hostname: exact first, then the one-level wildcard. `host` is folded already. nullptr:
  // unknown name.
  const Route* match(std::string_view host) const;
  // The route for one port, which may have a range that the port is in; nullptr: none.
  const Route* match(const PublicPort& port) const;
  const Route* find(const RouteId& id) const { return find_text(id.text()); }
  // True when at least one route leads to the agent: what lets its tunnel in and keeps it open.
  bool serves(const EndpointId& agent) const { return by_agent_.find(agent) != nullptr; }
  std::vector<const Route*> routes_of(const EndpointId& agent) const;
  // In the order of their ids.
  std::vector<const Route*> routes() const;

 private:
  using RoutePtr = std::shared_ptr<const Route>;
  struct ById {
    static std::string_view id(std::string_view text) { return text; }
    static std::string_view id(const RoutePtr& route) { return route->match.text(); }
    bool operator()(const auto& a, const auto& b) const { return id(a) < id(b); }
  };
  // By their ports; one port is equal to the range that has it.
  struct ByPorts {
    bool operator()(const RoutePtr& a, const RoutePtr& b) const {
      return *a->match.port() < *b->match.port();
    }
    bool operator()(const RoutePtr& a, const PublicPort& b) const {
      const PublicPort& range = *a->match.port();
      return range.protocol != b.protocol ? range.protocol < b.protocol : range.last() < b.number;
    }
    bool operator()(const PublicPort& a, const RoutePtr& b) const {
      const PublicPort& range = *b->match.port();
      return a.protocol != range.protocol ? a.protocol < range.protocol : a.number < range.number;
    }
  };
  struct OfAgent {
    EndpointId agent;
    RoutePtr route;
  };
  struct ByAgent {
    bool operator()(const OfAgent& a, const OfAgent& b) const {
      if (a.agent != b.agent) return a.agent < b.agent;
      return ById()(a.route, b.route);
    }
    bool operator()(const OfAgent& a, const EndpointId& b) const { return a.agent < b; }
    bool operator()(const EndpointId& a, const OfAgent& b) const { return a < b.agent; }
  };

  const Route* find_text(std::string_view id) const;
  void put(Route route);
  void remove(std::string_view id);

  uint64_t version_ = 0;
  PersistentSet<RoutePtr, ById> routes_;
  PersistentSet<RoutePtr, ByPorts> ranges_;  // those of more than one port
  PersistentSet<OfAgent, ByAgent> by_agent_;
};

}  // namespace culvert::route
