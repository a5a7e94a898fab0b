#include "hub/tenant_limits.h"

#include <fmt/format.h>

#include "base/text.h"
#include "base/whole_number.h"

namespace culvert::hub {

route::OwnLimits own_limits_of(const Quotas& quotas) {
  return {.connections = quotas.connections.value_or(0),
          .connections_per_second = quotas.new_connections.value_or(0),
          .bytes_per_second = quotas.bandwidth.value_or(0),
          .udp_flows = quotas.udp_flows.value_or(0)};
}

TenantLimits TenantLimits::with(const Quotas& quotas) const {
  return {.hostnames = quotas.hostnames.value_or(hostnames),
          .tcp_ports = quotas.tcp_ports.value_or(tcp_ports),
          .udp_ports = quotas.udp_ports.value_or(udp_ports),
          .agents = quotas.agents.value_or(agents)};
}

Result<PortRange> PortRange::parse(std::string_view text) {
  const size_t dash = text.find('-');
  const auto first = whole_number<uint16_t>(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : whole_number<uint16_t>(text.substr(dash + 1));
  if (!first || !last || *first == 0 || *last < *first) {
    return fail(ErrorCode::kInvalid,
                "{} is neither a port (1 to 65535) nor a range of ports like 20000-20099", quoted(text));
  }
  return PortRange{*first, *last};
}

std::string PortRange::text() const {
  return first == last ? std::to_string(first) : fmt::format("{}-{}", first, last);
}

void describe(SettingsBuilder& settings, TenantRules& rules) {
  settings.section("hub");
  settings.add({.name = "allow-privileged-ports",
                .help = "whether tenants may claim TCP and UDP ports below 1024: yes or no",
                .details = "An invite whose ports name such a port may claim that one in any case.",
                .may_change = true},
               rules.ports.allow_privileged);
  settings.add({.name = "port-range",
                .help = "where the hub picks ports for services that name none",
                .value_name = "FIRST-LAST",
                .default_text = rules.ports.picked.text(),
                .may_change = true,
                .apply = store(rules.ports.picked, PortRange::parse)});
  settings.add({.name = "tenant-hostnames",
                .help = "the most hostnames that the agents of one tenant serve at a time",
                .details = "For invites that do not say otherwise, like the next three.",
                .may_change = true},
               rules.limits.hostnames, 1, TenantLimits::kMostHostnames);
  settings.add({.name = "tenant-tcp-ports",
                .help = "the most TCP ports that one tenant may claim",
                .may_change = true},
               rules.limits.tcp_ports, 0, TenantLimits::kMostPorts);
  settings.add({.name = "tenant-udp-ports",
                .help = "the most UDP ports that one tenant may claim",
                .may_change = true},
               rules.limits.udp_ports, 0, TenantLimits::kMostPorts);
  settings.add({.name = "tenant-agents",
                .help = "the most agents of one tenant that hold a lease at a time",
                .may_change = true},
               rules.limits.agents, 1, TenantLimits::kMostAgents);
}

}  // namespace culvert::hub
