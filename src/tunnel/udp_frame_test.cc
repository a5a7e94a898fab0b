#include "tunnel/udp_frame.h"

#include <gtest/gtest.h>

#include "base/encoding.h"

namespace culvert::tunnel {
namespace {

UdpClient client_v4() {
  return {SocketAddr::v4({203, 0, 113, 7}, 51234), SocketAddr::v4({198, 51, 100, 1}, 0)};
}
UdpClient client_v6() {
  return {SocketAddr::parse("[2001:db8::7]:53").value(), SocketAddr::parse("[2001:db8::1]:0").value()};
}

Bytes datagram(uint64_t channel, const UdpDatagram& what) {
  Bytes out;
  encode_udp_datagram(channel, what, out);
  return out;
}
Bytes frame(const UdpFrame& what) {
  Bytes out;
  encode_udp_frame(what, out);
  return out;
}

TEST(UdpFrame, ADatagramNamesItsChannelItsFlowAndAtFirstTheClient) {
  const Bytes first = datagram(2, {.flow = 5, .client = client_v4(), .payload = as_bytes("hi")});
  EXPECT_EQ(to_hex(first), "020b04cb007107c6336401c8226869");
  EXPECT_EQ(to_hex(datagram(2, {.flow = 5, .payload = as_bytes("hi")})), "020a6869");
}

TEST(UdpFrame, WhatIsEncodedIsDecoded) {
  for (const uint64_t number : {uint64_t{0}, uint64_t{63}, uint64_t{64}, uint64_t{16383}, uint64_t{16384},
                                (uint64_t{1} << 30) - 1, uint64_t{1} << 30, kMaxUdpFlow}) {
    for (const auto& client :
         {std::optional<UdpClient>(), std::optional(client_v4()), std::optional(client_v6())}) {
      const Bytes encoded =
          datagram(number, {.flow = number, .client = client, .payload = as_bytes("payload")});
      const auto decoded = decode_udp_datagram(encoded);
      ASSERT_TRUE(decoded);
      EXPECT_EQ(decoded->channel, number);
      EXPECT_EQ(decoded->datagram.flow, number);
      EXPECT_EQ(decoded->datagram.client, client);
      EXPECT_EQ(as_text(decoded->datagram.payload), "payload");
    }
  }
  EXPECT_TRUE(decode_udp_datagram(datagram(0, {.flow = 0, .payload = {}})));
}

TEST(UdpFrame, MalformedDatagramsAreRefused) {
  const Bytes good = datagram(1, {.flow = 1, .client = client_v6(), .payload = {}});
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_FALSE(decode_udp_datagram(ByteView(good).first(size))) << size;
  Bytes family = good;
  family[2] = 5;
  EXPECT_FALSE(decode_udp_datagram(family));
  // A mapped address is IPv4, beside one that is not.
  Bytes mapped = good;
  std::fill(mapped.begin() + 3, mapped.begin() + 13, uint8_t{0});
  mapped[13] = mapped[14] = 0xff;
  EXPECT_FALSE(decode_udp_datagram(mapped));
  EXPECT_FALSE(decode_udp_datagram(datagram(1, {.flow = 1, .payload = Bytes(kMaxUdpPayload + 1)})));
}

class UdpFrameReaderTest : public testing::Test {
 public:
  // All frames of `bytes`, which come in pieces of this size.
  std::vector<std::string> read(ByteView bytes, size_t piece) {
    std::vector<std::string> all;
    while (!bytes.empty()) {
      ByteView part = bytes.first(std::min(piece, bytes.size()));
      bytes = bytes.subspan(part.size());
      while (!part.empty()) {
        part = part.subspan(reader_.feed(part));
        auto got = reader_.next();
        if (!got) {
          all.push_back(got.error().message);
          return all;
        }
        if (!*got) continue;
        if (const auto* datagram = std::get_if<UdpDatagram>(&**got))
          all.push_back(fmt::format("{}:{}", datagram->flow, datagram->payload.size()));
        if (const auto* forgotten = std::get_if<UdpForgotten>(&**got))
          all.push_back(fmt::format("forgotten {}", forgotten->flow));
        if (std::holds_alternative<UdpReady>(**got)) all.emplace_back("ready");
      }
    }
    return all;
  }

  UdpFrameReader reader_;
};

TEST_F(UdpFrameReaderTest, FramesComeInAnyPieces) {
  const Bytes longest(kMaxUdpPayload);
  Bytes stream;
  for (const Bytes& each : {frame(UdpReady()), frame(UdpDatagram{.flow = 1, .payload = as_bytes("abc")}),
                            frame(UdpForgotten{70000}), frame(UdpDatagram{.flow = 2, .payload = {}}),
                            frame(UdpDatagram{.flow = 3, .client = client_v6(), .payload = longest})}) {
    stream.insert(stream.end(), each.begin(), each.end());
  }
  const std::vector<std::string> all = {"ready", "1:3", "forgotten 70000", "2:0",
                                        fmt::format("3:{}", kMaxUdpPayload)};
  for (const size_t piece : {size_t{1}, size_t{2}, size_t{7}, size_t{1000}, stream.size()})
    EXPECT_EQ(read(stream, piece), all) << piece;
}

TEST_F(UdpFrameReaderTest, FramesOfLaterVersionsAreIgnored) {
  Bytes stream = {3, 9, 1, 2};
  const Bytes known = frame(UdpForgotten{1});
  stream.insert(stream.end(), known.begin(), known.end());
  EXPECT_EQ(read(stream, 1), std::vector<std::string>{"forgotten 1"});
}

TEST_F(UdpFrameReaderTest, MalformedFramesEndTheStream) {
  EXPECT_EQ(read(Bytes{0}, 1).size(), 1u) << "an empty one has no type";
  reader_ = {};
  EXPECT_EQ(read(Bytes{2, 1, 0x40}, 1), std::vector<std::string>{"UDP channel: a malformed frame"});
  reader_ = {};
  const auto said = read(Bytes{0xc0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0}, 3);
  ASSERT_EQ(said.size(), 1u);
  EXPECT_TRUE(said[0].contains("a frame of 4294967295 bytes")) << said[0];
}

}  // namespace
}  // namespace culvert::tunnel
