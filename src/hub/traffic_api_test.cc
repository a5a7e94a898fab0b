// What the API says of the edge in its process: GET /v1/traffic, and the live part of /v1/status.
#include <gmock/gmock.h>

#include "hub/api_fixture.h"

namespace culvert::hub {
namespace {

using ::testing::HasSubstr;

PublicKey key_of(uint8_t fill) { return SecretKey::from_seed(Bytes(32, fill)).value().public_key(); }

class TrafficApiTest : public ApiTest {
 protected:
  // `count` routes of one tenant and one agent; the last has the most connections and the fewest bytes.
  void serve(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      live_.traffic.push_back({{fmt::format("r{:04}.a.eu", i), key_of(1), route::Target{key_of(11)}},
                               {.open = i, .begun = 2 * i, .bytes_in = count - i, .bytes_out = 0}});
    }
    live_.traffic.push_back({{.tenant = key_of(1)}, {.begun = 1, .bytes_out = 5}});
    config_.live = [this] { return live_; };
  }
  static std::vector<std::string> names(const json::object& page) {
    std::vector<std::string> out;
    for (const json::value& entry : page.at("traffic").as_array())
      out.emplace_back(entry.at("name").as_string());
    return out;
  }

  LiveStatus live_;
};

TEST_F(TrafficApiTest, IsEmptyWithoutAnEdge) {
  const auto body = parse(call("GET", "/v1/traffic"));
  EXPECT_TRUE(body.at("traffic").as_array().empty());
  EXPECT_EQ(body.at("total").at("bytes_in"), 0);
  EXPECT_EQ(call("GET", "/v1/traffic", "", "wrong").status, 401);
  EXPECT_EQ(call("GET", "/v1/traffic", "", std::nullopt).status, 401);
}

TEST_F(TrafficApiTest, HasPagesInEachOrder) {
  serve(25);
  for (const char* sort : {"connections", "bytes", "name"}) {
    std::vector<std::string> all;
    std::string query = fmt::format("/v1/traffic?sort={}&limit=10", sort);
    size_t pages = 0;
    for (std::string next = query; !next.empty() && pages < 5; ++pages) {
      const auto body = parse(call("GET", next));
      for (std::string& name : names(body)) all.push_back(std::move(name));
      const json::value* after = body.if_contains("next");
      next = after == nullptr ? "" : fmt::format("{}&after={}", query, to_percent(after->as_string()));
    }
    EXPECT_EQ(pages, 3u) << sort;
    ASSERT_EQ(all.size(), 25u) << sort;
    EXPECT_EQ(std::set(all.begin(), all.end()).size(), 25u) << sort;
    EXPECT_EQ(all.front(), std::string(sort) == "connections" ? "r0024.a.eu" : "r0000.a.eu") << sort;
  }
}

TEST_F(TrafficApiTest, IsSummedByTenantAndByAgent) {
  serve(3);
  const auto tenants = parse(call("GET", "/v1/traffic?by=tenant"));
  ASSERT_EQ(names(tenants), std::vector{key_of(1).to_string()});
  const auto& entry = tenants.at("traffic").as_array()[0].as_object();
  EXPECT_EQ(entry.at("connections"), 3);
  EXPECT_EQ(entry.at("begun"), 7);
  EXPECT_EQ(entry.at("bytes_in"), 6);
  EXPECT_EQ(entry.at("bytes_out"), 5);
  const auto agents = parse(call("GET", "/v1/traffic?by=agent"));
  EXPECT_EQ(names(agents), std::vector{key_of(11).to_string()});
  EXPECT_EQ(agents.at("others").at("bytes_out"), 5) << "of an agent that is gone";
  EXPECT_EQ(agents.at("total").at("begun"), 7);
}

TEST_F(TrafficApiTest, NamesTenantsAsTheirInvitesDo) {
  const auto token = invite(R"({"hostnames":["*.a.eu"],"name":"laptop"})");
  live_.traffic.push_back(
      {{"x.a.eu", token.tenant_key.public_key(), route::Target{key_of(11)}}, {.begun = 1}});
  config_.live = [this] { return live_; };
  EXPECT_THAT(call("GET", "/v1/traffic").body, HasSubstr(R"("tenant_name":"laptop")"));
}

TEST_F(TrafficApiTest, AnotherQueryIsRefused) {
  for (const char* query :
       {"by=hostname", "sort=age", "limit=0", "limit=501", "after=x", "after=1,2,3,x", "z=1"})
    EXPECT_EQ(call("GET", fmt::format("/v1/traffic?{}", query)).status, 400) << query;
}

TEST_F(TrafficApiTest, TheStatusHasTheBusiestAndSaysHowManyMoreThereAre) {
  serve(1000);
  live_.tunnels.push_back({.agent = key_of(11),
                           .remote = SocketAddr::v4({192, 0, 2, 7}, 5000),
                           .rtt = 12ms,
                           .age = 90s,
                           .connections = 4});
  live_.former_processes.push_back({.pid = 4711, .connections = 3});
  const auto body = parse(call("GET", "/v1/status"));
  ASSERT_EQ(body.at("busiest_routes").as_array().size(), 10u);
  EXPECT_EQ(body.at("busiest_routes").as_array()[0].at("name"), "r0999.a.eu");
  EXPECT_EQ(body.at("more_busiest_routes"), 990);
  EXPECT_EQ(body.at("more_busiest_tenants"), 0);
  EXPECT_EQ(body.at("agent_tunnels").as_array()[0].at("rtt_us"), 12'000);
  EXPECT_EQ(body.at("agent_tunnels").as_array()[0].at("remote"), "192.0.2.7:5000");
  EXPECT_EQ(body.at("former_processes").as_array()[0].at("pid"), 4711);
}

}  // namespace
}  // namespace culvert::hub
