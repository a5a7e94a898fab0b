#pragma once
#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "route/route.h"

// For tests: agents by number, and routes to them.
namespace culvert::route::testing {

// The same key for the same number. Derived once: some tests ask for it often.
inline const EndpointId& id(uint8_t number) {
  static std::map<uint8_t, EndpointId> made;
  auto found = made.find(number);
  if (found == made.end()) {
    const EndpointId derived = SecretKey::from_seed(Bytes(32, number)).value().public_key();
    found = made.emplace(number, derived).first;
  }
  return found->second;
}

// All of one tenant.
inline Route route(std::string_view host, const std::vector<EndpointId>& agents,
                   TlsMode mode = TlsMode::kPassthrough) {
  Route made{HostPattern::parse(host).value(), id(200), mode, {}};
  for (const EndpointId& agent : agents) made.targets.push_back({agent});
  return made;
}

inline Route port_route(PortProtocol protocol, uint16_t number, const std::vector<EndpointId>& agents,
                        std::string service = "game") {
  Route made{PublicPort{protocol, number}, id(200), std::nullopt, {}};
  for (const EndpointId& agent : agents) made.targets.push_back({agent});
  made.service = std::move(service);
  return made;
}

inline Route range_route(PortProtocol protocol, uint16_t first, uint16_t last,
                         const std::vector<EndpointId>& agents, std::string service = "relay") {
  Route made = port_route(protocol, first, agents, std::move(service));
  made.match = PublicPort{protocol, first, static_cast<uint16_t>(last - first)};
  return made;
}

}  // namespace culvert::route::testing
