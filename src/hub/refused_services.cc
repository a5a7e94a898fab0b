#include "hub/refused_services.h"

#include <algorithm>

namespace culvert::hub {

std::vector<RefusedServices::Refused> RefusedServices::note(
    const InviteId& invite, const EndpointId& agent, const std::vector<hubapi::ServiceVerdict>& services,
    const std::vector<hubapi::PortVerdict>& ports, TimePoint now, UnixTime wall) {
  OfAgent noted{.invite = invite, .refused = {}, .count = 0, .since = wall, .declared_at = now};
  const auto refuse = [&](Refused refused) {
    ++noted.count;
    if (noted.refused.size() < kMaxPerAgent) noted.refused.push_back(std::move(refused));
  };
  for (const auto& verdict : services) {
    if (verdict.accepted) continue;
    refuse({.wanted = verdict.hostname, .service = {}, .reason = verdict.reason});
  }
  for (const auto& verdict : ports) {
    if (verdict.accepted) continue;
    const bool is_tcp = verdict.protocol == route::PortProtocol::kTcp;
    refuse({.wanted = verdict.listen_port == 0 ? std::string(is_tcp ? "tcp" : "udp") : verdict.ports().text(),
            .service = verdict.name,
            .reason = verdict.reason});
  }
  std::vector<Refused> fresh = noted.refused;
  if (const auto before = agents_.find(agent); before != agents_.end()) {
    std::erase_if(fresh, [&](const Refused& each) {
      return std::ranges::find(before->second.refused, each) != before->second.refused.end();
    });
    if (before->second.invite == invite) noted.since = before->second.since;
    forget(agent);
  }
  if (noted.count > 0) {
    count_ += noted.count;
    agents_.emplace(agent, std::move(noted));
    order_.emplace_back(now, agent);
  }
  expire(now);
  return fresh;
}

void RefusedServices::forget(const EndpointId& agent) {
  const auto found = agents_.find(agent);
  count_ -= found->second.count;
  agents_.erase(found);
}

void RefusedServices::expire(TimePoint now) {
  while (!order_.empty()) {
    const auto [declared_at, agent] = order_.front();
    const auto found = agents_.find(agent);
    const bool is_last = found != agents_.end() && found->second.declared_at == declared_at;
    if (is_last && declared_at + kKept > now && agents_.size() <= kMaxAgents) return;
    if (is_last) forget(agent);
    order_.pop_front();
  }
}

}  // namespace culvert::hub
