#pragma once
#include <utility>
#include <vector>

#include "base/result.h"
#include "quic/connection_host.h"
#include "quic/connection_info.h"

namespace culvert::quic {

// The network paths of one connection (draft-ietf-quic-multipath), and n0's NAT traversal.
class Paths {
 public:
  explicit Paths(ConnectionContext& context) : context_(context) {}

  std::vector<PathStats> all() const;
  // The one that carries data now.
  PathStats active() const;
  bool is_multipath() const;

  // Clients: a path to another address of the peer, or the open one that leads there. Errors: kUnavailable
  // without multipath and for servers; kLimit when no path id or connection id of the peer is left.
  Result<PathId> open(const SocketAddr& remote, bool backup, TimePoint now);
  // False for the last path and for an unknown one.
  bool close(PathId path, TimePoint now);
  bool set_backup(PathId path, bool backup);
  // 0 turns a timer off. False for an unknown path.
  bool set_timers(PathId path, Duration idle_timeout, Duration keep_alive, TimePoint now);
  bool ping(PathId path);

  // Addresses that the peer may reach us at. False where NAT traversal is not negotiated, or at the peer's
  // limit.
  bool add_candidate(const SocketAddr& address);
  bool remove_candidate(const SocketAddr& address);
  // Clients: tells the server our candidates and probes the server's; each that answers becomes a backup
  // path. Returns how many are probed. Errors: kUnavailable.
  Result<size_t> punch(TimePoint now);

  // For the connection: events that were not dispatched yet.
  void take(const core::Event& event);
  bool has_events() const { return !events_.empty(); }
  std::vector<PathEvent> take_events() { return std::exchange(events_, {}); }

 private:
  ConnectionContext& context_;
  std::vector<PathEvent> events_;
};

}  // namespace culvert::quic
