#include "edge/access_log.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "base/text.h"

namespace culvert::edge {
namespace {

namespace json = boost::json;

std::string time_text(UnixTime time) { return fmt::format("{:%Y-%m-%dT%H:%M:%S}Z", time); }

int64_t milliseconds(Duration time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
}

// What came from the network is shown as in the log: JSON must be valid UTF-8.
json::value text_or_null(std::string_view text) {
  return text.empty() ? json::value(nullptr) : json::value(printable(text));
}

std::string_view mode_of(tunnel::StreamKind kind) {
  switch (kind) {
    case tunnel::StreamKind::kPassthrough:
      return "passthrough";
    case tunnel::StreamKind::kTerminate:
      return "terminate";
    case tunnel::StreamKind::kChallenge:
      return "challenge";
    case tunnel::StreamKind::kTcpPort:
      return "tcp";
    case tunnel::StreamKind::kUdpPort:
      return "udp";
  }
  return "tcp";
}

std::string line_of(const json::object& record) { return json::serialize(record) + "\n"; }

}  // namespace

Result<> AccessLog::open(const std::string& path) {
  auto opened = writer_.open(path);
  if (!opened) return fail(opened.error().code, "--access-log: {}", opened.error().message);
  return {};
}

void AccessLog::ended(const ConnectionFacts& connection, CloseReason reason) {
  ended_[static_cast<size_t>(reason)].fetch_add(1, std::memory_order_relaxed);
  if (!is_on()) return;
  const auto optional_text = [](const auto& value, auto&& show) {
    return value ? json::value(show(*value)) : json::value(nullptr);
  };
  const auto key_text = [](const PublicKey& key) { return key.to_string(); };
  const auto addr_text = [](const SocketAddr& addr) { return addr.to_string(); };
  json::object record{
      {"time", time_text(platform_.unix_now())},
      {"kind", "connection"},
      {"edge", edge_},
      {"id", fmt::format("{:x}", connection.id)},
      {"client", connection.client.to_string()},
      {"proxy", optional_text(connection.proxy, addr_text)},
      {"public", connection.public_addr.to_string()},
      {"host", text_or_null(connection.host)},
      {"port", optional_text(connection.port, [](const auto& port) { return port.text(); })},
      {"route", optional_text(connection.route, [](const auto& route) { return printable(route.text()); })},
      {"tenant", optional_text(connection.tenant, key_text)},
      {"agent", optional_text(connection.agent, key_text)},
      {"origin", text_or_null(connection.origin)},
      {"mode", connection.route ? json::value(mode_of(connection.kind)) : json::value(nullptr)},
      {"tls", text_or_null(connection.tls_version)},
      {"alpn", text_or_null(connection.alpn)},
      {"attempts", connection.attempts},
      {"bytes_in", connection.bytes_in},
      {"bytes_out", connection.bytes_out},
      {"taken_ms",
       optional_text(connection.taken, [&](TimePoint at) { return milliseconds(at - connection.accepted); })},
      {"duration_ms", milliseconds(platform_.now() - connection.accepted)},
      {"reason", to_string(reason)},
      {"fault", to_string(fault_of(reason))}};
  writer_.write(line_of(record));
}

void AccessLog::flow_ended(const Flow& flow) {
  if (!is_on()) return;
  writer_.write(line_of({{"time", time_text(platform_.unix_now())},
                         {"kind", "flow"},
                         {"edge", edge_},
                         {"client", flow.client.to_string()},
                         {"port", flow.port.text()},
                         {"tenant", flow.tenant.to_string()},
                         {"agent", flow.agent.to_string()},
                         {"datagrams_in", flow.datagrams_in},
                         {"datagrams_out", flow.datagrams_out},
                         {"bytes_in", flow.bytes_in},
                         {"bytes_out", flow.bytes_out},
                         {"duration_ms", milliseconds(flow.duration)},
                         {"reason", flow.reason}}));
}

void AccessLog::report(Metrics& metrics) const {
  for (size_t i = 0; i < kCloseReasons; ++i) {
    const auto reason = static_cast<CloseReason>(i);
    metrics.counter("culvert_edge_ended_connections_total",
                    "Public connections that have ended, by reason and by the side at fault.", ended(reason),
                    {{"reason", to_string(reason)}, {"fault", to_string(fault_of(reason))}});
  }
  metrics.counter("culvert_edge_access_records_total", "Access records that were written.",
                  writer_.written());
  metrics.counters(
      "culvert_edge_lost_access_records_total", "Access records that were lost, by reason.", "reason",
      {{"queue_full", writer_.lost_queue_full()}, {"write_failed", writer_.lost_write_failed()}});
  metrics.gauge("culvert_edge_access_log_failing", "1 while access records cannot be written.",
                writer_.is_failing() ? 1 : 0);
}

}  // namespace culvert::edge
