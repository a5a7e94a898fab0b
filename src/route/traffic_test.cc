#include "route/traffic.h"

#include <gtest/gtest.h>

#include "route/testing.h"

namespace culvert::route {
namespace {

PublicKey tenant(uint8_t fill) { return SecretKey::from_seed(Bytes(32, fill)).value().public_key(); }
Target agent(uint8_t fill) { return {tenant(fill)}; }

const std::vector<TrafficRow>& rows() {
  static const std::vector<TrafficRow> all = {
      {{"a.test", tenant(1), agent(11)}, {.open = 1, .begun = 2, .bytes_in = 100, .bytes_out = 1000}},
      {{"a.test", tenant(1), agent(12)}, {.open = 2, .begun = 2, .bytes_in = 1, .bytes_out = 2}},
      {{"b.test", tenant(1), agent(11)}, {.open = 1, .begun = 1, .bytes_in = 5000, .bytes_out = 0}},
      {{"c.test", tenant(2), Target{LocalOrigin{"c.test=127.0.0.1:80"}}}, {.open = 0, .begun = 7}},
      {{"c.test", tenant(2), std::nullopt}, {.refused = 3}},
      {{"", tenant(2), std::nullopt}, {.begun = 4, .bytes_out = 40}},
      {{}, {.begun = 1}},
  };
  return all;
}

std::vector<std::string> names(const TrafficSums& sums) {
  std::vector<std::string> out;
  for (const TrafficSum& sum : sums.named) out.push_back(sum.name);
  return out;
}

TEST(Traffic, IsSummedByRoute) {
  const TrafficSums sums = sum_traffic(rows(), TrafficBy::kRoute, TrafficOrder::kConnections);
  EXPECT_EQ(names(sums), (std::vector<std::string>{"a.test", "b.test", "c.test"}));
  EXPECT_EQ(sums.named[0].traffic, (Traffic{.open = 3, .begun = 4, .bytes_in = 101, .bytes_out = 1002}));
  EXPECT_EQ(sums.named[2].traffic, (Traffic{.begun = 7, .refused = 3}));
  EXPECT_EQ(sums.others, (Traffic{.begun = 5, .bytes_out = 40}));
  EXPECT_EQ(sums.total, (Traffic{.open = 4, .begun = 17, .refused = 3, .bytes_in = 5101, .bytes_out = 1042}));
}

TEST(Traffic, IsSummedByTenantAndByAgent) {
  const TrafficSums tenants = sum_traffic(rows(), TrafficBy::kTenant, TrafficOrder::kBytes);
  EXPECT_EQ(names(tenants), (std::vector{tenant(1).to_string(), tenant(2).to_string()}));
  EXPECT_EQ(tenants.named[1].traffic, (Traffic{.begun = 11, .refused = 3, .bytes_out = 40}));
  EXPECT_EQ(tenants.others, Traffic{.begun = 1});

  const TrafficSums agents = sum_traffic(rows(), TrafficBy::kAgent, TrafficOrder::kConnections);
  EXPECT_EQ(names(agents),
            (std::vector{tenant(11).to_string(), tenant(12).to_string(), std::string("c.test=127.0.0.1:80")}))
      << "of two that have as many connections, the one with more bytes";
  EXPECT_EQ(agents.named[0].traffic.bytes_in, 5100u);
}

TEST(Traffic, HasTheOrderThatWasAskedFor) {
  EXPECT_EQ(names(sum_traffic(rows(), TrafficBy::kRoute, TrafficOrder::kBytes)),
            (std::vector<std::string>{"b.test", "a.test", "c.test"}));
  EXPECT_EQ(names(sum_traffic(rows(), TrafficBy::kRoute, TrafficOrder::kName)),
            (std::vector<std::string>{"a.test", "b.test", "c.test"}));
}

// Two tenants had the route after each other: neither gets the other's bytes.
TEST(Traffic, OfARouteIsKeptApartByTenant) {
  const TrafficSums sums = sum_traffic({{{"a.test", tenant(1), agent(11)}, {.bytes_in = 1}},
                                        {{"a.test", tenant(2), agent(12)}, {.bytes_in = 2}}},
                                       TrafficBy::kRoute, TrafficOrder::kName);
  ASSERT_EQ(sums.named.size(), 2u);
  EXPECT_EQ(sums.named[0].traffic.bytes() + sums.named[1].traffic.bytes(), 3u);
}

TEST(Traffic, AListGoesOnBehindAPlaceInEachOrder) {
  for (const auto order : {TrafficOrder::kConnections, TrafficOrder::kBytes, TrafficOrder::kName}) {
    const TrafficSums sums = sum_traffic(rows(), TrafficBy::kRoute, order);
    for (size_t at = 0; at < sums.named.size(); ++at) {
      const TrafficSum& sum = sums.named[at];
      const TrafficPlace place{sum.traffic, sum.name, sum.tenant.to_string()};
      for (size_t i = 0; i < sums.named.size(); ++i)
        EXPECT_EQ(is_behind(place, sums.named[i], order), i > at) << to_string(order) << at << i;
    }
  }
}

TEST(Traffic, WordsOfBothKindsAreRead) {
  EXPECT_EQ(parse_traffic_by("tenant"), TrafficBy::kTenant);
  EXPECT_EQ(parse_traffic_by("hostname"), std::nullopt);
  EXPECT_EQ(parse_traffic_order("bytes"), TrafficOrder::kBytes);
  EXPECT_EQ(parse_traffic_order(""), std::nullopt);
}

}  // namespace
}  // namespace culvert::route
