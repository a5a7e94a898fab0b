#include "quic/datagrams.h"

#include <array>

#include "quic/core.h"

namespace culvert::quic {

void Datagrams::receive_from_core() {
  thread_local std::array<uint8_t, 65536> datagram;
  size_t size;
  while ((size = core::cq_datagram_receive(context_.endpoint(), context_.core, datagram.data(),
                                           datagram.size())) != core::kNoDatagram) {
    const size_t dropped = context_.is_admitted ? queue_.push({datagram.data(), size}) : 1;
    context_.shared.counters.unread_datagrams_dropped += dropped;
  }
}

size_t Datagrams::max_size() const {
  return context_.is_open ? core::cq_datagram_max_size(context_.endpoint(), context_.core) : 0;
}

Result<> Datagrams::send(ByteView data) {
  if (!context_.is_open) return fail(ErrorCode::kClosed, "the connection is not open");
  context_.mark_dirty();
  switch (core::cq_datagram_send(context_.endpoint(), context_.core, data.data(), data.size())) {
    case 0:
      liveness_.wrote_data();  // an acknowledgement is owed for it, as for data of a stream
      return {};
    case 1:
      return fail(ErrorCode::kLimit, "a datagram of {} bytes is larger than the {} that fit", data.size(),
                  max_size());
    case 2:
      return fail(ErrorCode::kUnavailable, "the datagram queue is full");
    default:
      return fail(ErrorCode::kLimit, "the peer accepts no datagrams");
  }
}

}  // namespace culvert::quic
