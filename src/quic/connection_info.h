#pragma once
#include <cstdint>
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

using PathId = uint32_t;

// One network path of a connection (draft-ietf-quic-multipath); without multipath there is path 0 only.
struct PathStats {
  PathId id;
  SocketAddr remote;
  SocketAddr local;     // source address; unspecified: the kernel chooses
  SocketAddr observed;  // how the peer sees us on it; unspecified: it did not say
  bool established;     // validated: may carry data
  bool backup;          // carries data only while no established path is available
  bool remote_backup;   // the peer's choice
  Duration smoothed_rtt;
  uint64_t congestion_window;  // bytes
  size_t max_datagram_size;    // UDP payload the path carries now
  uint64_t bytes_sent;
  uint64_t bytes_received;
  uint64_t packets_lost;
  uint64_t congestion_events;
  uint64_t mtu_black_holes;  // how often the path stopped carrying its largest packets
};

// What happened to a path, or with the addresses that a peer may be reached at.
struct PathEvent {
  enum class Kind {
    kEstablished,
    kAbandoned,
    kRemoteStatus,
    kObservedAddress,       // `address` is ours, as the peer sees it
    kRemoteCandidateAdded,  // `address` is one that the peer may be reached at
    kRemoteCandidateRemoved,
  } kind;
  PathId path = 0;
  bool backup = false;  // kRemoteStatus
  SocketAddr address = {};
};

}  // namespace culvert::quic
