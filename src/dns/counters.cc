#include "dns/counters.h"

namespace culvert::dns {

void report(const AnswerCounters& counters, Metrics& metrics) {
  metrics.counters("culvert_dns_answers_total", "Answers of the DNS server, by result.", "result",
                   {
                       {"answered", counters.answered},
                       {"empty", counters.empty},
                       {"no_such_name", counters.no_such_name},
                       {"refused", counters.refused},
                       {"format_error", counters.format_error},
                       {"not_implemented", counters.not_implemented},
                       {"bad_version", counters.bad_version},
                       {"unknown_key", counters.unknown_key},
                       {"ignored", counters.ignored},
                   });
}

void report(const ServerCounters& counters, Metrics& metrics) {
  metrics.counters("culvert_dns_queries_total", "Queries to the DNS server, by transport.", "transport",
                   {{"udp", counters.udp_queries}, {"tcp", counters.tcp_queries}});
  metrics.counters("culvert_dns_truncated_total",
                   "Queries over UDP whose answer was cut, so that the client has to use TCP, by reason.",
                   "reason", {{"size", counters.truncated}, {"source_rate", counters.limited_truncated}});
  metrics.counters("culvert_dns_dropped_total", "Queries over UDP that were not answered, by reason.",
                   "reason",
                   {
                       {"source_rate", counters.limited_dropped},
                       {"size", counters.dropped_size},
                       {"socket_full", counters.dropped_blocked},
                   });
  metrics.gauge("culvert_dns_connections", "TCP connections to the DNS server open now.",
                static_cast<double>(counters.connections));
  metrics.counter("culvert_dns_connections_total", "TCP connections that the DNS server accepted.",
                  counters.accepted);
  metrics.counters("culvert_dns_cut_connections_total",
                   "TCP connections that the DNS server refused or cut, by reason.", "reason",
                   {
                       {"source_full", counters.refused_source_full},
                       {"max_connections", counters.evicted},
                       {"timeout", counters.cut_timeout},
                       {"malformed", counters.cut_malformed},
                   });
}

}  // namespace culvert::dns
