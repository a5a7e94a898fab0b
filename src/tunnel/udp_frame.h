#pragma once
#include <cstdint>
#include <optional>
#include <variant>

#include "base/bytes.h"
#include "base/result.h"
#include "base/socket_addr.h"

// How the datagrams of a UDP port are sent through a tunnel; docs/protocol.md, 6.4. Sans-I/O.
namespace culvert::tunnel {

// Who sends the datagrams of a flow, and which address of the edge they were sent to. Of one family; the
// port there is that of the channel.
struct UdpClient {
  SocketAddr client;
  SocketAddr edge;
  bool operator==(const UdpClient&) const = default;
};

// One datagram of a flow. What it refers to is elsewhere.
struct UdpDatagram {
  uint64_t flow;
  std::optional<UdpClient> client = {};  // from an edge, until the agent was heard of this flow
  ByteView payload;
};

// An agent got a datagram of a flow that it does not have, and that told no client.
struct UdpForgotten {
  uint64_t flow;
};

// The agent has the channel: QUIC datagrams that name it are understood from now on.
struct UdpReady {};

using UdpFrame = std::variant<UdpDatagram, UdpForgotten, UdpReady>;

// The numbers of flows; what is above has no room beside the bit that says whether the client is told.
constexpr uint64_t kMaxUdpFlow = (uint64_t{1} << 61) - 1;
// What a UDP header's length leaves over IPv6 (RFC 768; RFC 8200 without jumbograms).
constexpr size_t kMaxUdpPayload = 65535 - 8;
// Type, flow, client with two IPv6 addresses, and payload.
constexpr size_t kMaxUdpFrame = 1 + 8 + (1 + 16 + 16 + 2) + kMaxUdpPayload;

// Replaces `out` by a QUIC datagram: the channel, then the datagram.
void encode_udp_datagram(uint64_t channel, const UdpDatagram& datagram, Bytes& out);
// Replaces `out` by a frame for the channel's stream.
void encode_udp_frame(const UdpFrame& frame, Bytes& out);

struct DecodedUdpDatagram {
  uint64_t channel;
  UdpDatagram datagram;
};
// A QUIC datagram; nullopt: it is malformed.
std::optional<DecodedUdpDatagram> decode_udp_datagram(ByteView bytes);

// Takes frames out of a channel's stream, which arrives in any pieces. Holds one frame at most.
class UdpFrameReader {
 public:
  // Takes from the front of `bytes` what the frame that is begun still needs; returns how much that was.
  // After it next() is due, until that finds no frame.
  size_t feed(ByteView bytes);
  // The next frame of a known type, valid until the next feed(); nullopt: feed more. kInvalid: malformed.
  Result<std::optional<UdpFrame>> next();

 private:
  Bytes frame_;            // what is there of it, its length included
  bool is_taken_ = false;  // next() returned it
};

}  // namespace culvert::tunnel
