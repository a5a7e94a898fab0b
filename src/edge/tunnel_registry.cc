#include "edge/tunnel_registry.h"

#include <algorithm>
#include <ranges>
#include <tuple>

namespace culvert::edge {
namespace {

route::Candidate::Tried tried_before(uint64_t generation, TunnelRegistry::Tried tried) {
  using enum route::Candidate::Tried;
  if (std::ranges::find(tried, generation) == tried.end()) return kNever;
  return generation == tried.back() ? kLast : kBefore;
}

}  // namespace

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

void TunnelRegistry::set_path(const EndpointId& agent, uint64_t generation, const SocketAddr& remote,
                              Duration rtt) {
  std::lock_guard lock(mutex_);
  Tunnel* tunnel = find(agent, generation);
  if (tunnel == nullptr) return;
  tunnel->remote = remote;
  tunnel->rtt = rtt;
}

std::vector<route::TunnelState> TunnelRegistry::tunnels(TimePoint now) const {
  std::vector<route::TunnelState> all;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, agent] : agents_) {
      for (const Tunnel& tunnel : agent.tunnels) {
        if (!tunnel.open) continue;
        all.push_back({.agent = id,
                       .remote = tunnel.remote,
                       .rtt = tunnel.rtt,
                       .age = now - tunnel.since,
                       .worker = tunnel.worker,
                       .connections = agent.connections->load(std::memory_order_relaxed),
                       .is_draining = tunnel.draining,
                       .is_silent = tunnel.suspect});
      }
    }
  }
  std::ranges::sort(all, {},
                    [](const route::TunnelState& each) { return std::tie(each.agent, each.worker); });
  return all;
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

void TunnelRegistry::set_origins(std::vector<StaticOriginPtr> origins, TimePoint now) {
  std::lock_guard lock(mutex_);
  std::map<route::LocalOrigin, Local> before = std::exchange(origins_, {});
  for (StaticOriginPtr& origin : origins) {
    const auto known = before.find(origin->name);
    if (known == before.end()) {
      origins_.emplace(origin->name, Local{.origin = origin, .generation = ++generations_, .since = now});
      continue;
    }
    Local local = std::move(known->second);
    local.origin = origin;
    origins_.emplace(origin->name, std::move(local));
  }
}

void TunnelRegistry::set_origin_fault(const route::LocalOrigin& origin, std::string fault) {
  std::lock_guard lock(mutex_);
  const auto known = origins_.find(origin);
  if (known != origins_.end()) known->second.fault = std::move(fault);
}

std::vector<TunnelRegistry::OriginState> TunnelRegistry::origins() const {
  std::lock_guard lock(mutex_);
  std::vector<OriginState> all;
  for (const auto& [name, local] : origins_)
    all.push_back({local.origin, local.fault, local.connections->load(std::memory_order_relaxed)});
  return all;
}

std::optional<TunnelRegistry::Pick> TunnelRegistry::pick(const route::Route& route, unsigned worker,
                                                         TimePoint now, Tried tried) {
  std::lock_guard lock(mutex_);
  const Choice among = choice(route, worker, now, tried);
  const auto place = picker_.pick(route, among.candidates, now);
  if (!place) return std::nullopt;
  const route::Target& target = among.candidates[*place].target;
  if (const auto* local = std::get_if<const Local*>(&among.ways[*place]))
    return Pick{target, worker, (*local)->generation, Load((*local)->connections), (*local)->origin};
  const Tunnel& tunnel = *std::get<const Tunnel*>(among.ways[*place]);
  return Pick{target, tunnel.worker, tunnel.generation, Load(agents_.at(*target.agent()).connections)};
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
  Choice choice;
  for (const route::Target& target : route.targets) {
    if (const EndpointId* agent = target.agent()) {
      add_agent(choice, *agent, route, worker, now, tried);
    } else {
      add_origin(choice, *target.origin(), now, tried);
    }
  }
  return choice;
}

void TunnelRegistry::add_origin(Choice& choice, const route::LocalOrigin& id, TimePoint now,
                                Tried tried) const {
  const auto known = origins_.find(id);
  if (known == origins_.end()) return;
  const Local& local = known->second;
  choice.candidates.push_back({.target = {id},
                               .youngest = local.generation,
                               .since = local.since,
                               .heard = now,
                               .connections = local.connections->load(std::memory_order_relaxed),
                               .unhealthy = !local.fault.empty(),
                               .share = local.origin->share,
                               .tried = tried_before(local.generation, tried)});
  choice.ways.emplace_back(&local);
}

void TunnelRegistry::add_agent(Choice& choice, const EndpointId& id, const route::Route& route,
                               unsigned worker, TimePoint now, Tried tried) const {
  using enum route::Candidate::Tried;
  const auto agent = agents_.find(id);
  if (agent == agents_.end()) return;
  auto open = agent->second.tunnels | std::views::filter(&Tunnel::takes_connections);
  if (open.empty()) return;
  const Tunnel& youngest = *std::ranges::max_element(open, {}, &Tunnel::generation);
  const TimePoint heard_since = std::max(youngest.since, now - route::Picker::kSilence);
  // The lowest is the best; the first member counts most: tried, suspect, not heard, of another worker,
  // age.
  const auto rank = [&](const Tunnel& tunnel) {
    const bool unheard = tunnel.generation != youngest.generation && tunnel.heard < heard_since;
    return std::tuple(tried_before(tunnel.generation, tried), tunnel.suspect, unheard,
                      tunnel.worker != worker, youngest.generation - tunnel.generation);
  };
  const Tunnel& best = *std::ranges::min_element(open, {}, rank);
  auto was_tried = tried_before(best.generation, tried);
  if (was_tried == kNever && std::ranges::any_of(open, [&](const Tunnel& tunnel) {
        return tried_before(tunnel.generation, tried) != kNever;
      })) {
    was_tried = kBefore;
  }
  choice.candidates.push_back({.target = {id},
                               .youngest = youngest.generation,
                               .since = youngest.since,
                               .heard = std::ranges::max(open | std::views::transform(&Tunnel::heard)),
                               .connections = agent->second.connections->load(std::memory_order_relaxed),
                               .suspect = best.suspect,
                               .unhealthy = is_unhealthy(best, route),
                               .share = best.share,
                               .tried = was_tried});
  choice.ways.emplace_back(&best);
}

bool TunnelRegistry::any_tunnel(const route::Route& route, auto predicate) const {
  return std::ranges::any_of(route.targets, [&](const route::Target& target) {
    if (target.agent() == nullptr) return false;
    const auto agent = agents_.find(*target.agent());
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
