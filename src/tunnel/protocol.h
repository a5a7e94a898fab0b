#pragma once
#include <cstdint>

#include "quic/stream.h"

// Numbers that both ends of a tunnel must agree on; docs/protocol.md explains each.
namespace culvert::tunnel {

constexpr const char* kTunnelAlpn = "culvert-tunnel/1";

// Why a stream is reset or stopped.
enum StreamCode : quic::AppCode {
  kStreamOk = 0,
  kStreamClientGone = 1,   // the public client reset its connection, or the edge gave it to another agent
  kStreamOriginReset = 2,  // the origin reset or died mid-way
  kStreamOriginUnreachable = 3,  // refused, no route, name not found
  kStreamOriginTimeout = 4,
  kStreamUnknownService = 5,  // the agent does not serve this hostname or mode
  kStreamBadHeader = 6,
  kStreamLimit = 7,  // the agent or the edge is at a cap
  kStreamIdle = 8,
  kStreamOriginUntrusted = 9,  // the agent does not accept the origin's certificate
};

// Why a tunnel connection is closed.
enum CloseCode : quic::AppCode {
  kCloseOk = 0,        // says nothing of the lease: also what a dropped connection handle sends
  kCloseNoLease = 1,   // the edge knows no lease of this agent: declare again
  kCloseRevoked = 2,   // no route names this agent any more: the invite was revoked, or the lease ended
  kCloseReplaced = 3,  // the same agent connected again, or another took a silent one's place
  kCloseDraining = 4,  // the edge is going away: reconnect
  kCloseProtocol = 5,
  kCloseLimit = 6,
  kCloseGoodbye = 7,    // the agent was stopped: its lease ends now. Never 0, which is sent without intent
  kCloseWithdrawn = 8,  // the hub no longer names this edge to the agent; its lease and other tunnels go on
};

}  // namespace culvert::tunnel
