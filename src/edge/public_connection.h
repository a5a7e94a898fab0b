#pragma once
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/socket_addr.h"
#include "edge/counters.h"
#include "net/byte_stream.h"

namespace culvert::edge {

class Worker;

// A public connection on its way to the worker that owns its tunnel.
struct MovedConnection {
  int fd;
  Bytes received;
  std::string host;
  uint64_t id;
  TimePoint accepted;
  ConnectionSlot slot;
};

// The story of one public connection, until a pump carries it or it is refused.
net::Task<> serve_public(Worker& worker, int fd, ConnectionSlot slot);
net::Task<> serve_moved(Worker& worker, MovedConnection moved);

}  // namespace culvert::edge
