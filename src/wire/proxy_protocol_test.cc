#include "wire/proxy_protocol.h"

#include <gtest/gtest.h>

#include "base/encoding.h"

namespace culvert::wire {
namespace {

// proxy-protocol.txt, 2.2, written out by hand: signature, version and command, family and transport, length.
constexpr const char* kSignature = "0d0a0d0a000d0a515549540a";

Bytes hex(std::string_view text) { return from_hex(text).value(); }
Bytes header(std::string_view rest) { return hex(std::string(kSignature) + std::string(rest)); }

SocketAddr addr(std::string_view text) { return SocketAddr::parse(text).value(); }

ProxyHeader decode(const Bytes& bytes) {
  auto decoded = decode_proxy_v2(bytes);
  EXPECT_TRUE(decoded) << decoded.error().message;
  EXPECT_TRUE(*decoded);
  EXPECT_EQ((*decoded)->consumed, bytes.size());
  return (*decoded)->header;
}

void expect_invalid(const Bytes& bytes, std::string_view why) {
  auto decoded = decode_proxy_v2(bytes);
  ASSERT_FALSE(decoded) << why;
  EXPECT_EQ(decoded.error().code, ErrorCode::kInvalid);
  EXPECT_NE(decoded.error().message.find(why), std::string::npos)
      << decoded.error().message << "\nexpected " << why;
}

// 192.0.2.1:56324 to 203.0.113.5:443.
const char* kInet = "c0000201cb007105dc0401bb";
// [2001:db8::1]:56324 to [2001:db8::2]:443.
const char* kInet6 = "20010db800000000000000000000000120010db8000000000000000000000002dc0401bb";

ProxyHeader inet_header() {
  return {
      .local = false, .source = addr("192.0.2.1:56324"), .destination = addr("203.0.113.5:443"), .tlvs = {}};
}

TEST(ProxyProtocol, TcpOverIpv4) {
  const Bytes bytes = header(std::string("2111000c") + kInet);
  EXPECT_EQ(encode_proxy_v2(inet_header()), bytes);
  EXPECT_EQ(decode(bytes), inet_header());
}

TEST(ProxyProtocol, TcpOverIpv6) {
  const Bytes bytes = header(std::string("21210024") + kInet6);
  const ProxyHeader expected = {.local = false,
                                .source = addr("[2001:db8::1]:56324"),
                                .destination = addr("[2001:db8::2]:443"),
                                .tlvs = {}};
  EXPECT_EQ(encode_proxy_v2(expected), bytes);
  EXPECT_EQ(decode(bytes), expected);
}

TEST(ProxyProtocol, TheFirstDatagramOfAFlow) {
  const Bytes bytes = header(std::string("2112000c") + kInet);
  EXPECT_EQ(encode_proxy_v2(inet_header(), ProxyTransport::kDatagram), bytes);
  expect_invalid(bytes, "the transport is not a stream");
}

Result<std::optional<DecodedProxy>> decode_text(std::string_view text) {
  return decode_proxy(as_bytes(text));
}

// proxy-protocol.txt, 2.1.
TEST(ProxyProtocol, Version1IsReadToTheByte) {
  struct Case {
    const char* line;
    const char* source;
    const char* destination;
  };
  for (const Case& c :
       {Case{"PROXY TCP4 192.0.2.1 203.0.113.5 56324 443\r\n", "192.0.2.1:56324", "203.0.113.5:443"},
        Case{"PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n", "255.255.255.255:65535",
             "255.255.255.255:0"},
        Case{"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", "[2001:db8::1]:1", "[2001:db8::2]:2"}}) {
    const std::string_view line = c.line;
    for (size_t size = 0; size < line.size(); ++size) {
      auto partial = decode_text(line.substr(0, size));
      ASSERT_TRUE(partial) << partial.error().message;
      EXPECT_FALSE(*partial) << size;
    }
    auto decoded = decode_text(std::string(line) + "\x16\x03");
    ASSERT_TRUE(decoded && *decoded) << line;
    EXPECT_EQ((*decoded)->consumed, line.size());
    EXPECT_FALSE((*decoded)->header.local);
    EXPECT_EQ((*decoded)->header.source, addr(c.source));
    EXPECT_EQ((*decoded)->header.destination, addr(c.destination));
  }
  for (const char* line : {"PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff::1 what ever 1 2\r\n"}) {
    auto decoded = decode_text(line);
    ASSERT_TRUE(decoded && *decoded) << line;
    EXPECT_TRUE((*decoded)->header.local);
  }
}

TEST(ProxyProtocol, AWrongLineOfVersion1IsRefused) {
  for (const char* line :
       {"GET / HTTP/1.1\r\n", "PROXY\r\n", "PROXY \r\n", "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", "PROXY TCP4 1.2.3.4.5 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n", "proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n"}) {
    auto decoded = decode_text(line);
    EXPECT_FALSE(decoded) << line;
  }
  const std::string endless = "PROXY UNKNOWN " + std::string(200, 'x');
  EXPECT_TRUE(decode_text(endless.substr(0, kMaxProxyV1Header - 1)));
  EXPECT_FALSE(decode_text(endless.substr(0, kMaxProxyV1Header)));
}

TEST(ProxyProtocol, EitherVersionIsToldByItsFirstByte) {
  const Bytes second = header(std::string("2111000c") + kInet);
  auto decoded = decode_proxy(second);
  ASSERT_TRUE(decoded && *decoded);
  EXPECT_EQ((*decoded)->header, inet_header());
  auto nothing = decode_proxy({});
  EXPECT_TRUE(nothing && !*nothing);
  EXPECT_FALSE(decode_text("\x16\x03\x01")) << "a TLS hello";
}

TEST(ProxyProtocol, MixedFamiliesAreWrittenMapped) {
  ProxyHeader mixed = inet_header();
  mixed.destination = addr("[2001:db8::2]:443");
  const Bytes bytes =
      header("2121002400000000000000000000ffffc000020120010db8000000000000000000000002dc0401bb");
  EXPECT_EQ(encode_proxy_v2(mixed), bytes);
  EXPECT_EQ(decode(bytes), mixed);
}

TEST(ProxyProtocol, TlvsInOrder) {
  // ALPN "h2", authority "a.eu", an empty custom TLV.
  const Bytes bytes = header(std::string("2111001b") + kInet + "0100026832" + "020004612e6575" + "e00000");
  ProxyHeader expected = inet_header();
  expected.tlvs = {{kProxyTlvAlpn, {'h', '2'}}, {kProxyTlvAuthority, {'a', '.', 'e', 'u'}}, {0xe0, {}}};
  EXPECT_EQ(encode_proxy_v2(expected), bytes);
  const ProxyHeader decoded = decode(bytes);
  EXPECT_EQ(decoded, expected);
  ASSERT_NE(decoded.find(kProxyTlvAuthority), nullptr);
  EXPECT_EQ(as_text(decoded.find(kProxyTlvAuthority)->value), "a.eu");
  EXPECT_EQ(decoded.find(0xe1), nullptr);
}

TEST(ProxyProtocol, LocalCarriesNothing) {
  const Bytes bytes = header("20000000");
  ProxyHeader local = inet_header();
  local.local = true;
  local.tlvs = {{kProxyTlvAlpn, {'h', '2'}}};
  EXPECT_EQ(encode_proxy_v2(local), bytes);
  const ProxyHeader nothing = {.local = true, .source = {}, .destination = {}, .tlvs = {}};
  EXPECT_EQ(decode(bytes), nothing);
  // What a LOCAL header carries all the same is discarded, whatever it is.
  EXPECT_EQ(decode(header(std::string("2011000c") + kInet)), nothing);
  EXPECT_EQ(decode(header("20ff0003aabbcc")), nothing);
}

TEST(ProxyProtocol, ClientsWithoutAnIpAddress) {
  const ProxyHeader nothing = {.local = true, .source = {}, .destination = {}, .tlvs = {}};
  EXPECT_EQ(decode(header("21000000")), nothing);
  EXPECT_EQ(decode(header("21000003aabbcc")), nothing);
  const std::string paths(2 * 108 * 2, '6');
  EXPECT_EQ(decode(header("213100d8" + paths)), nothing);
  const ProxyHeader with_tlv = {.local = true, .source = {}, .destination = {}, .tlvs = {{0x05, {'i', 'd'}}}};
  EXPECT_EQ(decode(header("213100dd" + paths + "0500026964")), with_tlv);
  expect_invalid(header("213100d7" + paths.substr(2)), "Unix");
}

// The checksum was computed by an independent bitwise implementation that gives RFC 3720's B.4 examples.
TEST(ProxyProtocol, ChecksumIsVerifiedAndTakenOut) {
  const std::string before = std::string("2111001a") + kInet + "030004";
  const std::string after = "020004612e6575";
  const Bytes good = header(before + "62c41284" + after);
  ProxyHeader expected = inet_header();
  expected.tlvs = {{kProxyTlvAuthority, {'a', '.', 'e', 'u'}}};
  EXPECT_EQ(decode(good), expected);
  constexpr size_t kTypeOfChecksum = 28;  // changed, it is another TLV and the header has no checksum
  for (size_t i = 16; i < good.size(); ++i) {
    if (i == kTypeOfChecksum) continue;
    Bytes bad = good;
    bad[i] ^= 0x01;
    EXPECT_FALSE(decode_proxy_v2(bad)) << i;
  }
  expect_invalid(header(before + "00000000" + after), "wrong CRC-32c");
}

TEST(ProxyProtocol, ChecksumMustBeOneAndFourBytes) {
  expect_invalid(header(std::string("21110011") + kInet + "0300020000"), "not 4 bytes");
  const std::string twice = std::string("2111001a") + kInet;
  expect_invalid(header(twice + "0300043a7870e2" + "03000400000000"), "two checksums");
}

TEST(ProxyProtocol, EveryPrefixNeedsMore) {
  const Bytes bytes = header(std::string("21110013") + kInet + "020004612e6575");
  for (size_t size = 0; size < bytes.size(); ++size) {
    auto decoded = decode_proxy_v2(ByteView(bytes).first(size));
    ASSERT_TRUE(decoded) << size << decoded.error().message;
    EXPECT_FALSE(*decoded) << size;
  }
  Bytes longer = bytes;
  longer.insert(longer.end(), 100, 0x16);
  auto decoded = decode_proxy_v2(longer);
  ASSERT_TRUE(decoded && *decoded);
  EXPECT_EQ((*decoded)->consumed, bytes.size());
}

TEST(ProxyProtocol, SomethingElseIsRefusedAtItsFirstWrongByte) {
  expect_invalid({0x16}, "signature");
  expect_invalid(to_bytes(as_bytes("PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n")), "signature");
  expect_invalid(to_bytes(as_bytes("\r\n\r\nGET")), "signature");
  Bytes wrong = header("2111000c");
  for (size_t i = 0; i < 12; ++i) {
    Bytes bytes(wrong.begin(), wrong.begin() + static_cast<ptrdiff_t>(i) + 1);
    bytes[i] ^= 0x80;
    expect_invalid(bytes, "signature");
  }
}

TEST(ProxyProtocol, FixedPartMustMakeSense) {
  expect_invalid(header(std::string("1111000c") + kInet), "version 1");
  expect_invalid(header(std::string("3111000c") + kInet), "version 3");
  expect_invalid(header(std::string("2211000c") + kInet), "unknown command");
  expect_invalid(header(std::string("2f11000c") + kInet), "unknown command");
  expect_invalid(header(std::string("2112000c") + kInet), "not a stream");
  expect_invalid(header(std::string("2110000c") + kInet), "not a stream");
  expect_invalid(header(std::string("2113000c") + kInet), "not a stream");
  expect_invalid(header(std::string("2141000c") + kInet), "unknown address family");
  expect_invalid(header(std::string("2101000c") + kInet), "unknown address family");
}

TEST(ProxyProtocol, LengthsThatContradictEachOther) {
  expect_invalid(header("21110000"), "IPv4");
  expect_invalid(header(std::string("2111000b") + kInet), "IPv4");
  expect_invalid(header(std::string("2121000c") + kInet), "IPv6");
  expect_invalid(header(std::string("21210023") + kInet6), "IPv6");
  expect_invalid(header(std::string("2111000d") + kInet + "02"), "a TLV is longer");
  expect_invalid(header(std::string("2111000e") + kInet + "0200"), "a TLV is longer");
  expect_invalid(header(std::string("21110010") + kInet + "020002" + "61"), "a TLV is longer");
  expect_invalid(header(std::string("21110010") + kInet + "02ffff" + "61"), "a TLV is longer");
  // The bytes are there, but they belong to what follows the header.
  expect_invalid(header(std::string("21110010") + kInet + "020002" + "6161"), "a TLV is longer");
}

TEST(ProxyProtocol, OursAreShort) {
  // 4096 bytes in all is the last length taken, and the next is refused before its bytes arrive.
  EXPECT_FALSE(*decode_proxy_v2(header("21110ff0")));
  expect_invalid(header("21110ff1"), "4097 bytes");
  expect_invalid(header("2000ffff"), "65551 bytes");
}

TEST(ProxyProtocol, EncodeRefusesWhatDoesNotFit) {
  ProxyHeader header = inet_header();
  header.tlvs = {{0xe0, Bytes(65535 - 12 - 3)}};
  auto largest = encode_proxy_v2(header);
  ASSERT_TRUE(largest);
  EXPECT_EQ(largest->size(), 16u + 65535);
  EXPECT_EQ((*largest)[14], 0xff);
  EXPECT_EQ((*largest)[15], 0xff);
  header.tlvs[0].value.push_back(0);
  EXPECT_EQ(encode_proxy_v2(header).error().code, ErrorCode::kInvalid);
  header.tlvs[0].value.resize(70'000);
  EXPECT_EQ(encode_proxy_v2(header).error().code, ErrorCode::kInvalid);
  header.tlvs = {{kProxyTlvCrc32c, Bytes(4)}};
  EXPECT_EQ(encode_proxy_v2(header).error().code, ErrorCode::kInvalid);
}

}  // namespace
}  // namespace culvert::wire
