#include "route/match.h"

#include <gtest/gtest.h>

namespace culvert::route {
namespace {

TEST(Match, TextNamesHostnamesAndPortsAndNothingElse) {
  for (const char* text :
       {"app.example.eu", "*.example.eu", "tcp/1", "tcp/25565", "udp/25565", "udp/65535"}) {
    auto match = Match::parse(text);
    ASSERT_TRUE(match) << text << ": " << match.error().message;
    EXPECT_EQ(match->text(), text);
    EXPECT_EQ((match->hostname() == nullptr), (match->port() != nullptr)) << text;
  }
  for (const char* text : {"", "/", "tcp", "tcp/", "tcp/0", "tcp/65536", "tcp/-1", "tcp/+1", "tcp/022",
                           "tcp/ 22", "TCP/22", "sctp/22", "tcp/22/", "tcp/a.eu", "a.eu/22", "eu"}) {
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

}  // namespace
}  // namespace culvert::route
