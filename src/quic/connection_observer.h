#pragma once
#include "quic/connection_info.h"
#include "quic/silence_watch.h"

namespace culvert::quic {

// The connection's user: notified after a batch of packets, outside of QUIC processing; may call anything.
class ConnectionObserver {
 public:
  virtual ~ConnectionObserver() = default;
  virtual void on_connected() = 0;  // the handshake is complete and the peer's identity is verified
  virtual void on_streams() = 0;    // the peer opened streams, or raised the limit for ours
  virtual void on_datagrams() = 0;  // datagrams arrived
  virtual void on_path(const PathEvent&) {}
  virtual void on_silence(Silence) {}                     // with Limits::watch_silence: it changed
  virtual void on_closed(const CloseReason& reason) = 0;  // once, last
};

}  // namespace culvert::quic
