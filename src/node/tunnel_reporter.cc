#include "node/tunnel_reporter.h"

#include "route/picker.h"

namespace culvert::node {

void TunnelReporter::heard(const std::vector<route::AgentHeard>& agents) {
  for (const auto& [agent, when] : agents) {
    TimePoint& last = heard_.try_emplace(agent, when).first->second;
    last = std::max(last, when);
    closed_.erase(agent);
  }
}

void TunnelReporter::closed(const EndpointId& agent) {
  heard_.erase(agent);
  closed_.insert(agent);
}

void TunnelReporter::left(const EndpointId& agent) {
  heard_.erase(agent);
  closed_.erase(agent);
  left_.insert(agent);
}

std::optional<hubapi::TunnelReport> TunnelReporter::next(TimePoint now, uint64_t fresh_session) {
  const bool is_first = !session_;
  if (is_first) {
    session_ = fresh_session;
    number_ = 0;
    known_.clear();
  }
  hubapi::TunnelReport report{.session = *session_, .number = number_};
  size_t room = hubapi::kMaxReportedAgents;
  const auto add = [&room](std::vector<EndpointId>& list, const EndpointId& agent) {
    if (room == 0) return;
    list.push_back(agent);
    --room;
  };
  for (const EndpointId& agent : left_) add(report.left, agent);
  for (const EndpointId& agent : closed_) add(report.closed, agent);
  for (auto entry = heard_.begin(); entry != heard_.end();) {
    const auto& [agent, when] = *entry;
    const bool is_silent = when + route::Picker::kSilence <= now;
    const bool is_known = known_.contains(agent);
    if (is_silent && is_known) add(report.silent, agent);
    if (!is_silent && !is_known) add(report.heard, agent);
    entry = is_silent && !is_known ? heard_.erase(entry) : std::next(entry);
  }
  if (report.empty() && !is_first && now < reported_ + kHeartbeat) return std::nullopt;
  reported_ = now;
  last_ = report;
  return report;
}

void TunnelReporter::confirmed() {
  ++number_;
  for (const EndpointId& agent : last_.heard) known_.insert(agent);
  for (const auto* list : {&last_.silent, &last_.closed, &last_.left}) {
    for (const EndpointId& agent : *list) known_.erase(agent);
  }
  for (const EndpointId& agent : last_.closed) closed_.erase(agent);
  for (const EndpointId& agent : last_.left) left_.erase(agent);
}

}  // namespace culvert::node
