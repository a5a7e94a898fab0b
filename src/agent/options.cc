#include "agent/options.h"

namespace culvert::agent {

void describe(SettingsBuilder& settings, Options& options) {
  settings.section("agent");
  settings.add(
      {.name = "max-streams", .help = "the most public connections that the agent serves at one time"},
      options.max_streams, 1, 1'000'000);
  settings.add({.name = "origin-timeout", .help = "how long an origin may take to accept a connection"},
               options.origin_timeout);
  settings.add(
      {.name = "exclusive",
       .help = "whether the agent serves the tenant alone: yes or no",
       .details = "With yes, the tenant's other agents lose their leases, and get none while this one runs."},
      options.is_exclusive);
  settings.add(
      {.name = "max-udp-flows",
       .help = "the most flows of UDP services that the agent serves at one time",
       .details = "Each has a socket to the origin. At the limit the least recently used one ends, and "
                  "one that has sent a single datagram or was not answered before any other."},
      options.max_udp_flows, 1, 1'000'000);
  settings.add({.name = "udp-idle-timeout",
                .help = "how long a flow of a UDP service is kept without a datagram in either direction"},
               options.udp_idle_timeout, std::chrono::seconds(1));
  settings.add(
      {.name = "priority",
       .help = "the order in which agents of a service get its connections, the lowest number first",
       .details =
           "Agents with a higher number get connections only while none with a lower one is connected, "
           "answers and has a healthy origin."},
      options.share.priority, 0, route::Share::kMaxPriority);
  settings.add(
      {.name = "weight", .help = "the agent's part of the connections among agents of the same priority"},
      options.share.weight, 1, route::Share::kMaxWeight);
  tunnel::describe(settings, options.pump);
}

}  // namespace culvert::agent
