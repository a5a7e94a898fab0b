#include "route/table.h"

#include <gtest/gtest.h>

namespace culvert::route {
namespace {

PublicKey key(uint8_t fill) { return SecretKey::from_seed(Bytes(32, fill))->public_key(); }

Route route(std::string_view host, uint8_t agent, TlsMode mode = TlsMode::kPassthrough) {
  return {
      .host = HostPattern::parse(host).value(), .tenant = key(100), .tls_mode = mode, .agents = {key(agent)}};
}

std::string matched(const Table& table, std::string_view host) {
  const Route* route = table.match(host);
  return route ? route->host.text() : "none";
}

TEST(Table, ExactFirstThenOneLevelWildcard) {
  const Table table({route("*.example.eu", 1), route("app.example.eu", 2, TlsMode::kTerminate),
                     route("*.a.example.eu", 3), route("example.eu", 4)});
  EXPECT_EQ(matched(table, "app.example.eu"), "app.example.eu");
  EXPECT_EQ(table.match("app.example.eu")->tls_mode, TlsMode::kTerminate);
  EXPECT_EQ(table.match("app.example.eu")->agents, std::vector{key(2)});
  EXPECT_EQ(matched(table, "other.example.eu"), "*.example.eu");
  EXPECT_EQ(matched(table, "x.a.example.eu"), "*.a.example.eu");
  EXPECT_EQ(matched(table, "a.example.eu"), "*.example.eu");
  EXPECT_EQ(matched(table, "example.eu"), "example.eu");
}

TEST(Table, UnknownNames) {
  const Table table({route("*.example.eu", 1), route("app.example.com", 2)});
  for (auto host : {"", ".", "example.eu", ".example.eu", "x.y.example.eu", "evilexample.eu", "example.com",
                    "x.app.example.com", "*.example.eu", "eu", "app.example.com.", "app"}) {
    EXPECT_EQ(matched(table, host), "none") << host;
  }
  EXPECT_EQ(matched(Table({}), "app.example.eu"), "none");
}

TEST(Table, AgreesWithThePatterns) {
  std::vector<Route> routes = {route("*.b.c", 1), route("a.b.c", 1), route("*.c", 1), route("x.c", 1),
                               route("*.x.c", 1)};
  const Table table(routes);
  for (auto host : {"a.b.c", "b.b.c", "b.c", "x.c", "y.x.c", "y.y.x.c", "c", "q", "xb.c"}) {
    bool any = false;
    for (const Route& one : routes) any = any || one.host.matches(host);
    const Route* got = table.match(host);
    ASSERT_EQ(got != nullptr, any) << host;
    if (got) EXPECT_TRUE(got->host.matches(host)) << host;
  }
}

TEST(Table, KnowsWhichAgentsItServes) {
  Route shared = route("b.example.eu", 2);
  shared.agents.push_back(key(3));
  const Table table({route("a.example.eu", 1), shared});
  for (uint8_t agent = 1; agent <= 3; ++agent) EXPECT_TRUE(table.serves(key(agent)));
  EXPECT_FALSE(table.serves(key(4)));
  EXPECT_FALSE(table.serves(key(100))) << "a tenant is no agent";
  EXPECT_FALSE(Table({}).serves(key(1)));
  EXPECT_EQ(table.routes().size(), 2u);
}

TEST(TableDeathTest, TwoRoutesForOnePatternAreABug) {
  EXPECT_DEATH(Table({route("a.example.eu", 1), route("A.example.eu", 2)}), "CHECK");
}

TEST(TlsMode, Names) {
  EXPECT_STREQ(to_string(TlsMode::kPassthrough), "passthrough");
  EXPECT_STREQ(to_string(TlsMode::kTerminate), "terminate");
  for (TlsMode mode : {TlsMode::kPassthrough, TlsMode::kTerminate})
    EXPECT_EQ(parse_tls_mode(to_string(mode)), mode);
  for (auto text : {"", "Terminate", "terminate ", "http"})
    EXPECT_EQ(parse_tls_mode(text), std::nullopt) << text;
}

}  // namespace
}  // namespace culvert::route
