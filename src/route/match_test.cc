#include "route/match.h"

#include <gtest/gtest.h>

namespace culvert::route {
namespace {

TEST(Match, TextNamesHostnamesAndPortsAndNothingElse) {
  for (const char* text : {"app.example.eu", "*.example.eu", "tcp/1", "tcp/25565", "udp/25565", "udp/65535",
                           "udp/1-2", "udp/65024-65535", "tcp/40000-40100"}) {
    auto match = Match::parse(text);
    ASSERT_TRUE(match) << text << ": " << match.error().message;
    EXPECT_EQ(match->text(), text);
    EXPECT_EQ((match->hostname() == nullptr), (match->port() != nullptr)) << text;
  }
  for (const char* text :
       {"",         "/",         "tcp",     "tcp/",    "tcp/0",   "tcp/65536", "tcp/-1",    "tcp/+1",
        "tcp/022",  "tcp/ 22",   "TCP/22",  "sctp/22", "tcp/22/", "tcp/a.eu",  "a.eu/22",   "eu",
        "udp/-",    "udp/1-",    "udp/-2",  "udp/0-5", "udp/5-5", "udp/6-5",   "udp/1-513", "udp/65535-65536",
        "udp/1-02", "udp/1-2-3", "udp/1 -2"}) {
    EXPECT_FALSE(Match::parse(text)) << text;
  }
}

TEST(Match, ProtocolsHavePortsOfTheirOwn) {
  const Match tcp = PublicPort{PortProtocol::kTcp, 53}, udp = PublicPort{PortProtocol::kUdp, 53};
  EXPECT_NE(tcp, udp);
  EXPECT_NE(tcp.text(), udp.text());
  EXPECT_EQ(tcp, Match::parse("tcp/53").value());
  EXPECT_EQ(udp.port()->number, 53);
}

TEST(PublicPort, ErrorsOfRangesSayWhatWasExpected) {
  const auto error = [](std::string_view numbers) {
    const auto parsed = PublicPort::parse(PortProtocol::kUdp, numbers);
    return parsed ? parsed->text() : parsed.error().message;
  };
  EXPECT_EQ(error("40000-40511"), "udp/40000-40511");
  EXPECT_NE(error("40000-40512").find("has 513 ports, and one service may have 512"), std::string::npos);
  EXPECT_NE(error("1-65535").find("has 65535 ports"), std::string::npos);
  EXPECT_NE(error("40100-40000").find("does not ascend"), std::string::npos);
  EXPECT_NE(error("40000-40000").find("does not ascend"), std::string::npos);
  for (const char* bad : {"0-10", "65535-65536", "-", "1-", "-1", "a-b", ""})
    EXPECT_NE(error(bad).find("is not a port from 1 to 65535"), std::string::npos) << bad;
}

TEST(PublicPort, RangesOverlapWhereTheyShareAPort) {
  const PublicPort range{PortProtocol::kUdp, 100, 9};
  EXPECT_EQ(range.last(), 109);
  EXPECT_EQ(range.size(), 10u);
  EXPECT_EQ(range.at(9), (PublicPort{PortProtocol::kUdp, 109}));
  const auto overlaps = [&](uint16_t first, uint16_t more, PortProtocol protocol = PortProtocol::kUdp) {
    const PublicPort other{protocol, first, more};
    EXPECT_EQ(range.overlaps(other), other.overlaps(range));
    return range.overlaps(other);
  };
  EXPECT_FALSE(overlaps(99, 0));
  EXPECT_TRUE(overlaps(100, 0));
  EXPECT_TRUE(overlaps(109, 0));
  EXPECT_FALSE(overlaps(110, 0));
  EXPECT_FALSE(overlaps(90, 9));
  EXPECT_TRUE(overlaps(90, 10));
  EXPECT_TRUE(overlaps(90, 100));
  EXPECT_TRUE(overlaps(109, 5));
  EXPECT_FALSE(overlaps(100, 9, PortProtocol::kTcp));
}

}  // namespace
}  // namespace culvert::route
