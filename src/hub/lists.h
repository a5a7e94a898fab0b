#pragma once
#include "http/router.h"
#include "hub/hub.h"
#include "hub/refused_services.h"
#include "hub/state.h"

namespace boost::json {
class object;
}

// What the operator may look at besides invites: agents, claims, routes and certificates. Lists have pages
// (Page).
namespace culvert::hub {

// One of what an agent declares and is refused, with the reason.
boost::json::object refused_entry(const State& state, const EndpointId& agent,
                                  const RefusedServices::OfAgent& declared,
                                  const RefusedServices::Refused& refused);

class Lists {
 public:
  // All outlive it.
  Lists(const Config& config, const State& state, const RefusedServices& refused)
      : config_(config), state_(state), refused_(refused) {}

  // Agents that hold a lease, by their ids; ?after=AGENT.
  http::Response agents(const http::Exchange& exchange) const;
  // The route with this pattern, or the one that serves this hostname.
  http::Response route(const http::Exchange& exchange) const;
  // Certificates of public CAs, by name; ?after=NAME.
  http::Response certificates(const http::Exchange& exchange) const;
  // Claims of ports, by protocol and number; ?after=PORT, as in tcp/2222.
  http::Response claims(const http::Exchange& exchange) const;
  // What agents declare and are refused; ?after=AGENT/NUMBER.
  http::Response refused_services(const http::Exchange& exchange) const;
  // Routes, by what they match; ?after=MATCH.
  http::Response routes(const http::Exchange& exchange) const;

 private:
  const Config& config_;
  const State& state_;
  const RefusedServices& refused_;
};

}  // namespace culvert::hub
