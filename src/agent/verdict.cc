#include "agent/verdict.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/agent.h"

namespace culvert::agent {
namespace {

Verdict of(const hubapi::ServiceVerdict& verdict) {
  return {.service = verdict.hostname,
          .is_accepted = verdict.accepted,
          .reason = verdict.reason,
          .retry_after = verdict.retry_after,
          .others = verdict.others};
}

Verdict of(const hubapi::PortVerdict& verdict) {
  return {.service = origin::port_service_name(verdict.protocol, verdict.name),
          .is_accepted = verdict.accepted,
          .reason = verdict.reason,
          .retry_after = verdict.retry_after,
          .others = verdict.others,
          .listen_port = verdict.listen_port,
          .more_ports = verdict.more_ports};
}

}  // namespace

std::vector<Verdict> verdicts(const hubapi::LeaseAnswer& answer) {
  std::vector<Verdict> all;
  for (const hubapi::ServiceVerdict& each : answer.services) all.push_back(of(each));
  for (const hubapi::PortVerdict& each : answer.ports) all.push_back(of(each));
  return all;
}

std::optional<Verdict> verdict_of(const hubapi::LeaseAnswer& answer, const Service& service) {
  if (const auto* port = service.port()) {
    for (const hubapi::PortVerdict& each : answer.ports) {
      if (each.protocol == port->protocol && each.name == port->name) return of(each);
    }
    return std::nullopt;
  }
  const auto found =
      std::ranges::find(answer.services, service.web()->hostname.text(), &hubapi::ServiceVerdict::hostname);
  return found == answer.services.end() ? std::nullopt : std::optional(of(*found));
}

}  // namespace culvert::agent
