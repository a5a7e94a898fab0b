#pragma once
#include "base/bytes.h"
#include "base/result.h"
#include "base/socket_addr.h"
#include "dns/message.h"
#include "net/event_loop.h"

namespace culvert::dns {

struct Answer {
  Bytes bytes;  // as they came, for signatures
  Message message;
};

// Sends a query, which encode() or sign() made, to one server and waits for its answer: over UDP, again when
// there is none, and over TCP when the answer does not fit UDP or UDP is lost on the way. Errors: kTimeout,
// kUnavailable; the message names the server.
net::Task<Result<Answer>> exchange(net::EventLoop& loop, SocketAddr server, Bytes query, TimePoint deadline);

}  // namespace culvert::dns
