#include "edge/directory.h"

#include <algorithm>

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

void Directory::set_heard(const EndpointId& agent, uint64_t generation, TimePoint when) {
  std::lock_guard lock(mutex_);
  if (Entry* entry = find(agent, generation)) entry->heard = when;
}

std::optional<Directory::Entry> Directory::newest(const std::vector<EndpointId>& agents) const {
  std::lock_guard lock(mutex_);
  const Entry* best = newest_of(agents, false);
  return best == nullptr ? std::nullopt : std::optional(*best);
}

std::optional<Directory::Pick> Directory::pick(const route::Route& route, TimePoint now) {
  std::lock_guard lock(mutex_);
  const Entry* newest = newest_of(route.agents, true);
  if (newest == nullptr) return std::nullopt;
  const TimePoint heard_since = std::max(newest->since, now - kSilence);
  Turns& turns = turns_[route.host.text()];
  std::optional<Pick> best;
  uint64_t best_turn = 0;
  for (const EndpointId& agent : route.agents) {
    auto place = entries_.find(agent);
    if (place == entries_.end() || !place->second.open || place->second.draining) continue;
    const Entry& entry = place->second;
    if (entry.generation != newest->generation && entry.heard < heard_since) continue;
    auto had = turns.find(agent);
    const uint64_t turn = had == turns.end() ? 0 : had->second;
    if (best && turn >= best_turn) continue;
    best = Pick{agent, entry.worker, entry.generation};
    best_turn = turn;
  }
  turns[best->agent] = ++turn_;
  return best;
}

void Directory::keep_turns_of(const route::Table& table) {
  std::lock_guard lock(mutex_);
  std::unordered_map<std::string, Turns> kept;
  for (const route::Route& route : table.routes()) {
    auto had = turns_.find(route.host.text());
    if (had == turns_.end()) continue;
    Turns& turns = kept[route.host.text()];
    for (const EndpointId& agent : route.agents) {
      if (auto turn = had->second.find(agent); turn != had->second.end()) turns.insert(*turn);
    }
  }
  turns_ = std::move(kept);
}

const Directory::Entry* Directory::newest_of(const std::vector<EndpointId>& agents, bool takes_new) const {
  const Entry* best = nullptr;
  for (const EndpointId& agent : agents) {
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
