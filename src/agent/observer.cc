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

void AgentObserver::refused(const HubRefusal& refusal) {
  log_error(
      "refused", "code={} reason={} hint=\"{}\"", to_string(refusal.error.code),
      quoted(refusal.error.message),
      refusal.is_temporary
          ? "the agent asks again within seconds"
          : "trying again does not help: change what the reason names; the agent asks again now and then");
}

void AgentObserver::hub_unreachable(const Error& error, Duration elapsed) {
  log_warn("hub_unreachable", "reason={} for_secs={} hint=\"the agent keeps trying\"", quoted(error.message),
           std::chrono::duration_cast<std::chrono::seconds>(elapsed).count());
}

void AgentObserver::hub_reached(Duration elapsed) {
  log_info("hub_reached", "after_secs={}", std::chrono::duration_cast<std::chrono::seconds>(elapsed).count());
}

void AgentObserver::clock_differs(const std::string& message) {
  log_warn("clock_differs",
           "reason={} hint=\"set the clock that is wrong; until then declarations are signed "
           "with the hub's time\"",
           quoted(message));
}

void AgentObserver::shared(const std::string& service, size_t others) {
  log_info("service_shared", "service={} other_agents={}", quoted(service), others);
}

void AgentObserver::port_changed(const EndpointId& edge, const tunnel::PortState& state) {
  if (state.is_bound) {
    log_info("port_opened", "edge={} port={}", edge.short_text(), state.port.text());
  } else {
    log_warn("port_not_open", "edge={} port={} reason={}", edge.short_text(), state.port.text(),
             quoted(state.reason));
  }
}

void AgentObserver::suspended(bool is_suspended) {
  if (is_suspended) {
    log_warn("tenant_suspended", "hint=\"clients are refused until the hub's operator resumes the tenant\"");
  } else {
    log_info("tenant_resumed", "");
  }
}

bool AgentObserver::service_silent(const Silence& silence) {
  if (silence.elapsed < kSilence) return false;
  log_warn("not_ready", "service={} reason={}", quoted(silence.service.name()), quoted(silence.reason));
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
