#include "net/datagram_relay.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace culvert::net {
namespace {

constexpr uint8_t kLongHeader = 0x80;
constexpr size_t kIdSize = 8;

void put_u16(Bytes& out, size_t value) {
  out.push_back(static_cast<uint8_t>(value >> 8));
  out.push_back(static_cast<uint8_t>(value));
}

void put_address(Bytes& out, const SocketAddr& address) {
  const ByteView ip = address.ip();
  out.push_back(static_cast<uint8_t>(ip.size()));
  out.insert(out.end(), ip.begin(), ip.end());
  put_u16(out, address.port());
}

// Takes the front of what is left; empty when there is too little.
ByteView take(ByteView& rest, size_t size) {
  if (rest.size() < size) {
    rest = {};
    return {};
  }
  const ByteView front = rest.first(size);
  rest = rest.subspan(size);
  return front;
}

std::optional<uint16_t> take_u16(ByteView& rest) {
  const ByteView bytes = take(rest, 2);
  if (bytes.empty()) return std::nullopt;
  return static_cast<uint16_t>(bytes[0] << 8 | bytes[1]);
}

std::optional<SocketAddr> take_address(ByteView& rest) {
  const ByteView size = take(rest, 1);
  if (size.empty() || (size[0] != 4 && size[0] != 16)) return std::nullopt;
  const ByteView ip = take(rest, size[0]);
  const auto port = take_u16(rest);
  if (ip.empty() || !port) return std::nullopt;
  if (ip.size() == 4) {
    std::array<uint8_t, 4> v4;
    std::ranges::copy(ip, v4.begin());
    return SocketAddr::v4(v4, *port);
  }
  std::array<uint8_t, 16> v6;
  std::ranges::copy(ip, v6.begin());
  return SocketAddr::v6(v6, *port);
}

}  // namespace

std::optional<uint8_t> generation_of(ByteView datagram) {
  if (datagram.empty()) return std::nullopt;
  const bool is_long = (datagram[0] & kLongHeader) != 0;
  if (is_long && (datagram.size() < 6 + kIdSize || datagram[5] != kIdSize)) return std::nullopt;
  if (datagram.size() < 1 + kIdSize) return std::nullopt;
  return datagram[is_long ? 7 : 2];
}

Bytes encode_relay_header(const RelayedBatch& batch) {
  Bytes out;
  out.reserve(kMaxRelayedHeader);
  put_address(out, batch.remote);
  put_address(out, batch.local);
  out.push_back(batch.ecn);
  put_u16(out, batch.segment_size);
  return out;
}

Result<RelayedBatch> decode_relayed(ByteView message) {
  ByteView rest = message;
  const auto remote = take_address(rest);
  if (!remote) return fail(ErrorCode::kInvalid, "relayed datagrams: no remote address");
  const auto local = take_address(rest);
  if (!local) return fail(ErrorCode::kInvalid, "relayed datagrams: no local address");
  const ByteView ecn = take(rest, 1);
  const auto segment_size = take_u16(rest);
  if (ecn.empty() || ecn[0] > 3 || !segment_size || *segment_size == 0)
    return fail(ErrorCode::kInvalid, "relayed datagrams: no ECN bits or no size");
  if (rest.empty()) return fail(ErrorCode::kInvalid, "relayed datagrams: there are none");
  return RelayedBatch{rest, *segment_size, *remote, *local, ecn[0]};
}

void for_each_datagram(const RelayedBatch& batch, const std::function<void(const ReceivedDatagram&)>& each) {
  ByteView rest = batch.data;
  while (!rest.empty()) {
    const ByteView datagram = rest.first(std::min(rest.size(), batch.segment_size));
    rest = rest.subspan(datagram.size());
    each({.data = datagram, .remote = batch.remote, .local = batch.local, .ecn = batch.ecn});
  }
}

void DatagramRelay::push(const ReceivedDatagram& datagram) {
  if (is_lost_ || datagram.data.empty() || datagram.data.size() > kMaxRelayedData) return;
  const bool fits = !gathered_.empty() && !is_full_ && batch_.remote == datagram.remote &&
                    batch_.local == datagram.local && batch_.ecn == datagram.ecn &&
                    datagram.data.size() <= batch_.segment_size &&
                    gathered_.size() + datagram.data.size() <= kMaxRelayedData;
  if (!fits) {
    flush();
    batch_ = {{}, datagram.data.size(), datagram.remote, datagram.local, datagram.ecn};
  }
  gathered_.insert(gathered_.end(), datagram.data.begin(), datagram.data.end());
  ++datagrams_;
  is_full_ = datagram.data.size() < batch_.segment_size;
}

// What does not fit into the socket's queue is lost, as in a full receive buffer.
void DatagramRelay::flush() {
  if (gathered_.empty()) return;
  Bytes header = encode_relay_header(batch_);
  std::array<iovec, 2> parts{{{.iov_base = header.data(), .iov_len = header.size()},
                              {.iov_base = gathered_.data(), .iov_len = gathered_.size()}}};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  const bool sent = ::sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
  if (!sent && (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)) is_lost_ = true;
  (sent ? counters_.relayed : counters_.dropped).fetch_add(datagrams_, std::memory_order_relaxed);
  gathered_.clear();
  datagrams_ = 0;
  is_full_ = false;
}

}  // namespace culvert::net
