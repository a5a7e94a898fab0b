#pragma once
#include <string_view>

#include "base/rate_limit.h"
#include "edge/carried.h"
#include "tunnel/pump.h"

namespace culvert::edge {

// Where the operator wants it, a worker's line for each public connection that an agent took, when it has
// ended. Clients cause these lines, so that their rate is limited.
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

  // Of all workers together. A line has some 250 bytes; systemd's journal drops what is more than 10,000
  // lines in 30 s, those of other events with them.
  static constexpr uint32_t kBurst = 1000;
  static constexpr uint32_t kPerSecond = 200;

  explicit AccessLog(unsigned workers);

  // The connection has its pick.
  void ended(const CarriedConnection& carried, const tunnel::PumpResult& result, TimePoint now);
  void flow_ended(const Flow& flow, TimePoint now);

 private:
  RateLimit lines_;
};

}  // namespace culvert::edge
