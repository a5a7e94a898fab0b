// What an edge and an agent read of UDP ports: QUIC datagrams, and the frames of a channel's stream.
#include <algorithm>
#include <cstdlib>
#include <variant>

#include "tunnel/udp_frame.h"

using namespace culvert;

namespace {

bool is_same(const tunnel::UdpDatagram& a, const tunnel::UdpDatagram& b) {
  return a.flow == b.flow && a.client == b.client && std::ranges::equal(a.payload, b.payload);
}

// What is decoded and encoded again means the same.
void check_datagram(ByteView bytes) {
  const auto decoded = tunnel::decode_udp_datagram(bytes);
  if (!decoded) return;
  Bytes again;
  tunnel::encode_udp_datagram(decoded->channel, decoded->datagram, again);
  if (again.size() > bytes.size()) std::abort();
  const auto same = tunnel::decode_udp_datagram(again);
  if (!same || same->channel != decoded->channel || !is_same(same->datagram, decoded->datagram)) std::abort();
}

// Every frame, encoded again, and how the stream ended, when it arrives `step` bytes at a time.
Bytes frames(ByteView bytes, size_t step) {
  tunnel::UdpFrameReader reader;
  Bytes out, once;
  while (!bytes.empty()) {
    ByteView piece = bytes.first(std::min(step, bytes.size()));
    bytes = bytes.subspan(piece.size());
    while (!piece.empty()) {
      const size_t taken = reader.feed(piece);
      piece = piece.subspan(taken);
      const auto frame = reader.next();
      if (!frame) {
        out.push_back('!');
        return out;
      }
      if (!*frame) continue;
      tunnel::encode_udp_frame(**frame, once);
      out.insert(out.end(), once.begin(), once.end());
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView bytes(data, size);
  check_datagram(bytes);
  if (frames(bytes, size + 1) != frames(bytes, 1)) std::abort();
  return 0;
}
