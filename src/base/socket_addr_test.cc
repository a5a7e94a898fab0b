#include "base/socket_addr.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <unordered_set>

namespace culvert {
namespace {

SocketAddr parse(std::string_view text) { return SocketAddr::parse(text).value(); }

TEST(SocketAddr, ParsesAndPrints) {
  for (auto text : {"1.2.3.4:5", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:443", "[::]:0",
                    "[2001:db8::1:0]:8443", "[fe80::1]:1"}) {
    auto addr = SocketAddr::parse(text);
    ASSERT_TRUE(addr) << text << ": " << addr.error().message;
    EXPECT_EQ(addr->to_string(), text);
  }
  EXPECT_EQ(parse("[2001:DB8:0:0:0:0:0:1]:1").to_string(), "[2001:db8::1]:1");
  EXPECT_EQ(parse("1.2.3.4:5").ip_text(), "1.2.3.4");
  EXPECT_EQ(parse("[::1]:5").ip_text(), "::1");
}

TEST(SocketAddr, RefusesTheRest) {
  for (auto text :
       {"",           ":",           "1.2.3.4",     "1.2.3.4:",    "1.2.3.4:65536",  "1.2.3.4:-1",
        "1.2.3.4:+1", "1.2.3.4: 1",  "1.2.3.4:1 ",  "1.2.3.4:0x1", "1.2.3.4:123456", " 1.2.3.4:1",
        "1.2.3:4",    "1.2.3.256:1", "01.2.3.4:1",  "::1:443",     "[::1]",          "[::1]443",
        "[::1:443",   "::1]:443",    "[1.2.3.4]:5", "[]:5",        "[::1%lo]:5",     "localhost:80",
        ":80",        "[::1]:",      "*:80"}) {
    auto addr = SocketAddr::parse(text);
    ASSERT_FALSE(addr) << text;
    EXPECT_EQ(addr.error().code, ErrorCode::kInvalid);
  }
  EXPECT_FALSE(SocketAddr::parse(std::string_view("1.2.3.4\0x:5", 11)));
  EXPECT_NE(SocketAddr::parse("::1:443").error().message.find("brackets"), std::string::npos);
  EXPECT_NE(SocketAddr::parse("1.2.3.4").error().message.find("no port"), std::string::npos);
  EXPECT_NE(SocketAddr::parse("1.2.3.4:99999").error().message.find("port"), std::string::npos);
  EXPECT_NE(SocketAddr::parse("localhost:80").error().message.find("IP address"), std::string::npos);
}

TEST(SocketAddr, MappedIpv6IsIpv4) {
  const SocketAddr plain = parse("192.0.2.7:99");
  EXPECT_EQ(parse("[::ffff:192.0.2.7]:99"), plain);
  std::array<uint8_t, 16> mapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 7};
  EXPECT_EQ(SocketAddr::v6(mapped, 99), plain);
  EXPECT_TRUE(SocketAddr::v6(mapped, 99).is_v4());

  sockaddr_storage storage;
  const socklen_t size = plain.to_sockaddr(storage, true);
  EXPECT_EQ(size, sizeof(sockaddr_in6));
  EXPECT_EQ(storage.ss_family, AF_INET6);
  EXPECT_EQ(std::memcmp(&reinterpret_cast<sockaddr_in6*>(&storage)->sin6_addr, mapped.data(), 16), 0);
  EXPECT_EQ(SocketAddr::from_sockaddr(reinterpret_cast<sockaddr*>(&storage)), plain);
  // ::1.2.3.4 (the old compatible form) is another address, and stays one.
  mapped[10] = mapped[11] = 0;
  EXPECT_FALSE(SocketAddr::v6(mapped, 99).is_v4());
}

TEST(SocketAddr, SurvivesSockaddr) {
  for (auto text : {"1.2.3.4:5", "[2001:db8::1]:443", "0.0.0.0:0", "[::]:0"}) {
    sockaddr_storage storage;
    const SocketAddr addr = parse(text);
    const socklen_t size = addr.to_sockaddr(storage);
    EXPECT_EQ(size, addr.is_v4() ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    EXPECT_EQ(SocketAddr::from_sockaddr(reinterpret_cast<sockaddr*>(&storage)), addr);
  }
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(0x1234);
  in.sin_addr.s_addr = htonl(0x01020304);
  EXPECT_EQ(SocketAddr::from_sockaddr(reinterpret_cast<sockaddr*>(&in)).to_string(), "1.2.3.4:4660");
  sockaddr other{};
  other.sa_family = AF_UNIX;
  EXPECT_EQ(SocketAddr::from_sockaddr(&other).to_string(), "0.0.0.0:0");
}

TEST(SocketAddr, Kinds) {
  EXPECT_TRUE(parse("0.0.0.0:1").is_unspecified());
  EXPECT_TRUE(parse("[::]:1").is_unspecified());
  EXPECT_FALSE(parse("0.0.0.1:1").is_unspecified());
  EXPECT_TRUE(parse("127.0.0.1:1").is_loopback());
  EXPECT_TRUE(parse("127.9.9.9:1").is_loopback());
  EXPECT_TRUE(parse("[::1]:1").is_loopback());
  EXPECT_FALSE(parse("[::2]:1").is_loopback());
  EXPECT_FALSE(parse("[::]:1").is_loopback());
  EXPECT_FALSE(parse("[100::1]:1").is_loopback());
  EXPECT_FALSE(parse("128.0.0.1:1").is_loopback());
}

TEST(SocketAddr, IsAValue) {
  EXPECT_EQ(SocketAddr().to_string(), "0.0.0.0:0");
  EXPECT_EQ(parse("1.2.3.4:5").with_port(6), parse("1.2.3.4:6"));
  std::unordered_set<SocketAddr> set = {parse("1.2.3.4:5"), parse("1.2.3.4:6"), parse("[::1]:5"),
                                        parse("1.2.3.4:5")};
  EXPECT_EQ(set.size(), 3u);
  EXPECT_LT(parse("1.2.3.4:5"), parse("[::1]:5"));
}

TEST(SocketAddrSource, IsTheAddressOrTheV6Network) {
  auto source = [](const char* text) { return SocketAddr::parse(text).value().source_prefix(); };
  EXPECT_EQ(source("192.0.2.1:5"), source("192.0.2.1:6"));
  EXPECT_NE(source("192.0.2.1:5"), source("192.0.2.2:5"));
  EXPECT_EQ(source("[2001:db8:0:1::1]:5"), source("[2001:db8:0:1:ffff::9]:6"));
  EXPECT_NE(source("[2001:db8:0:1::1]:5"), source("[2001:db8:0:2::1]:5"));
}

}  // namespace
}  // namespace culvert
