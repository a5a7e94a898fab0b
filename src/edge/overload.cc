#include "edge/overload.h"

#include <fmt/format.h>

#include <cmath>
#include <string_view>

#include "base/log.h"

namespace culvert::edge {
namespace {

constexpr std::array<std::string_view, Overload::kResources> kResourceNames = {"connections", "handshakes",
                                                                               "memory"};
constexpr std::array<double, kOverloadStates> kFrom = {0, Overload::kBusyFrom, Overload::kSheddingFrom,
                                                       Overload::kFullFrom};

// In which a part of `used` is, coming from `before`.
OverloadState next_state(OverloadState before, double used) {
  auto state = static_cast<size_t>(OverloadState::kFull);
  while (state > 0) {
    const bool is_held = state <= static_cast<size_t>(before);
    if (used >= kFrom[state] - (is_held ? Overload::kMargin : 0)) break;
    --state;
  }
  return static_cast<OverloadState>(state);
}

}  // namespace

const char* to_string(OverloadState state) {
  switch (state) {
    case OverloadState::kNormal:
      return "normal";
    case OverloadState::kBusy:
      return "busy";
    case OverloadState::kShedding:
      return "shedding";
    case OverloadState::kFull:
      return "full";
  }
  return "unknown";
}

OverloadState Overload::state() const {
  OverloadState worst = OverloadState::kNormal;
  for (const auto& each : states_) worst = std::max(worst, each.load(std::memory_order_relaxed));
  return worst;
}

void Overload::update(const Usages& usages) {
  const OverloadState before = state();
  size_t scarcest = 0;
  std::array<double, kResources> parts{};
  for (size_t i = 0; i < kResources; ++i) {
    const auto [used, most] = usages[i];
    parts[i] = most == 0 ? 0 : static_cast<double>(used) / static_cast<double>(most);
    if (parts[i] > parts[scarcest]) scarcest = i;
    parts_[i].store(parts[i], std::memory_order_relaxed);
    states_[i].store(next_state(states_[i].load(std::memory_order_relaxed), parts[i]),
                     std::memory_order_relaxed);
  }
  const OverloadState now = state();
  if (now == before) return;
  entered_[static_cast<size_t>(now)].fetch_add(1, std::memory_order_relaxed);
  const std::string text =
      fmt::format("state={} before={} scarcest={} used_percent={} used={} most={}", to_string(now),
                  to_string(before), kResourceNames[scarcest], std::lround(parts[scarcest] * 100),
                  usages[scarcest].used, usages[scarcest].most);
  if (now < before) {
    log_info("overload_eased", "{}", text);
  } else {
    log_warn("overload", "{}", text);
  }
}

std::string Overload::fault() const {
  const OverloadState now = state();
  if (now < OverloadState::kShedding) return {};
  const auto scarcest = static_cast<size_t>(
      std::ranges::max_element(states_, {},
                               [](const auto& each) { return each.load(std::memory_order_relaxed); }) -
      states_.begin());
  return fmt::format("the edge is {}: {} % of its {} in use; raise --max-{} or add an edge", to_string(now),
                     std::lround(parts_[scarcest].load(std::memory_order_relaxed) * 100),
                     kResourceNames[scarcest], kResourceNames[scarcest]);
}

void Overload::report(Metrics& metrics) const {
  metrics.gauge("culvert_edge_overload_state",
                "How near the edge is to its limits: 0 normal, 1 busy, 2 shedding, 3 full.",
                static_cast<double>(state()));
  for (size_t i = 0; i < kResources; ++i) {
    metrics.gauge("culvert_edge_used_ratio", "What is used of what the edge may have, by resource.",
                  parts_[i].load(std::memory_order_relaxed), {{"resource", std::string(kResourceNames[i])}});
  }
  metrics.counters("culvert_edge_overload_total", "Times that the edge came into a state, by state.", "state",
                   {
                       {"normal", entered_[0]},
                       {"busy", entered_[1]},
                       {"shedding", entered_[2]},
                       {"full", entered_[3]},
                   });
}

}  // namespace culvert::edge
