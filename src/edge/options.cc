#include "edge/options.h"

namespace culvert::edge {

void describe(SettingsBuilder& settings, Options& options) {
  constexpr uint64_t kMost = 10'000'000;  // of anything that takes descriptors
  settings.section("edge");
  settings.add({.name = "listen",
                .help = "TCP address for the public and for the hub's API",
                .details = "`[::]` takes IPv4 clients as well.",
                .default_text = "port 443 of every address, IPv4 and IPv6",
                .default_is_words = true,
                .example = "[::]:443"},
               options.tcp_listen);
  settings.add({.name = "udp-listen",
                .help = "UDP address for tunnels",
                .default_text = "the same as --listen",
                .default_is_words = true,
                .example = "[::]:443"},
               options.udp_listen);
  settings.add({.name = "workers", .help = "threads that carry traffic"}, options.workers, 1, 256);
  settings.add({.name = "hello-timeout", .help = "from accept to a whole TLS ClientHello"},
               options.hello_timeout, std::chrono::milliseconds(1));
  settings.add({.name = "drain-timeout", .help = "at stop: for open streams to end"}, options.drain_timeout);
  settings.add({.name = "max-connections",
                .help = "public connections at once, all workers together",
                .details = "Further ones are reset: `connections_full` in the log."},
               options.max_connections, 1, kMost);
  settings.add(
      {.name = "max-connections-per-tenant",
       .help = "those that agents of one invite carry",
       .details = "Further ones get a page with status 503, or a TLS alert where TLS is passed through: "
                  "`tenant_full` in the log.",
       .default_text = "as --max-connections",
       .default_is_words = true,
       .example = "5000"},
      options.max_connections_per_tenant, 1, kMost);
  settings.add({.name = "max-handshakes",
                .help = "clients that have not finished their hello or TLS handshake",
                .details = "Further ones are reset: `hellos_full` in the log.",
                .default_text = "half of --max-connections, 64 at least",
                .default_is_words = true,
                .example = "10000"},
               options.max_unserved, 1, kMost);
  settings.add({.name = "max-handshakes-per-source",
                .help = "the same for one IPv4 address or IPv6 /64",
                .details = "A source with more loses its oldest: `source_full` in the log.",
                .default_text = "a quarter of --max-handshakes, 32 at least",
                .default_is_words = true,
                .example = "2500"},
               options.max_unserved_per_source, 1, kMost);
  tunnel::describe(settings, options.pump);
}

}  // namespace culvert::edge
