#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/key.h"
#include "route/hostname.h"

namespace culvert::route {

enum class TlsMode : uint8_t { kPassthrough = 1, kTerminate = 2 };
const char* to_string(TlsMode mode);  // "passthrough", "terminate"
std::optional<TlsMode> parse_tls_mode(std::string_view text);

// A hostname that the public may ask for, and the agents that serve it.
struct Route {
  HostPattern host;
  PublicKey tenant;
  TlsMode tls_mode;
  std::vector<EndpointId> agents;
};

// All routes at one moment. Immutable: shared between threads, replaced as a whole.
class Table {
 public:
  // A later route for the same pattern is a bug of the caller.
  explicit Table(std::vector<Route> routes);

  // Exact first, then the one-level wildcard. `host` is folded already. nullptr: unknown name.
  const Route* match(std::string_view host) const;
  // True when the agent serves at least one route: what lets its tunnel in and keeps it open.
  bool serves(const EndpointId& agent) const { return agents_.contains(agent); }
  const std::vector<Route>& routes() const { return routes_; }

 private:
  std::vector<Route> routes_;
  std::unordered_map<std::string, size_t> by_pattern_;
  std::unordered_set<EndpointId> agents_;
};
using TablePtr = std::shared_ptr<const Table>;

}  // namespace culvert::route
