#pragma once
#include "quic/stream.h"
#include "tunnel/moved_bytes.h"

namespace culvert::tunnel {

// What carries one connection, whatever it joins: to whoever counts its bytes or ends it.
class AnyPump {
 public:
  virtual ~AnyPump() = default;
  // Ends both directions at once: RST on sockets, `code` to the peer of a stream.
  virtual void cut(quic::AppCode code) = 0;
  virtual const PumpCounters& counters() const = 0;
};

}  // namespace culvert::tunnel
