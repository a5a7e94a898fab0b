#include "agent/options.h"

namespace culvert::agent {

void describe(SettingsBuilder& settings, Options& options) {
  settings.section("agent");
  settings.add(
      {.name = "max-streams", .help = "the most public connections that the agent serves at one time"},
      options.max_streams, 1, 1'000'000);
  settings.add({.name = "origin-timeout", .help = "how long an origin may take to accept a connection"},
               options.origin_timeout);
  tunnel::describe(settings, options.pump);
}

}  // namespace culvert::agent
