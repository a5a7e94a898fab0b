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

void put_address(ByteWriter& out, const SocketAddr& address) {
  const ByteView ip = address.ip();
  out.u8(static_cast<uint8_t>(ip.size()));
  out.bytes(ip);
  out.u16(address.port());
}

template <size_t N>
std::array<uint8_t, N> array_of(ByteView bytes) {
  std::array<uint8_t, N> out;
  std::ranges::copy(bytes, out.begin());
  return out;
}

std::optional<SocketAddr> take_address(ByteReader& in) {
  const auto size = in.u8();
  if (!size || (*size != 4 && *size != 16)) return std::nullopt;
  const auto ip = in.take(*size);
  const auto port = in.u16();
  if (!ip || !port) return std::nullopt;
  return *size == 4 ? SocketAddr::v4(array_of<4>(*ip), *port) : SocketAddr::v6(array_of<16>(*ip), *port);
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
  ByteWriter out;
  put_address(out, batch.remote);
  put_address(out, batch.local);
  out.u8(batch.ecn);
  out.u16(static_cast<uint16_t>(batch.segment_size));
  return out.take();
}

Result<RelayedBatch> decode_relayed(ByteView message) {
  ByteReader in(message);
  const auto remote = take_address(in);
  if (!remote) return fail(ErrorCode::kInvalid, "relayed datagrams: no remote address");
  const auto local = take_address(in);
  if (!local) return fail(ErrorCode::kInvalid, "relayed datagrams: no local address");
  const auto ecn = in.u8();
  const auto segment_size = in.u16();
  if (!ecn || *ecn > 3 || !segment_size || *segment_size == 0)
    return fail(ErrorCode::kInvalid, "relayed datagrams: no ECN bits or no size");
  if (in.empty()) return fail(ErrorCode::kInvalid, "relayed datagrams: there are none");
  return RelayedBatch{in.rest(), *segment_size, *remote, *local, *ecn};
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
