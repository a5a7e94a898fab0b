#include "base/ip_prefix.h"

#include <gtest/gtest.h>

namespace culvert {
namespace {

bool contains(const char* network, const char* address) {
  auto prefix = IpPrefix::parse(network);
  EXPECT_TRUE(prefix) << prefix.error().message;
  return prefix && prefix->contains(SocketAddr::parse(address).value());
}

TEST(IpPrefix, ContainsItsAddressesToTheBit) {
  EXPECT_TRUE(contains("10.0.0.0/8", "10.255.255.255:1"));
  EXPECT_FALSE(contains("10.0.0.0/8", "11.0.0.0:1"));
  EXPECT_TRUE(contains("192.0.2.128/25", "192.0.2.128:1"));
  EXPECT_FALSE(contains("192.0.2.128/25", "192.0.2.127:1"));
  EXPECT_TRUE(contains("192.0.2.1", "192.0.2.1:65535"));
  EXPECT_FALSE(contains("192.0.2.1", "192.0.2.2:1"));
  EXPECT_TRUE(contains("2001:db8::/33", "[2001:db8:7fff::1]:1"));
  EXPECT_FALSE(contains("2001:db8::/33", "[2001:db8:8000::1]:1"));
  EXPECT_TRUE(contains("::1", "[::1]:1"));
}

// "All of IPv6" is not all of IPv4, and an IPv4 client of a dual-stack listener is an IPv4 client.
TEST(IpPrefix, FamiliesAreKeptApart) {
  EXPECT_TRUE(contains("0.0.0.0/0", "203.0.113.9:1"));
  EXPECT_TRUE(contains("0.0.0.0/0", "[::ffff:203.0.113.9]:1"));
  EXPECT_FALSE(contains("0.0.0.0/0", "[2001:db8::1]:1"));
  EXPECT_TRUE(contains("::/0", "[2001:db8::1]:1"));
  EXPECT_FALSE(contains("::/0", "203.0.113.9:1"));
}

TEST(IpPrefix, RefusesWhatIsNotANetwork) {
  for (const char* text : {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0/8",
                           "10.0.0.1/8", "::1/64", "::/129", "example.com", "10.0.0.0/8 ", "[::1]", "a/8"}) {
    auto parsed = IpPrefix::parse(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, ErrorCode::kInvalid);
    EXPECT_NE(parsed.error().message.find(text), std::string::npos) << parsed.error().message;
  }
  EXPECT_EQ(IpPrefix::parse("10.0.0.0/8")->to_string(), "10.0.0.0/8");
  EXPECT_EQ(IpPrefix::parse("2001:DB8::1")->to_string(), "2001:db8::1/128");
}

}  // namespace
}  // namespace culvert
