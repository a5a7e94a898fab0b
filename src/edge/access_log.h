#pragma once
#include <array>
#include <atomic>
#include <string>
#include <string_view>

#include "base/metrics.h"
#include "base/record_writer.h"
#include "edge/connection_record.h"
#include "net/platform.h"

namespace culvert::edge {

// The ends of public connections and of the flows of UDP ports: counted, and where the operator wants it
// written, a JSON object in a line each (docs/access-records.md). Thread-safe.
class AccessLog {
 public:
  // One of a UDP port.
  struct Flow {
    route::PublicPort port;
    SocketAddr client;
    PublicKey tenant;
    EndpointId agent;
    uint64_t datagrams_in, datagrams_out;
    uint64_t bytes_in, bytes_out;
    Duration duration;  // from its first datagram to its last
    std::string_view reason;
  };

  // `edge`: its id, in each record. The platform outlives it.
  AccessLog(const net::Platform& platform, std::string edge) : platform_(platform), edge_(std::move(edge)) {}
  AccessLog(const AccessLog&) = delete;

  // As RecordWriter::open.
  Result<> open(const std::string& path);
  bool is_on() const { return writer_.is_open(); }

  void ended(const ConnectionFacts& connection, CloseReason reason);
  void flow_ended(const Flow& flow);

  uint64_t ended(CloseReason reason) const {
    return ended_[static_cast<size_t>(reason)].load(std::memory_order_relaxed);
  }
  const RecordWriter& writer() const { return writer_; }
  void report(Metrics& metrics) const;

 private:
  const net::Platform& platform_;
  const std::string edge_;
  std::array<std::atomic<uint64_t>, kCloseReasons> ended_{};
  RecordWriter writer_;
};

}  // namespace culvert::edge
