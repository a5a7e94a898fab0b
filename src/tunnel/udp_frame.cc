#include "tunnel/udp_frame.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace culvert::tunnel {
namespace {

enum class FrameType : uint8_t { kDatagram = 0, kForgotten = 1, kReady = 2 };

constexpr uint8_t kIpv4 = 4;
constexpr uint8_t kIpv6 = 6;
constexpr size_t kMaxVarint = 8;

// RFC 9000, 16: the two highest bits of the first byte are the logarithm of the length.
size_t varint_size(uint8_t first) { return size_t{1} << (first >> 6); }

void write_varint(Bytes& out, uint64_t value) {
  CHECK(value < uint64_t{1} << 62);
  unsigned log = 0;
  while (log < 3 && value >> ((8u << log) - 2) != 0) ++log;
  const int bits = 8 << log;
  value |= uint64_t{log} << (bits - 2);
  for (int shift = bits - 8; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(value >> shift));
}

std::optional<uint64_t> read_varint(ByteReader& in) {
  if (in.empty()) return std::nullopt;
  const auto bytes = in.take(varint_size(in.rest().front()));
  if (!bytes) return std::nullopt;
  uint64_t value = bytes->front() & 0x3f;
  for (const uint8_t byte : bytes->subspan(1)) value = value << 8 | byte;
  return value;
}

void append(Bytes& out, ByteView bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

void write_client(Bytes& out, const UdpClient& told) {
  CHECK(told.client.is_v4() == told.edge.is_v4());
  out.push_back(told.client.is_v4() ? kIpv4 : kIpv6);
  append(out, told.client.ip());
  append(out, told.edge.ip());
  out.push_back(static_cast<uint8_t>(told.client.port() >> 8));
  out.push_back(static_cast<uint8_t>(told.client.port()));
}

template <size_t kSize>
SocketAddr address_of(ByteView ip, uint16_t port) {
  std::array<uint8_t, kSize> bytes;
  std::ranges::copy(ip, bytes.begin());
  if constexpr (kSize == 4) {
    return SocketAddr::v4(bytes, port);
  } else {
    return SocketAddr::v6(bytes, port);
  }
}

std::optional<UdpClient> read_client(ByteReader& in) {
  const auto family = in.u8();
  if (family != kIpv4 && family != kIpv6) return std::nullopt;
  const size_t size = family == kIpv4 ? 4 : 16;
  const auto client = in.take(size);
  const auto edge = in.take(size);
  const auto port = in.u16();
  if (!client || !edge || !port) return std::nullopt;
  if (family == kIpv4) return UdpClient{address_of<4>(*client, *port), address_of<4>(*edge, 0)};
  const UdpClient told{address_of<16>(*client, *port), address_of<16>(*edge, 0)};
  // An IPv4 address in its mapped form becomes one, and the two would no longer be of one family.
  return told.client.is_v4() || told.edge.is_v4() ? std::nullopt : std::optional(told);
}

void write_datagram(Bytes& out, const UdpDatagram& datagram) {
  write_varint(out, datagram.flow << 1 | (datagram.client ? 1 : 0));
  if (datagram.client) write_client(out, *datagram.client);
  append(out, datagram.payload);
}

std::optional<UdpDatagram> read_datagram(ByteReader in) {
  const auto number = read_varint(in);
  if (!number) return std::nullopt;
  UdpDatagram datagram{.flow = *number >> 1, .payload = {}};
  if (*number & 1) {
    datagram.client = read_client(in);
    if (!datagram.client) return std::nullopt;
  }
  datagram.payload = in.rest();
  if (datagram.payload.size() > kMaxUdpPayload) return std::nullopt;
  return datagram;
}

// Of a frame without its length; nullopt: it is malformed. std::monostate: a type of later versions.
using AnyFrame = std::variant<std::monostate, UdpDatagram, UdpForgotten, UdpReady>;
std::optional<AnyFrame> read_frame(ByteView bytes) {
  ByteReader in(bytes);
  const auto type = in.u8();
  if (!type) return std::nullopt;
  switch (static_cast<FrameType>(*type)) {
    case FrameType::kDatagram: {
      const auto datagram = read_datagram(in);
      return datagram ? std::optional<AnyFrame>(*datagram) : std::nullopt;
    }
    case FrameType::kForgotten: {
      const auto flow = read_varint(in);
      return flow ? std::optional<AnyFrame>(UdpForgotten{*flow}) : std::nullopt;
    }
    case FrameType::kReady:
      return AnyFrame(UdpReady());
  }
  return AnyFrame();
}

// What the frame needs in all; nullopt: its length is not complete.
std::optional<size_t> size_of(ByteView begun) {
  ByteReader in(begun);
  const auto length = read_varint(in);
  if (!length) return std::nullopt;
  return begun.size() - in.rest().size() + *length;
}

}  // namespace

void encode_udp_datagram(uint64_t channel, const UdpDatagram& datagram, Bytes& out) {
  out.clear();
  write_varint(out, channel);
  write_datagram(out, datagram);
}

void encode_udp_frame(const UdpFrame& frame, Bytes& out) {
  Bytes body;
  if (const auto* datagram = std::get_if<UdpDatagram>(&frame)) {
    body.push_back(static_cast<uint8_t>(FrameType::kDatagram));
    write_datagram(body, *datagram);
  } else if (const auto* forgotten = std::get_if<UdpForgotten>(&frame)) {
    body.push_back(static_cast<uint8_t>(FrameType::kForgotten));
    write_varint(body, forgotten->flow);
  } else {
    body.push_back(static_cast<uint8_t>(FrameType::kReady));
  }
  out.clear();
  write_varint(out, body.size());
  append(out, body);
}

std::optional<DecodedUdpDatagram> decode_udp_datagram(ByteView bytes) {
  ByteReader in(bytes);
  const auto channel = read_varint(in);
  if (!channel) return std::nullopt;
  const auto datagram = read_datagram(in);
  if (!datagram) return std::nullopt;
  return DecodedUdpDatagram{*channel, *datagram};
}

size_t UdpFrameReader::feed(ByteView bytes) {
  if (std::exchange(is_taken_, false)) frame_.clear();
  size_t fed = 0;
  while (fed < bytes.size()) {
    const auto size = size_of(frame_);
    if (size && (*size > kMaxVarint + kMaxUdpFrame || frame_.size() >= *size)) break;
    // Its length comes byte by byte.
    const size_t wanted = size ? *size - frame_.size() : 1;
    const ByteView part = bytes.subspan(fed, std::min(wanted, bytes.size() - fed));
    append(frame_, part);
    fed += part.size();
  }
  return fed;
}

Result<std::optional<UdpFrame>> UdpFrameReader::next() {
  const auto size = size_of(frame_);
  if (is_taken_ || !size) return std::nullopt;
  ByteReader in(frame_);
  const auto length = read_varint(in);
  if (*length > kMaxUdpFrame)
    return fail(ErrorCode::kInvalid, "UDP channel: a frame of {} bytes, at most {} are allowed", *length,
                kMaxUdpFrame);
  if (frame_.size() < *size) return std::nullopt;
  is_taken_ = true;
  const auto frame = read_frame(in.rest());
  if (!frame) return fail(ErrorCode::kInvalid, "UDP channel: a malformed frame");
  if (const auto* datagram = std::get_if<UdpDatagram>(&*frame)) return UdpFrame(*datagram);
  if (const auto* forgotten = std::get_if<UdpForgotten>(&*frame)) return UdpFrame(*forgotten);
  if (std::holds_alternative<UdpReady>(*frame)) return UdpFrame(UdpReady());
  return std::nullopt;
}

}  // namespace culvert::tunnel
