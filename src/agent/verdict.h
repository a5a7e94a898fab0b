#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hubapi/declaration.h"
#include "origin/service.h"

namespace culvert::agent {

using origin::Service;

// What the hub says of one declared service, with a hostname or with a port.
struct Verdict {
  std::string service;  // Service::name()
  bool is_accepted;
  std::string reason = {};  // why not, for people
  // When not: another declaration after this time may be accepted, with nothing changed by anyone.
  std::optional<std::chrono::seconds> retry_after = {};
  size_t others = 0;         // when accepted: further agents of the invite that share its connections
  uint16_t listen_port = 0;  // of a service with a port, when accepted
  uint16_t more_ports = 0;   // of a range
};

std::vector<Verdict> verdicts(const hubapi::LeaseAnswer& answer);
// nullopt: the answer does not mention it, which is no refusal.
std::optional<Verdict> verdict_of(const hubapi::LeaseAnswer& answer, const Service& service);

}  // namespace culvert::agent
