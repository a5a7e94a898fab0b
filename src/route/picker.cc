#include "route/picker.h"

#include <algorithm>
#include <tuple>

#include "base/text.h"

namespace culvert::route {
namespace {

// The way from one turn to the next at weight 1, and what the load of one connection counts: large, so that
// divided by Share::kMaxWeight they are exact to a tenth of a percent.
constexpr uint64_t kStride = 1 << 20;

// A target without connections is not free of load: otherwise the lightest would get as much as the heaviest.
uint64_t load(const Candidate& candidate) {
  return (candidate.connections + 1) * kStride / candidate.share.weight;
}

bool may_get_it(const Candidate& candidate) {
  switch (candidate.tried) {
    case Candidate::Tried::kNever:
      return true;
    case Candidate::Tried::kBefore:
      return !candidate.suspect;
    case Candidate::Tried::kLast:
      return false;
  }
  return false;
}

}  // namespace

const char* to_string(Balance balance) {
  switch (balance) {
    case Balance::kRoundRobin:
      return "round-robin";
    case Balance::kLeastConnections:
      return "least-connections";
  }
  return "unknown";
}

Result<Balance> parse_balance(std::string_view text) {
  for (Balance balance : {Balance::kRoundRobin, Balance::kLeastConnections}) {
    if (text == to_string(balance)) return balance;
  }
  return fail(ErrorCode::kInvalid, "invalid policy {} (expected round-robin or least-connections)",
              quoted(text));
}

bool Picker::can_pick(std::span<const Candidate> candidates) {
  return std::ranges::any_of(candidates, may_get_it);
}

std::optional<size_t> Picker::pick(const Route& route, std::span<const Candidate> candidates, TimePoint now) {
  if (!can_pick(candidates)) return std::nullopt;
  const uint64_t youngest = std::ranges::max(candidates, {}, &Candidate::youngest).youngest;
  const auto is_unheard = [&](const Candidate& candidate) {
    if (candidate.youngest != youngest && candidate.heard < now - kSilence) return true;
    return std::ranges::any_of(candidates, [&](const Candidate& other) {
      return other.share.priority == candidate.share.priority && other.youngest > candidate.youngest &&
             candidate.heard < other.since;
    });
  };
  Turns& turns = turns_[route.match.text()];
  // The lowest gets it; the first member counts most: tried, unhealthy, suspect, not heard, priority, load,
  // next turn, last turn.
  using Rank = std::tuple<bool, bool, bool, bool, uint32_t, uint64_t, uint64_t, uint64_t>;
  std::optional<size_t> best;
  Rank best_rank;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const Candidate& each = candidates[i];
    if (!may_get_it(each)) continue;
    const bool is_by_load = balance_ == Balance::kLeastConnections;
    const auto known = turns.of.find(each.target);
    const Turn turn = known == turns.of.end() ? Turn{} : known->second;
    const Rank rank{each.tried != Candidate::Tried::kNever,
                    each.unhealthy,
                    each.suspect,
                    is_unheard(each),
                    each.share.priority,
                    is_by_load ? load(each) : 0,
                    std::max(turn.due, turns.clock),
                    turn.last};
    if (best && rank >= best_rank) continue;
    best = i;
    best_rank = rank;
  }
  const Candidate& next = candidates[*best];
  Turn& turn = turns.of[next.target];
  turns.clock = std::max(turn.due, turns.clock);
  turn = {.due = turns.clock + kStride / next.share.weight, .last = ++turn_};
  return best;
}

void Picker::forget(const Delta& changes) {
  for (const RouteId& removed : changes.removals) turns_.erase(removed.text());
  for (const Route& changed : changes.upserts) {
    const auto turns = turns_.find(changed.match.text());
    if (turns == turns_.end()) continue;
    std::erase_if(turns->second.of, [&](const auto& turn) { return !changed.leads_to(turn.first); });
  }
}

}  // namespace culvert::route
