#include "tunnel/datagram_sender.h"

#include <algorithm>

namespace culvert::tunnel {
namespace {

// What an Ethernet frame has room for over IPv4. The kernel cuts nothing larger than the device's MTU.
constexpr size_t kMaxSegment = 1472;
// As net::UdpSocket cuts batches.
constexpr size_t kMaxCount = 64;
constexpr size_t kMaxBytes = 65000;

}  // namespace

bool DatagramSender::continues(const net::PacketIo& socket, ByteView payload, const SocketAddr& remote,
                               const SocketAddr& local) const {
  return &socket == socket_ && count_ < kMaxCount && !is_short_ && !payload.empty() &&
         payload.size() <= segment_size_ && segment_size_ <= kMaxSegment &&
         pending_.size() + payload.size() <= kMaxBytes && remote == remote_ && local == local_;
}

void DatagramSender::send(net::PacketIo& socket, ByteView payload, const SocketAddr& remote,
                          const SocketAddr& local) {
  if (!continues(socket, payload, remote, local)) {
    flush();
    socket_ = &socket;
    segment_size_ = payload.size();
    remote_ = remote;
    local_ = local;
    is_short_ = false;
  }
  pending_.insert(pending_.end(), payload.begin(), payload.end());
  ++count_;
  is_short_ = payload.size() < segment_size_;
}

void DatagramSender::flush() {
  if (socket_ == nullptr) return;
  const auto status = socket_->send({.data = pending_,
                                     .segment_size = std::max<size_t>(segment_size_, 1),
                                     .remote = remote_,
                                     .local = local_});
  if (status != net::PacketIo::SendStatus::kSent) dropped_ += count_;
  pending_.clear();
  count_ = 0;
  socket_ = nullptr;
}

}  // namespace culvert::tunnel
