#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/host_port.h"
#include "base/metrics.h"
#include "base/result.h"
#include "base/socket_addr.h"
#include "net/event_loop.h"

namespace culvert::net {

// Names become addresses on the event loop itself: no thread, no blocking call but reading two small files,
// /etc/hosts and /etc/resolv.conf (NSS modules are not asked). Each loop has its cache, and a name that is
// being asked for is not asked for again. Limits: 1,024 unanswered questions (two for each name) and 1,024
// cached names; 16 addresses of a family; 10 s for a name; an answer is fresh for its TTL, but 1 to 60 s, and
// a failure for 1 s. A change of either file makes every answer old.

// With one answer, how much longer others are waited for: the addresses of the other family, or of the other
// names. Silence there must not cost a whole deadline.
inline constexpr Duration kPatience = std::chrono::milliseconds(500);

// Resolves a name or an IP literal; `port` is put into the addresses. Errors: kNotFound, kUnavailable,
// kTimeout; the message names the host and the name servers that were asked.
Task<Result<std::vector<SocketAddr>>> resolve(EventLoop& loop, std::string host, uint16_t port,
                                              TimePoint deadline);

// The same for several names at once; one result for each.
Task<std::vector<Result<std::vector<SocketAddr>>>> resolve_all(EventLoop& loop, std::vector<HostPort> hosts,
                                                               TimePoint deadline);

// The TXT records of a complete name, which is not looked for in the domains of resolv.conf; nothing of it is
// cached. None, when there is none. Errors: kUnavailable, kTimeout, kLimit (too many questions are
// unanswered); the message names the name.
Task<Result<std::vector<std::string>>> resolve_texts(EventLoop& loop, std::string name, TimePoint deadline);

// The name servers that this loop asks, which resolve names for it: for questions of other types.
std::vector<SocketAddr> resolver_servers(EventLoop& loop);

// Of one loop. Literals and localhost are not lookups.
struct ResolverCounters {
  uint64_t lookups = 0;
  uint64_t cache_hits = 0;  // fresh, or under way already
  uint64_t hosts_hits = 0;  // found in the hosts file
  uint64_t timeouts = 0;    // no name server answered in time
  uint64_t failures = 0;    // no such name, no address, or a name server's error
  uint64_t refused = 0;     // too many under way
};
const ResolverCounters& resolver_counters(EventLoop& loop);
void report(const ResolverCounters& counters, Metrics& metrics);

// Before the loop's first lookup: for tests, and for one who is told which servers to ask.
struct ResolverOptions {
  std::string servers = {};  // "127.0.0.1:5353,...": instead of those of resolv.conf
  std::string resolv_conf = "/etc/resolv.conf";
  std::string hosts = "/etc/hosts";
};
void configure_resolver(EventLoop& loop, ResolverOptions options);

}  // namespace culvert::net
