#include "edge/options.h"

namespace culvert::edge {

void describe(SettingsBuilder& settings, Options& options) {
  constexpr uint64_t kMost = 10'000'000;  // of anything that takes descriptors
  settings.section("edge");
  settings.add({.name = "listen",
                .help = "TCP address for clients and for the hub's API",
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
  settings.add(
      {.name = "http-listen",
       .help = "TCP address for plain HTTP: it proves names to CAs, and sends clients to HTTPS",
       .details = "A request for a name that the edge serves is answered with a redirect to its HTTPS URL. "
                  "CAs look at port 80 only.",
       .default_text = "nowhere",
       .default_is_words = true,
       .example = "[::]:80"},
      options.http_listen);
  settings.add(
      {.name = "route",
       .help = "a static route to an origin beside the edge, without an agent; MODE is passthrough or "
               "terminate, P "
               "is v2 or none; may be repeated",
       .details =
           "Or tcp/PORT=ORIGIN for a TCP port. The origin is HOST:PORT, unix:/PATH or unix:@NAME. Further "
           "options are those of an agent's service: tls=NAME speaks TLS with the origin and expects a "
           "certificate for that name, with insecure of anybody; http=HOST:PORT or http=none is where "
           "challenges of the origin's own CA go on plain HTTP; health=/PATH, health=tcp or health=tls asks "
           "the origin every 10s whether it works. Several with one name are origins of one route: "
           "priority=N and weight=N say how they share its connections. A static route takes the place of "
           "what tenants declare for the same name. In the variable, routes are separated by blanks.",
       .value_name = "HOSTNAME=ORIGIN[,MODE][,proxy=P][,OPTION]",
       .default_text = "none",
       .default_is_words = true,
       .example = "app.example.com=127.0.0.1:3000,terminate",
       .form = SettingForm::kList,
       .separator = ' ',
       .may_change = true,
       .apply = [&options](std::string_view text) -> Result<> {
         auto route = origin::parse_route(text);
         if (!route) return std::unexpected(route.error());
         options.routes.push_back({std::move(route->service), route->share});
         return check_static_routes(options.routes);
       }});
  settings.add({.name = "workers", .help = "worker threads, each with its own tunnels"}, options.workers, 1,
               256);
  settings.add({.name = "hello-timeout",
                .help = "how long a client may take to send its TLS ClientHello",
                .may_change = true},
               options.hello_timeout, std::chrono::milliseconds(1));
  settings.add({.name = "drain-timeout",
                .help = "how long a stopping node waits for open connections to end",
                .may_change = true},
               options.drain_timeout);
  settings.add(
      {.name = "upgrade-timeout",
       .help = "how long open connections may go on in a process that `culvert node --upgrade` replaced",
       .details = "The process ends when its last connection has ended, or after this time.",
       .may_change = true},
      options.upgrade_timeout);
  settings.add({.name = "max-connections",
                .help = "the most public connections at one time, of all workers together",
                .details = "Further ones are reset: `connections_full` in the log.",
                .may_change = true},
               options.max_connections, 1, kMost);
  settings.add(
      {.name = "max-connections-per-tenant",
       .help = "the most public connections of one tenant at one time",
       .details = "Further ones get a page with status 503, or a TLS alert where TLS is passed through: "
                  "`tenant_full` in the log.",
       .default_text = "as --max-connections",
       .default_is_words = true,
       .example = "5000",
       .may_change = true},
      options.max_connections_per_tenant, 1, kMost);
  settings.add({.name = "max-connections-per-source",
                .help = "the most public connections at one time of one source: an IPv4 address, or the /64 "
                        "of an IPv6 address",
                .details = "Further ones are reset: `client_full` in the log.",
                .default_text = "half of --max-connections, 64 at least",
                .default_is_words = true,
                .example = "1000",
                .may_change = true},
               options.max_connections_per_source, 1, kMost);
  settings.add({.name = "max-new-connections",
                .help = "how many public connections may begin in a second, and as many at once",
                .details = "Further ones are reset: `connection_rate` in the log. 0: no limit.",
                .may_change = true},
               options.max_new_connections, 0, kMost);
  settings.add(
      {.name = "max-new-connections-per-tenant",
       .help = "how many public connections of one tenant may begin in a second, and as many at once",
       .details = "Further ones get a page with status 503, or a TLS alert where TLS is passed through: "
                  "`tenant_rate` in the log. 0: no limit.",
       .may_change = true},
      options.max_new_connections_per_tenant, 0, kMost);
  settings.add(
      {.name = "max-new-connections-per-source",
       .help = "how many public connections of one source may begin in a second, and as many at once",
       .details = "Further ones are reset: `client_rate` in the log. 0: no limit.",
       .may_change = true},
      options.max_new_connections_per_source, 0, kMost);
  const auto bandwidth = [&](std::string name, std::string help, std::string details, uint64_t& target) {
    settings.add({.name = std::move(name),
                  .help = std::move(help),
                  .details = std::move(details),
                  .value_name = "BYTES",
                  .default_text = "no limit",
                  .default_is_words = true,
                  .example = "125M",
                  .apply = store(target, parse_byte_count)});
  };
  bandwidth(
      "max-bandwidth",
      "bytes a second of all public connections, both directions together, and as many of all UDP ports",
      "Connections are slowed down; datagrams over it are dropped. 0: no limit.", options.max_bandwidth);
  bandwidth("max-bandwidth-per-tenant", "bytes a second of one tenant, as --max-bandwidth", "",
            options.max_bandwidth_per_tenant);
  bandwidth("max-bandwidth-per-source", "bytes a second of one source, as --max-bandwidth, without UDP ports",
            "", options.max_bandwidth_per_source);
  settings.add(
      {.name = "max-memory",
       .help = "how much memory the process may have before new public connections are refused",
       .details = "From three quarters of it on the edge makes room: `overload` in the log. 0: no limit.",
       .value_name = "BYTES",
       .default_text = "three quarters of the memory that the process may use",
       .default_is_words = true,
       .example = "2GiB",
       .may_change = true,
       .apply = store(options.max_memory, parse_byte_count)});
  settings.add({.name = "max-handshakes",
                .help = "the most public connections at one time whose TLS handshake is not complete",
                .details = "Further ones are reset: `hellos_full` in the log.",
                .default_text = "half of --max-connections, 64 at least",
                .default_is_words = true,
                .example = "10000",
                .may_change = true},
               options.max_unserved, 1, kMost);
  settings.add({.name = "max-handshakes-per-source",
                .help = "the most of these from one source: an IPv4 address, or the /64 of an IPv6 address",
                .details = "At the limit the oldest of the source is reset: `source_full` in the log.",
                .default_text = "a quarter of --max-handshakes, 32 at least",
                .default_is_words = true,
                .example = "2500",
                .may_change = true},
               options.max_unserved_per_source, 1, kMost);
  settings.add(
      {.name = "trusted-proxies",
       .help = "networks of the proxies and load balancers in front, which tell the client's address",
       .details =
           "Connections from there have to begin with a PROXY protocol header, version 1 or 2, and count as "
           "connections of the client that it names; without one they are closed: `proxy_header_missing` in "
           "the log. From anywhere else such a header is refused. What it says of the client besides (unique "
           "id, TLS, the load balancer's own TLVs; 512 bytes) is in the PROXY header that the origin gets, "
           "but for the hostname, which is the one in the client's hello. Not of UDP ports.",
       .value_name = "CIDR,...",
       .default_text = "none",
       .default_is_words = true,
       .example = "10.0.0.0/8",
       .form = SettingForm::kList,
       .may_change = true,
       .apply = [&options](std::string_view text) -> Result<> {
         auto network = IpPrefix::parse(text);
         if (!network) return std::unexpected(network.error());
         options.trusted_proxies.push_back(*network);
         return {};
       }});
  settings.add(
      {.name = "balance",
       .help = "how connections are spread over a hostname's agents: round-robin or least-connections",
       .details = "In turns, or to the agent that has the fewest open. Agents that do not answer come "
                  "last in both.",
       .value_name = "POLICY",
       .default_text = route::to_string(options.balance),
       .choices = {"round-robin", "least-connections"},
       .apply = store(options.balance, route::parse_balance)});
  settings.add(
      {.name = "access-log",
       .help = "file to which each public connection adds a record when it has ended, or `-` for standard "
               "output",
       .details =
           "A JSON object in a line each: docs/access-records.md. The file is made with mode 0640, and "
           "opened "
           "again at each reload, as after its renaming by logrotate. Of a UDP port the flow of each client "
           "address and port that was answered has a record.",
       .value_name = "FILE",
       .default_text = "none",
       .default_is_words = true,
       .example = "/var/log/culvert/access.json",
       .may_change = true,
       .apply = [&options](std::string_view text) -> Result<> {
         options.access_log = text;
         return {};
       }});
  settings.add({.name = "udp-idle-timeout",
                .help = "how long a flow of a UDP port is kept without a datagram in either direction",
                .details = "A flow is what one client address and port sends to a port. Its agent has a "
                           "setting of the same name.",
                .may_change = true},
               options.udp_idle_timeout, std::chrono::seconds(1));
  settings.add(
      {.name = "max-udp-flows",
       .help = "the most flows of UDP ports at one time",
       .details = "At this and the next two limits the least recently used flow of the port ends, and "
                  "one that has sent a single datagram or was not answered before any other.",
       .may_change = true},
      options.max_udp_flows, 1, kMost);
  settings.add({.name = "max-udp-flows-per-tenant",
                .help = "the most flows of all UDP ports of one tenant",
                .may_change = true},
               options.max_udp_flows_per_tenant, 1, kMost);
  settings.add(
      {.name = "max-udp-flows-per-port", .help = "the most flows of one UDP port", .may_change = true},
      options.max_udp_flows_per_port, 1, kMost);
  settings.add(
      {.name = "max-new-udp-flows",
       .help = "how many flows of UDP ports of one tenant may begin in a second, and as many at once",
       .details = "Datagrams of further ones are dropped: `datagrams_dropped` in the log.",
       .may_change = true},
      options.max_new_udp_flows, 1, 1'000'000);
  tunnel::describe(settings, options.pump);
}

}  // namespace culvert::edge
