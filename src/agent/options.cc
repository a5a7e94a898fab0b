#include "agent/options.h"

namespace culvert::agent {

void describe(SettingsBuilder& settings, Options& options) {
  settings.section("agent");
  settings.add({.name = "max-streams", .help = "connections served at once"}, options.max_streams, 1,
               1'000'000);
  settings.add({.name = "origin-timeout", .help = "for an origin to take a connection"},
               options.origin_timeout);
  tunnel::describe(settings, options.pump);
}

}  // namespace culvert::agent
