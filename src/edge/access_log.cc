#include "edge/access_log.h"

#include <algorithm>

#include "base/log.h"

namespace culvert::edge {

AccessLog::AccessLog(unsigned workers)
    : lines_(std::max(1u, kBurst / workers), std::chrono::microseconds(1'000'000 / kPerSecond) * workers) {}

void AccessLog::ended(const CarriedConnection& carried, const tunnel::PumpResult& result, TimePoint now) {
  if (!lines_.allow(now)) return;
  const PublicConnection& connection = carried.connection;
  const auto duration = std::chrono::duration_cast<std::chrono::milliseconds>(now - connection.accepted);
  // Many clients leave so: what they were sent last, as the end of TLS, they do not read.
  const bool is_closed = result.end == tunnel::PumpEnd::kSocketReset && result.was_delivered;
  // What the edge wrote itself is not the client's.
  const uint64_t bytes_in =
      result.bytes.to_stream - std::min<uint64_t>(carried.header_size, result.bytes.to_stream);
  log_info("connection",
           "id={:x} host={} tenant={} agent={} client={} bytes_in={} bytes_out={} duration_ms={} reason={} "
           "code={} suppressed={}",
           connection.id, culvert::quoted(connection.name()), carried.tenant.short_text(),
           connection.pick->agent.short_text(), connection.client.to_string(), bytes_in,
           result.bytes.to_socket, duration.count(),
           is_closed ? "client_closed" : tunnel::to_string(result.end), tunnel::stream_code_name(result.code),
           lines_.take_refused());
}

void AccessLog::flow_ended(const Flow& flow, TimePoint now) {
  if (!lines_.allow(now)) return;
  log_info("flow",
           "port={} tenant={} agent={} client={} datagrams_in={} datagrams_out={} bytes_in={} bytes_out={} "
           "duration_ms={} reason={} suppressed={}",
           flow.port.text(), flow.tenant.short_text(), flow.agent.short_text(), flow.client.to_string(),
           flow.datagrams_in, flow.datagrams_out, flow.bytes_in, flow.bytes_out,
           std::chrono::duration_cast<std::chrono::milliseconds>(flow.duration).count(), flow.reason,
           lines_.take_refused());
}

}  // namespace culvert::edge
