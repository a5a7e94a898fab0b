#include "quic/counters.h"

namespace culvert::quic {

void report(const EngineCounters& counters, Metrics& metrics) {
  metrics.counter("culvert_quic_datagrams_received_total", "UDP datagrams received.",
                  counters.datagrams_received);
  metrics.counter("culvert_quic_datagrams_dropped_total",
                  "UDP datagrams that are malformed or of no known connection.", counters.datagrams_dropped);
  metrics.counter("culvert_quic_handshakes_total", "Handshakes that peers started.",
                  counters.handshakes_started);
  metrics.counters("culvert_quic_failed_handshakes_total",
                   "Handshakes of peers that did not succeed, by reason.", "reason",
                   {
                       {"limit", counters.handshakes_refused},
                       {"tls_first_packet", counters.handshakes_rejected},
                       {"later", counters.handshakes_failed},
                   });
  metrics.counter("culvert_quic_retries_total", "Retry packets sent.", counters.retries_sent);
  metrics.counter("culvert_quic_keys_verified_total", "Signatures of peers' keys verified.",
                  counters.keys_verified);
  metrics.counter("culvert_quic_stateless_packets_total", "Version negotiations and stateless resets sent.",
                  counters.stateless_sent);
  metrics.counters("culvert_quic_evicted_streams_total",
                   "Streams that were reset because too much of them waits in memory, by the cap.", "reason",
                   {
                       {"endpoint", counters.evicted_endpoint_full},
                       {"connection", counters.evicted_connection_full},
                       {"small_frames", counters.evicted_small_frames},
                       {"sending", counters.evicted_senders},
                   });
  metrics.counter(
      "culvert_quic_evicted_connections_total",
      "Connections that were closed because the send memory was full and their peers acknowledged "
      "nothing.",
      counters.evicted_connections);
  metrics.gauge("culvert_quic_receive_memory_bytes", "Data that arrived and was not read.",
                static_cast<double>(counters.receive_memory));
  metrics.gauge("culvert_quic_send_memory_bytes",
                "Memory granted for data that was written and is not acknowledged.",
                static_cast<double>(counters.send_memory));
  metrics.counter("culvert_quic_unread_datagrams_dropped_total",
                  "QUIC datagrams that were dropped because the application did not take them in time.",
                  counters.unread_datagrams_dropped);
  metrics.counter("culvert_quic_core_faults_total", "Bugs of the QUIC core that ended a connection.",
                  counters.core_faults);
}

}  // namespace culvert::quic
