#include "edge/directory.h"

#include <algorithm>
#include <tuple>

namespace culvert::edge {

Directory::Added Directory::add(const EndpointId& agent, unsigned worker, TimePoint now) {
  std::lock_guard lock(mutex_);
  Added added{++generations_, std::nullopt};
  auto [place, fresh] = entries_.try_emplace(agent);
  if (!fresh) added.replaced = place->second;
  place->second = {worker, added.generation, now, now};
  return added;
}

bool Directory::remove(const EndpointId& agent, uint64_t generation) {
  std::lock_guard lock(mutex_);
  if (find(agent, generation) == nullptr) return false;
  entries_.erase(agent);
  return true;
}

void Directory::set_closed(const EndpointId& agent, uint64_t generation) {
  std::lock_guard lock(mutex_);
  if (Entry* entry = find(agent, generation)) entry->open = false;
}

void Directory::set_draining(const EndpointId& agent, uint64_t generation) {
  std::lock_guard lock(mutex_);
  if (Entry* entry = find(agent, generation)) entry->draining = true;
}

void Directory::set_suspect(const EndpointId& agent, uint64_t generation, bool suspect) {
  std::lock_guard lock(mutex_);
  if (Entry* entry = find(agent, generation)) entry->suspect = suspect;
}

void Directory::set_heard(const EndpointId& agent, uint64_t generation, TimePoint when) {
  std::lock_guard lock(mutex_);
  if (Entry* entry = find(agent, generation)) entry->heard = when;
}

std::optional<Directory::Entry> Directory::newest(const std::vector<route::Target>& targets) const {
  std::lock_guard lock(mutex_);
  const Entry* best = newest_of(targets, false);
  return best == nullptr ? std::nullopt : std::optional(*best);
}

bool Directory::may_get(const Entry& entry, Tried tried) {
  if (!entry.open || entry.draining) return false;
  if (std::ranges::find(tried, entry.generation) == tried.end()) return true;
  return !entry.suspect && entry.generation != tried.back();
}

bool Directory::has_pick(const route::Route& route, Tried tried) const {
  std::lock_guard lock(mutex_);
  return std::ranges::any_of(route.targets, [&](const route::Target& target) {
    auto place = entries_.find(target.agent);
    return place != entries_.end() && may_get(place->second, tried);
  });
}

bool Directory::has_substitute(const std::vector<route::Target>& targets, const EndpointId& agent) const {
  std::lock_guard lock(mutex_);
  return std::ranges::any_of(targets, [&](const route::Target& other) {
    auto place = entries_.find(other.agent);
    return other.agent != agent && place != entries_.end() && place->second.open && !place->second.draining &&
           !place->second.suspect;
  });
}

std::optional<Directory::Pick> Directory::pick(const route::Route& route, TimePoint now, Tried tried) {
  std::lock_guard lock(mutex_);
  const Entry* newest = newest_of(route.targets, true);
  if (newest == nullptr) return std::nullopt;
  const TimePoint heard_since = std::max(newest->since, now - kSilence);
  // The worst that counts most: tried, suspect, not heard, last turn.
  using Rank = std::tuple<bool, bool, bool, uint64_t>;
  Turns& turns = turns_[route.match.text()];
  std::optional<Pick> best;
  Rank best_rank;
  for (const auto& [agent] : route.targets) {
    auto place = entries_.find(agent);
    if (place == entries_.end() || !may_get(place->second, tried)) continue;
    const Entry& entry = place->second;
    const bool was_tried = std::ranges::find(tried, entry.generation) != tried.end();
    const bool unheard = entry.generation != newest->generation && entry.heard < heard_since;
    auto had = turns.find(agent);
    const Rank rank{was_tried, entry.suspect, unheard, had == turns.end() ? 0 : had->second};
    if (best && rank >= best_rank) continue;
    best = Pick{agent, entry.worker, entry.generation};
    best_rank = rank;
  }
  if (best) turns[best->agent] = ++turn_;
  return best;
}

void Directory::forget_turns(const route::Delta& changes) {
  std::lock_guard lock(mutex_);
  for (const route::RouteId& removed : changes.removals) turns_.erase(removed.text());
  for (const route::Route& changed : changes.upserts) {
    auto had = turns_.find(changed.match.text());
    if (had != turns_.end())
      std::erase_if(had->second, [&](const auto& turn) { return !changed.leads_to(turn.first); });
  }
}

const Directory::Entry* Directory::newest_of(const std::vector<route::Target>& targets,
                                             bool takes_new) const {
  const Entry* best = nullptr;
  for (const auto& [agent] : targets) {
    auto place = entries_.find(agent);
    if (place == entries_.end() || !place->second.open) continue;
    if (takes_new && place->second.draining) continue;
    if (best == nullptr || place->second.generation > best->generation) best = &place->second;
  }
  return best;
}

Directory::Entry* Directory::find(const EndpointId& agent, uint64_t generation) {
  auto place = entries_.find(agent);
  return place == entries_.end() || place->second.generation != generation ? nullptr : &place->second;
}

}  // namespace culvert::edge
