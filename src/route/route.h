#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/key.h"
#include "route/match.h"

namespace culvert::route {

enum class TlsMode : uint8_t { kPassthrough = 1, kTerminate = 2 };
const char* to_string(TlsMode mode);  // "passthrough", "terminate"
std::optional<TlsMode> parse_tls_mode(std::string_view text);

// Names a route among all: no two routes have the same match. The same in every process and after a restart.
class RouteId {
 public:
  explicit RouteId(const Match& match) : text_(match.text()) {}
  const std::string& text() const { return text_; }
  auto operator<=>(const RouteId&) const = default;

 private:
  std::string text_;
};

// An origin that an edge reaches itself.
struct LocalOrigin {
  std::string name;  // among all of the edge, e.g. "app.example.com=127.0.0.1:3000"

  auto operator<=>(const LocalOrigin&) const = default;
};

// Where a route's connections may go: the tunnels of one agent, or an origin beside the edge.
struct Target {
  std::variant<EndpointId, LocalOrigin> place;

  // nullptr: it is of the other kind.
  const EndpointId* agent() const { return std::get_if<EndpointId>(&place); }
  const LocalOrigin* origin() const { return std::get_if<LocalOrigin>(&place); }
  // For logs: the short form of the agent's key, or the origin's name.
  std::string text() const { return agent() != nullptr ? agent()->short_text() : origin()->name; }

  auto operator<=>(const Target&) const = default;
};

// What the hub allows a tenant at each edge, where that is less than the edge allows any tenant; 0: as that.
struct OwnLimits {
  uint32_t connections = 0;             // public ones at one time
  uint32_t connections_per_second = 0;  // that begin
  // Both directions together, of connections, and as many of UDP ports.
  uint32_t bytes_per_second = 0;
  uint32_t udp_flows = 0;  // of all UDP ports at one time

  bool operator==(const OwnLimits&) const = default;
};

struct Route {
  Match match;
  PublicKey tenant;
  // Of a hostname that agents serve. None: a port, or a hostname that is only reserved.
  std::optional<TlsMode> tls_mode;
  // None: the hostname is the tenant's and no agent serves it. Its clients are told so, and no wildcard of
  // another tenant gets them.
  std::vector<Target> targets;
  // Its tenant is suspended: clients are refused, and its agents keep their tunnels.
  bool is_suspended = false;
  // Of a port: what its agents know it by. Goes into the header of each stream.
  std::string service = {};
  OwnLimits own_limits = {};  // of its tenant; the same in all of its routes
  // When its tenant ends, for an edge that hears no hub then.
  std::optional<UnixTime> ends_at = {};

  RouteId id() const { return RouteId(match); }
  // Of the edge itself, not of a tenant: its targets are origins beside it.
  bool is_static() const { return !targets.empty() && targets.front().origin() != nullptr; }
  bool leads_to(const Target& target) const;
  bool leads_to(const EndpointId& agent) const { return leads_to(Target{agent}); }
  bool is_over(UnixTime now) const { return ends_at && *ends_at <= now; }

  bool operator==(const Route&) const = default;
};

}  // namespace culvert::route
