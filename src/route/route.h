#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/key.h"
#include "route/hostname.h"

namespace culvert::route {

enum class TlsMode : uint8_t { kPassthrough = 1, kTerminate = 2 };
const char* to_string(TlsMode mode);  // "passthrough", "terminate"
std::optional<TlsMode> parse_tls_mode(std::string_view text);

// What a public connection must ask for to be given a route.
using Match = HostPattern;

// Names a route among all: no two routes have the same match. The same in every process and after a restart.
class RouteId {
 public:
  explicit RouteId(const Match& match) : text_(match.text()) {}
  const std::string& text() const { return text_; }
  auto operator<=>(const RouteId&) const = default;

 private:
  std::string text_;
};

// Where a route's connections may go: the tunnels of one agent.
struct Target {
  EndpointId agent;

  auto operator<=>(const Target&) const = default;
};

struct Route {
  Match match;
  PublicKey tenant;
  TlsMode tls_mode;
  std::vector<Target> targets;
  // Its tenant is suspended: clients are refused, and its agents keep their tunnels.
  bool is_suspended = false;

  RouteId id() const { return RouteId(match); }
  bool leads_to(const EndpointId& agent) const;

  bool operator==(const Route&) const = default;
};

}  // namespace culvert::route
