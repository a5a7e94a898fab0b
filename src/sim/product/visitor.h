#pragma once
#include <string>

#include "base/key.h"
#include "base/socket_addr.h"
#include "net/event_loop.h"
#include "route/route.h"

// Tests only: a client of the public address.
namespace culvert::sim {

// One visit: connect, send patterned bytes in pieces, read the same bytes back.
struct Visit {
  std::string host;
  route::TlsMode mode;
  SocketAddr edge;
  std::string root_pem;  // of the edge, for terminate
  PublicKey origin_key;  // for passthrough
  size_t bytes;
  size_t piece;
  Duration pause;  // between pieces
};

enum class VisitEnd {
  kEchoed,   // every byte came back, and then a clean end
  kRefused,  // no byte came back
  kBroken,   // some did
  kWrong,    // other bytes than were sent
};

struct VisitResult {
  VisitEnd end = VisitEnd::kRefused;
  std::string reason;
  size_t received = 0;
  TimePoint began;
  TimePoint last_byte;  // when the last byte came back
  bool is_over = false;
};

// `result` outlives it.
net::Task<> visit(net::EventLoop& loop, Visit visit, VisitResult& result);

}  // namespace culvert::sim
