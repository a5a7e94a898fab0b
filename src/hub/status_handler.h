#pragma once
#include <string>
#include <vector>

#include "base/reload.h"
#include "http/router.h"
#include "hub/hub.h"
#include "hub/ledger.h"
#include "hub/refused_services.h"
#include "hub/state.h"

namespace culvert::hub {

// How the hub is: for anyone whether it works (/v1/health), for operators what it has (/v1/status), and to
// have it read its configuration again (/v1/reload).
class StatusHandler {
 public:
  // All outlive it.
  StatusHandler(const Config& config, const State& state, Ledger& ledger, const RefusedServices& refused);

  http::Response health() const;
  http::Response status() const;
  // Reads the configuration of the process again.
  net::Task<http::Response> reload(const http::Exchange& exchange);
  // Writes into the audit log that it was read again, and by whom.
  net::Task<> note(ReloadReport report, std::string actor);

  // Why it cannot do all of its work; none: it can. Agents are served all the same.
  static std::vector<std::string> faults(const State& state, const Ledger& ledger);

 private:
  std::vector<std::string> warnings() const;

  const Config& config_;
  const State& state_;
  Ledger& ledger_;
  const RefusedServices& refused_;
  const UnixTime started_at_;
};

}  // namespace culvert::hub
