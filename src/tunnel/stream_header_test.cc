#include "tunnel/stream_header.h"

#include <gtest/gtest.h>

#include "base/encoding.h"
#include "wire/proxy_protocol.h"

namespace culvert::tunnel {
namespace {

SocketAddr addr(std::string_view text) { return SocketAddr::parse(text).value(); }

StreamHeader sample() {
  return {.client = addr("192.0.2.1:56324"),
          .public_addr = addr("203.0.113.5:443"),
          .authority = "app.example.eu",
          .kind = StreamKind::kTerminate,
          .connection_id = 0x0102030405060708};
}

wire::ProxyHeader proxy_of(const StreamHeader& header) {
  return (*wire::decode_proxy_v2(encode(header)).value()).header;
}

void expect_invalid(const wire::ProxyHeader& proxy, std::string_view why) {
  auto decoded = decode_stream_header(wire::encode_proxy_v2(proxy).value());
  ASSERT_FALSE(decoded) << why;
  EXPECT_EQ(decoded.error().code, ErrorCode::kInvalid);
  EXPECT_NE(decoded.error().message.find(why), std::string::npos)
      << decoded.error().message << "\nexpected " << why;
}

TEST(StreamHeader, BytesAreThoseOfTheProtocol) {
  EXPECT_EQ(to_hex(encode(sample())),
            "0d0a0d0a000d0a515549540a"            // PROXY version 2
            "2111002a"                            // PROXY, TCP over IPv4, 42 bytes
            "c0000201cb007105dc0401bb"            // addresses and ports
            "02000e6170702e6578616d706c652e6575"  // authority
            "e0000a01020102030405060708");        // Culvert: version 1, terminate, connection id
}

TEST(StreamHeader, WhatAProxySaidIsInsideOfOneTlv) {
  StreamHeader header = sample();
  // A unique id, and two types that the header has itself.
  header.proxy_tlvs = {{0x05, {7}}, {0xe0, {8}}, {wire::kProxyTlvAuthority, {'a'}}};
  EXPECT_EQ(to_hex(encode(header)),
            "0d0a0d0a000d0a515549540a"
            "21110039"
            "c0000201cb007105dc0401bb"
            "02000e6170702e6578616d706c652e6575"
            "e0000a01020102030405060708"
            "e1000c"
            "05000107"
            "e0000108"
            "02000161");
}

TEST(StreamHeader, SurvivesTheWire) {
  std::vector<StreamHeader> headers(7, sample());
  headers[1].client = addr("[2001:db8::1]:1");
  headers[1].public_addr = addr("[2001:db8::2]:443");
  headers[1].kind = StreamKind::kPassthrough;
  headers[2].client = addr("[2001:db8::1]:1");
  headers[2].connection_id = UINT64_MAX;
  headers[3].authority = fmt::format("{0}.{0}.{0}.{1}", std::string(63, 'a'), std::string(61, 'a'));
  headers[4].kind = StreamKind::kTcpPort;
  headers[4].authority = "Git over SSH";
  headers[5].kind = StreamKind::kChallenge;
  headers[6].authority = headers[3].authority;
  headers[6].client = headers[1].client;
  headers[6].proxy_tlvs = {{0x05, Bytes(128, 7)}, {0xe0, Bytes(200)}, {0xe1, {}}};
  for (const StreamHeader& header : headers) {
    Bytes bytes = encode(header);
    const size_t size = bytes.size();
    EXPECT_LT(size, header.proxy_tlvs.empty() ? 400u : 400u + wire::kMostForwardedTlvs);
    bytes.insert(bytes.end(), {0x16, 0x03, 0x01});
    auto decoded = decode_stream_header(bytes);
    ASSERT_TRUE(decoded) << decoded.error().message;
    ASSERT_TRUE(*decoded);
    EXPECT_EQ((*decoded)->header, header);
    EXPECT_EQ((*decoded)->consumed, size);
  }
}

TEST(StreamHeader, EveryPrefixNeedsMore) {
  const Bytes bytes = encode(sample());
  for (size_t size = 0; size < bytes.size(); ++size) {
    auto decoded = decode_stream_header(ByteView(bytes).first(size));
    ASSERT_TRUE(decoded) << size;
    EXPECT_FALSE(*decoded) << size;
  }
}

TEST(StreamHeader, AnotherVersionNamesBoth) {
  wire::ProxyHeader proxy = proxy_of(sample());
  proxy.tlvs[1].value[0] = 2;
  expect_invalid(proxy, "version 2, this agent reads version 1");
  // Whatever else has changed in it.
  proxy.tlvs[1].value = {9};
  expect_invalid(proxy, "version 9, this agent reads version 1");
}

TEST(StreamHeader, ForeignProxyHeaders) {
  wire::ProxyHeader proxy = proxy_of(sample());
  proxy.tlvs.pop_back();
  expect_invalid(proxy, "0 TLVs with the Culvert version");
  proxy.tlvs.clear();
  expect_invalid(proxy, "0 TLVs with the Culvert version");
  proxy.local = true;
  expect_invalid(proxy, "no client address");
  EXPECT_FALSE(decode_stream_header(as_bytes("GET / HTTP/1.1\r\n")));
}

TEST(StreamHeader, CulvertTlvMustBeWhole) {
  const wire::ProxyHeader good = proxy_of(sample());
  for (size_t size : {0u, 1u, 2u, 9u, 11u, 100u}) {
    wire::ProxyHeader proxy = good;
    proxy.tlvs[1].value.resize(size);
    expect_invalid(proxy, size == 0 ? "is empty" : "wrong length");
  }
  for (uint8_t kind : Bytes{0, 6, 255}) {
    wire::ProxyHeader proxy = good;
    proxy.tlvs[1].value[1] = kind;
    expect_invalid(proxy, fmt::format("kind {} is unknown", kind));
  }
}

TEST(StreamHeader, AuthorityMustBeOneFoldedHostname) {
  const wire::ProxyHeader good = proxy_of(sample());
  wire::ProxyHeader proxy = good;
  proxy.tlvs.erase(proxy.tlvs.begin());
  expect_invalid(proxy, "0 TLVs with the hostname");
  using namespace std::string_view_literals;
  for (auto host :
       {""sv, "App.example.eu"sv, "a b"sv, "a\0b"sv, "a\nb"sv, "*.example.eu"sv, "a:443"sv, "\xc3\xbc"sv}) {
    proxy = good;
    proxy.tlvs[0].value = to_bytes(as_bytes(host));
    expect_invalid(proxy, "the hostname is not one");
  }
  proxy = good;
  proxy.tlvs[0].value = Bytes(254, 'a');
  expect_invalid(proxy, "the hostname is not one");
}

TEST(StreamHeader, APortNamesItsService) {
  StreamHeader header = sample();
  header.kind = StreamKind::kTcpPort;
  const wire::ProxyHeader good = proxy_of(header);
  for (const std::string& name : {std::string(), std::string(65, 'a'), std::string("a\nb")}) {
    wire::ProxyHeader proxy = good;
    proxy.tlvs[0].value = to_bytes(as_bytes(name));
    expect_invalid(proxy, "the name");
  }
}

TEST(StreamHeader, NothingMayBeSaidTwice) {
  wire::ProxyHeader proxy = proxy_of(sample());
  proxy.tlvs.push_back({wire::kProxyTlvAuthority, to_bytes(as_bytes("other.example.eu"))});
  expect_invalid(proxy, "2 TLVs with the hostname");
  proxy = proxy_of(sample());
  proxy.tlvs.push_back(proxy.tlvs[1]);
  expect_invalid(proxy, "2 TLVs with the Culvert version");
}

TEST(StreamHeader, WhatAProxySaidMustBeTlvs) {
  wire::ProxyHeader proxy = proxy_of(sample());
  proxy.tlvs.push_back({kTlvProxy, {0x05, 0x00, 0x02, 0x07}});
  expect_invalid(proxy, "a TLV is longer");
  proxy.tlvs.back().value = {0x05, 0x00, 0x01, 0x07};
  proxy.tlvs.push_back(proxy.tlvs.back());
  expect_invalid(proxy, "2 TLVs with the proxy's TLVs");
}

TEST(StreamHeader, NothingOfAProxyIsTakenThatMustNotBeForwarded) {
  wire::ProxyHeader proxy = proxy_of(sample());
  proxy.tlvs.push_back(
      {kTlvProxy, *wire::encode_tlvs(std::vector<wire::ProxyTlv>{{wire::kProxyTlvCrc32c, Bytes(4)},
                                                                 {wire::kProxyTlvNoop, {}},
                                                                 {0x05, {7}},
                                                                 {0x05, {8}},
                                                                 {0x20, Bytes(wire::kMostForwardedTlvs)}})});
  auto decoded = decode_stream_header(wire::encode_proxy_v2(proxy).value());
  ASSERT_TRUE(decoded && *decoded);
  EXPECT_EQ((*decoded)->header.proxy_tlvs, (std::vector<wire::ProxyTlv>{{0x05, {7}}}));
}

TEST(StreamHeader, UnknownTlvsAreRoomToGrow) {
  wire::ProxyHeader proxy = proxy_of(sample());
  proxy.tlvs.push_back({0xe2, {1, 2, 3}});
  proxy.tlvs.push_back({wire::kProxyTlvAlpn, {'h', '2'}});
  auto decoded = decode_stream_header(wire::encode_proxy_v2(proxy).value());
  ASSERT_TRUE(decoded && *decoded);
  EXPECT_EQ((*decoded)->header, sample());
}

}  // namespace
}  // namespace culvert::tunnel
