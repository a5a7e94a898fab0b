#include "agent/observer.h"

#include "agent/agent.h"
#include "base/log.h"

namespace culvert::agent {
namespace {

// An origin that starts beside the agent needs a moment; the log is silent about it for this long.
constexpr Duration kSilence = std::chrono::seconds(5);

}  // namespace

void AgentObserver::ready(const std::vector<std::string>& urls) {
  log_info("serving", "urls={}", fmt::join(urls, ","));
}

void AgentObserver::lost() { log_warn("not_serving", "reason=\"no edge is connected\""); }

void AgentObserver::refused(const Error& error) {
  log_error("refused", "code={} reason={} hint=\"the agent keeps trying\"", to_string(error.code),
            quoted(error.message));
}

bool AgentObserver::service_silent(const Silence& silence) {
  if (silence.elapsed < kSilence) return false;
  log_warn("not_ready", "service={} reason={}", silence.service.hostname.text(), quoted(silence.reason));
  return true;
}

void AgentObserver::misdirected(const std::string& hostname, const std::string& elsewhere,
                                const std::string& public_host) {
  if (elsewhere.empty()) {
    log_warn("hostname_not_in_dns", "service={} hint=\"add a DNS record that points it at {}\"", hostname,
             public_host);
  } else {
    log_warn("hostname_leads_elsewhere", "service={} address={} hint=\"its DNS record should point at {}\"",
             hostname, elsewhere, public_host);
  }
}

}  // namespace culvert::agent
