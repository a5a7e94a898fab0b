#include "endpoint/endpoint_addr.h"

#include <gtest/gtest.h>

#include "base/encoding.h"
#include "base/small_order_keys.h"

namespace culvert::endpoint {
namespace {

constexpr const char* kId = "ae58ff8833241ac82d6ff7611046ed67b5072d142c588d0063e942d9a75502b6";

Bytes hex(std::string_view text) { return from_hex(text).value(); }
Bytes with_id(std::string_view rest) { return hex(std::string(kId) + std::string(rest)); }
SocketAddr addr(std::string_view text) { return SocketAddr::parse(text).value(); }
EndpointAddr bare() { return {.id = EndpointId::parse(kId).value(), .relay_urls = {}, .ip_addrs = {}}; }

// The vector of iroh-tickets' src/endpoint.rs.
EndpointAddr vector_of_iroh() {
  EndpointAddr out = bare();
  out.relay_urls = {"http://derp.me./"};
  out.ip_addrs = {addr("127.0.0.1:1024")};
  return out;
}
constexpr const char* kVectorRest = "020010687474703a2f2f646572702e6d652e2f01007f0000018008";
constexpr const char* kVectorTicket =
    "endpointacxfr74igmsbvsbnn73wcecg5vt3kbzncqwfrdiampuufwnhkublmaqacbuhi5dqhixs6zdfojyc43lffyxqcad7aaaadaa"
    "i";

void expect_invalid(const Bytes& bytes, std::string_view why) {
  auto decoded = decode_endpoint_addr(bytes);
  ASSERT_FALSE(decoded) << why;
  EXPECT_EQ(decoded.error().code, ErrorCode::kInvalid);
  EXPECT_NE(decoded.error().message.find(why), std::string::npos)
      << decoded.error().message << "\nexpected " << why;
}

TEST(EndpointAddr, VectorOfIroh) {
  EXPECT_EQ(to_hex(encode(vector_of_iroh())), std::string(kId) + kVectorRest);
  EXPECT_EQ(decode_endpoint_addr(with_id(kVectorRest)), vector_of_iroh());
}

TEST(EndpointTicket, VectorOfIroh) {
  EXPECT_EQ(to_ticket(vector_of_iroh()), kVectorTicket);
  EXPECT_EQ(parse_ticket(kVectorTicket), vector_of_iroh());
  std::string upper = kVectorTicket;
  for (size_t i = 8; i < upper.size(); ++i) upper[i] = static_cast<char>(std::toupper(upper[i]));
  EXPECT_EQ(parse_ticket(upper), vector_of_iroh());
}

TEST(EndpointAddr, WithoutAddresses) {
  EXPECT_EQ(to_hex(encode(bare())), std::string(kId) + "00");
  EXPECT_EQ(decode_endpoint_addr(with_id("00")), bare());
}

TEST(EndpointAddr, IsWrittenInCanonicalOrder) {
  EndpointAddr mixed = bare();
  mixed.ip_addrs = {addr("[2001:db8::1]:443"), addr("192.0.2.9:1"), addr("192.0.2.1:65535"),
                    addr("192.0.2.1:80"), addr("192.0.2.9:1")};
  mixed.relay_urls = {"https://b.example./", "https://a.example./", "https://b.example./"};
  EXPECT_EQ(to_hex(encode(mixed)), std::string(kId) + "06" + "001368747470733a2f2f612e6578616d706c652e2f" +
                                       "001368747470733a2f2f622e6578616d706c652e2f" + "0100c000020150" +
                                       "0100c0000201ffff03" + "0100c000020901" +
                                       "010120010db8000000000000000000000001bb03");
  auto decoded = decode_endpoint_addr(encode(mixed));
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(decoded->relay_urls, (std::vector<std::string>{"https://a.example./", "https://b.example./"}));
  EXPECT_EQ(decoded->ip_addrs, (std::vector{addr("192.0.2.1:80"), addr("192.0.2.1:65535"),
                                            addr("192.0.2.9:1"), addr("[2001:db8::1]:443")}));
  EXPECT_EQ(encode(*decoded), encode(mixed));
}

TEST(EndpointAddr, OrderOfOthersDoesNotMatter) {
  EXPECT_EQ(decode_endpoint_addr(with_id("0201007f00000180080010687474703a2f2f646572702e6d652e2f")),
            vector_of_iroh());
}

TEST(EndpointAddr, CustomTransportsAreSkipped) {
  // Transport id 0x544f52, five bytes; then an IP address.
  EXPECT_EQ(decode_endpoint_addr(with_id("0202d29ed10205aabbccddee01007f0000018008"))->ip_addrs,
            std::vector{addr("127.0.0.1:1024")});
  expect_invalid(with_id("0102d29ed10205aabb"), "custom address is cut short");
  expect_invalid(with_id("0102ffffffffffffffffff7f00"), "custom address is cut short");
}

TEST(EndpointAddr, EveryCutIsNoticed) {
  const Bytes whole = with_id(kVectorRest);
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(decode_endpoint_addr(ByteView(whole).first(size))) << size;
  }
  Bytes longer = whole;
  longer.push_back(0);
  expect_invalid(longer, "bytes follow its end");
}

TEST(EndpointAddr, RefusesWhatItCannotMean) {
  expect_invalid(hex("02" + std::string(62, '0') + "00"), "no Ed25519 public key");
  expect_invalid(with_id("0103"), "unknown kind 3");
  expect_invalid(with_id("0101027f0000018008"), "IP address");
  expect_invalid(with_id("01000a6674703a2f2f782e792f"), "http or https");
  expect_invalid(with_id("010000"), "http or https");
  expect_invalid(with_id("01000a687474703a2f2f610a2f"), "http or https");
  expect_invalid(with_id("01000a687474703a2f2fc3bc2f"), "http or https");
  expect_invalid(with_id("0100ffffffffffffffffff01"), "relay URL is cut short");
}

TEST(EndpointAddr, Varints) {
  // Needless zero groups are what postcard takes as well.
  EXPECT_EQ(decode_endpoint_addr(with_id("8000")), bare());
  EXPECT_EQ(decode_endpoint_addr(with_id("0101007f000001808800"))->ip_addrs,
            std::vector{addr("127.0.0.1:1024")});
  expect_invalid(with_id("0101007f000001808004"), "IP address");
  expect_invalid(with_id("0101007f00000180808000"), "IP address");
  expect_invalid(with_id("ffffffffffffffffff02"), "cut short");
  expect_invalid(with_id("8080808080808080808000"), "cut short");
  expect_invalid(with_id("ffffffffffffffffff01"), "18446744073709551615 addresses");
}

TEST(EndpointAddr, AddressesAreCapped) {
  EndpointAddr many = bare();
  for (uint16_t port = 1; port <= 64; ++port) many.ip_addrs.push_back(addr("192.0.2.1:1").with_port(port));
  EXPECT_EQ(decode_endpoint_addr(encode(many)), many);
  many.ip_addrs.push_back(addr("192.0.2.1:65"));
  expect_invalid(encode(many), "65 addresses; at most 64");
}

TEST(EndpointTicket, SaysWhatIsWrong) {
  const std::string good = kVectorTicket;
  const std::pair<std::string, const char*> cases[] = {
      {"", "does not start with"},
      {"Endpoint" + good.substr(8), "does not start with"},
      {"node" + good.substr(8), "does not start with"},
      {" " + good, "does not start with"},
      {"endpoint", "it is empty"},
      {good + " ", "does not belong to base32"},
      {"endpoint1" + good.substr(9), "does not belong to base32"},
      {good.substr(0, good.size() - 8), "cut short"},
      {"endpoint" + to_base32(Bytes{0x01}), "version 1"},
  };
  for (const auto& [text, why] : cases) {
    auto ticket = parse_ticket(text);
    ASSERT_FALSE(ticket) << text;
    EXPECT_EQ(ticket.error().code, ErrorCode::kInvalid);
    EXPECT_NE(ticket.error().message.find(why), std::string::npos)
        << ticket.error().message << "\nexpected " << why;
  }
}

TEST(EndpointTicket, RefusesKeysOfSmallOrder) {
  for (const char* key : kSmallOrderKeys) {
    const Bytes encoded = hex(std::string(key) + "00");
    EXPECT_FALSE(decode_endpoint_addr(encoded)) << key;
    Bytes ticket = {0x00};  // the only variant
    ticket.insert(ticket.end(), encoded.begin(), encoded.end());
    auto parsed = parse_ticket("endpoint" + to_base32(ticket));
    ASSERT_FALSE(parsed) << key;
    EXPECT_NE(parsed.error().message.find("Ed25519"), std::string::npos) << parsed.error().message;
  }
}

TEST(EndpointTicket, EveryCutIsNoticed) {
  const std::string good = kVectorTicket;
  for (size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(parse_ticket(good.substr(0, size))) << size;
}

}  // namespace
}  // namespace culvert::endpoint
