#include "agent/network_mover.h"

#include "base/host_port.h"
#include "base/log.h"

namespace culvert::agent {
namespace {

// Destinations that a change of the network matters for before any edge is known: the hubs that are given by
// address, and the default routes, by addresses that are reserved for documentation (RFC 5737, RFC 3849).
std::set<SocketAddr> first_destinations(const hubapi::InviteToken& token) {
  std::set<SocketAddr> out{*SocketAddr::parse("192.0.2.1:443"), *SocketAddr::parse("[2001:db8::1]:443")};
  for (const hubapi::HubUrl& url : hubapi::parse_hub_urls(token.hub_urls)) {
    if (auto address = SocketAddr::parse(HostPort{url.host, url.port}.to_string())) out.insert(*address);
  }
  return out;
}

}  // namespace

NetworkMover::NetworkMover(net::EventLoop& loop, const hubapi::InviteToken& token, net::Lifetime& lifetime)
    : loop_(loop),
      token_(token),
      lifetime_(lifetime),
      routes_([&loop](const SocketAddr& remote) { return net::source_address_for(loop, remote); }) {}

void NetworkMover::start(endpoint::Endpoint& endpoint) {
  endpoint_ = &endpoint;
  watch_routes();
  auto watch = net::NetworkWatch::start(loop_, [this] { network_changed(); });
  if (watch) {
    watch_ = std::move(*watch);
  } else {
    log_debug("network_watch_unavailable", "reason={}", quoted(watch.error().message));
  }
}

void NetworkMover::look_for(const EndpointId& edge, const std::vector<SocketAddr>& addresses) {
  edges_[edge] = addresses;
  watch_routes();
}

void NetworkMover::forget(const EndpointId& edge) {
  edges_.erase(edge);
  watch_routes();
}

void NetworkMover::add(const endpoint::ConnectionPtr& tunnel) {
  auto source = net::source_address_for(loop_, tunnel->path_stats().remote);
  if (source) sources_[tunnel] = *source;
}

void NetworkMover::remove(const endpoint::ConnectionPtr& tunnel) { sources_.erase(tunnel); }

void NetworkMover::watch_routes() {
  std::set<SocketAddr> destinations = first_destinations(token_);
  for (const auto& [edge, addresses] : edges_) destinations.insert(addresses.begin(), addresses.end());
  routes_.watch(destinations);
}

// Called for every change of any link, address or route: on a host of containers several times a second.
void NetworkMover::network_changed() {
  if (routes_.changed()) lifetime_.wake();
  bool moved = false;
  for (auto& [tunnel, source] : sources_) {
    auto now = net::source_address_for(loop_, tunnel->path_stats().remote);
    if (!now || *now == source)
      continue;  // no route at the moment: the change that brings one comes here again
    source = *now;
    moved = true;
  }
  if (!moved) return;
  auto rebound = endpoint_->rebind();
  if (rebound) {
    log_info("network_changed", "links={}", sources_.size());
  } else {
    log_warn("network_changed", "reason={}", quoted(rebound.error().message));
  }
}

}  // namespace culvert::agent
