#include "edge/tunnel_registry.h"

#include <algorithm>
#include <ranges>
#include <tuple>

namespace culvert::edge {

uint64_t TunnelRegistry::add(const EndpointId& agent, unsigned worker, TimePoint now,
                             const route::Share& share) {
  std::lock_guard lock(mutex_);
  std::vector<Tunnel>& tunnels = agents_[agent].tunnels;
  std::erase_if(tunnels, [&](const Tunnel& old) { return old.worker == worker; });
  tunnels.push_back(
      {.worker = worker, .generation = ++generations_, .since = now, .heard = now, .share = share});
  return generations_;
}

std::optional<size_t> TunnelRegistry::remove(const EndpointId& agent, uint64_t generation) {
  std::lock_guard lock(mutex_);
  const auto place = agents_.find(agent);
  if (place == agents_.end()) return std::nullopt;
  std::vector<Tunnel>& tunnels = place->second.tunnels;
  if (std::erase_if(tunnels, [&](const Tunnel& old) { return old.generation == generation; }) == 0)
    return std::nullopt;
  const size_t left = tunnels.size();
  if (left == 0) agents_.erase(place);
  return left;
}

void TunnelRegistry::set_closed(const EndpointId& agent, uint64_t generation) {
  std::lock_guard lock(mutex_);
  if (Tunnel* tunnel = find(agent, generation)) tunnel->open = false;
}

void TunnelRegistry::set_draining(const EndpointId& agent, uint64_t generation) {
  std::lock_guard lock(mutex_);
  if (Tunnel* tunnel = find(agent, generation)) tunnel->draining = true;
}

void TunnelRegistry::set_suspect(const EndpointId& agent, uint64_t generation, bool suspect) {
  std::lock_guard lock(mutex_);
  if (Tunnel* tunnel = find(agent, generation)) tunnel->suspect = suspect;
}

void TunnelRegistry::set_heard(const EndpointId& agent, uint64_t generation, TimePoint when) {
  std::lock_guard lock(mutex_);
  if (Tunnel* tunnel = find(agent, generation)) tunnel->heard = when;
}

TunnelRegistry::HealthChange TunnelRegistry::set_health(const EndpointId& agent, uint64_t generation,
                                                        const tunnel::Health& health) {
  std::lock_guard lock(mutex_);
  Tunnel* tunnel = find(agent, generation);
  if (tunnel == nullptr) return HealthChange::kNothing;
  auto& unhealthy = tunnel->unhealthy;
  if (health.is_healthy)
    return unhealthy.erase(health.service) > 0 ? HealthChange::kWorks : HealthChange::kNothing;
  const auto known = unhealthy.find(health.service);
  if (known != unhealthy.end()) {
    const bool is_same = std::exchange(known->second, health.reason) == health.reason;
    return is_same ? HealthChange::kNothing : HealthChange::kOtherReason;
  }
  if (unhealthy.size() >= kMaxUnhealthy) return HealthChange::kNothing;
  unhealthy.emplace(health.service, health.reason);
  return HealthChange::kFails;
}

std::string TunnelRegistry::fault_of_origin(const EndpointId& agent, uint64_t generation,
                                            const route::Route& route) const {
  std::lock_guard lock(mutex_);
  const Tunnel* tunnel = find(agent, generation);
  if (tunnel == nullptr) return {};
  const auto fault = tunnel->unhealthy.find(tunnel::health_name(route));
  return fault == tunnel->unhealthy.end() ? std::string() : fault->second;
}

std::optional<TunnelRegistry::Pick> TunnelRegistry::pick(const route::Route& route, unsigned worker,
                                                         TimePoint now, Tried tried) {
  std::lock_guard lock(mutex_);
  const Choice among = choice(route, worker, now, tried);
  const auto place = picker_.pick(route, among.candidates, now);
  if (!place) return std::nullopt;
  const EndpointId& agent = among.candidates[*place].agent;
  const Tunnel& tunnel = *among.tunnels[*place];
  return Pick{agent, tunnel.worker, tunnel.generation, Load(agents_.at(agent).connections)};
}

bool TunnelRegistry::can_pick(const route::Route& route, TimePoint now, Tried tried) const {
  std::lock_guard lock(mutex_);
  return route::Picker::can_pick(choice(route, 0, now, tried).candidates);
}

bool TunnelRegistry::has_healthy(const route::Route& route, TimePoint now, Tried tried) const {
  std::lock_guard lock(mutex_);
  std::vector<route::Candidate> candidates = choice(route, 0, now, tried).candidates;
  std::erase_if(candidates, [](const route::Candidate& each) { return each.unhealthy; });
  return route::Picker::can_pick(candidates);
}

bool TunnelRegistry::has_untried(const route::Route& route, TimePoint now, Tried tried) const {
  std::lock_guard lock(mutex_);
  const std::vector<route::Candidate> candidates = choice(route, 0, now, tried).candidates;
  return std::ranges::find(candidates, route::Candidate::Tried::kNever, &route::Candidate::tried) !=
         candidates.end();
}

// Most agents have nothing to report, and then no name is made.
bool TunnelRegistry::is_unhealthy(const Tunnel& tunnel, const route::Route& route) {
  return !tunnel.unhealthy.empty() && tunnel.unhealthy.contains(tunnel::health_name(route));
}

TunnelRegistry::Choice TunnelRegistry::choice(const route::Route& route, unsigned worker, TimePoint now,
                                              Tried tried) const {
  using enum route::Candidate::Tried;
  Choice choice;
  const auto tried_before = [&](const Tunnel& tunnel) {
    if (std::ranges::find(tried, tunnel.generation) == tried.end()) return kNever;
    return tunnel.generation == tried.back() ? kLast : kBefore;
  };
  for (const auto& [id] : route.targets) {
    const auto agent = agents_.find(id);
    if (agent == agents_.end()) continue;
    auto open = agent->second.tunnels | std::views::filter(&Tunnel::takes_connections);
    if (open.empty()) continue;
    const Tunnel& youngest = *std::ranges::max_element(open, {}, &Tunnel::generation);
    const TimePoint heard_since = std::max(youngest.since, now - route::Picker::kSilence);
    // The lowest is the best; the first member counts most: tried, suspect, not heard, of another worker,
    // age.
    const auto rank = [&](const Tunnel& tunnel) {
      const bool unheard = tunnel.generation != youngest.generation && tunnel.heard < heard_since;
      return std::tuple(tried_before(tunnel), tunnel.suspect, unheard, tunnel.worker != worker,
                        youngest.generation - tunnel.generation);
    };
    const Tunnel& best = *std::ranges::min_element(open, {}, rank);
    auto was_tried = tried_before(best);
    if (was_tried == kNever &&
        std::ranges::any_of(open, [&](const Tunnel& tunnel) { return tried_before(tunnel) != kNever; })) {
      was_tried = kBefore;
    }
    choice.candidates.push_back({.agent = id,
                                 .youngest = youngest.generation,
                                 .since = youngest.since,
                                 .heard = std::ranges::max(open | std::views::transform(&Tunnel::heard)),
                                 .connections = agent->second.connections->load(std::memory_order_relaxed),
                                 .suspect = best.suspect,
                                 .unhealthy = is_unhealthy(best, route),
                                 .share = best.share,
                                 .tried = was_tried});
    choice.tunnels.push_back(&best);
  }
  return choice;
}

bool TunnelRegistry::any_tunnel(const route::Route& route, auto predicate) const {
  return std::ranges::any_of(route.targets, [&](const route::Target& target) {
    const auto agent = agents_.find(target.agent);
    return agent != agents_.end() && std::ranges::any_of(agent->second.tunnels, predicate);
  });
}

bool TunnelRegistry::has_substitute(const route::Route& route, uint64_t generation) const {
  std::lock_guard lock(mutex_);
  return any_tunnel(route, [&](const Tunnel& other) {
    return other.generation != generation && other.takes_connections() && !other.suspect;
  });
}

bool TunnelRegistry::has_successor(const route::Route& route, uint64_t generation,
                                   TimePoint last_heard) const {
  std::lock_guard lock(mutex_);
  return any_tunnel(route, [&](const Tunnel& other) {
    return other.generation != generation && other.open && other.since > last_heard;
  });
}

void TunnelRegistry::forget(const route::Delta& changes) {
  std::lock_guard lock(mutex_);
  picker_.forget(changes);
}

const TunnelRegistry::Tunnel* TunnelRegistry::find(const EndpointId& agent, uint64_t generation) const {
  const auto place = agents_.find(agent);
  if (place == agents_.end()) return nullptr;
  const auto tunnel = std::ranges::find(place->second.tunnels, generation, &Tunnel::generation);
  return tunnel == place->second.tunnels.end() ? nullptr : &*tunnel;
}

TunnelRegistry::Tunnel* TunnelRegistry::find(const EndpointId& agent, uint64_t generation) {
  return const_cast<Tunnel*>(std::as_const(*this).find(agent, generation));
}

}  // namespace culvert::edge
