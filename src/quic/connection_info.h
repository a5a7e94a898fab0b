#pragma once
#include <string>

#include "base/clock.h"
#include "base/socket_addr.h"
#include "quic/stream.h"

namespace culvert::quic {

// Why and by whom a connection ended.
struct CloseReason {
  enum class Kind { kLocal, kApplication, kTransport, kIdleTimeout, kStatelessReset, kHandshake } kind;
  AppCode code = 0;     // application or transport error code
  std::string message;  // for people
};

struct PathStats {
  SocketAddr local;
  SocketAddr remote;
  Duration smoothed_rtt;
  Duration min_rtt;
  uint64_t congestion_window;  // bytes
  uint64_t bytes_in_flight;
  size_t max_datagram_size;  // UDP payload the path carries now
  uint64_t bytes_sent;
  uint64_t bytes_received;
};

}  // namespace culvert::quic
