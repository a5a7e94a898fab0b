#include "route/snapshot.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <map>

#include "base/random.h"
#include "route/testing.h"

namespace culvert::route {
namespace {

PublicKey key(uint8_t number) { return testing::id(number); }

Route route(std::string_view host, uint8_t agent, TlsMode mode = TlsMode::kPassthrough) {
  return testing::route(host, {key(agent)}, mode);
}
RouteId id(std::string_view host) { return RouteId(HostPattern::parse(host).value()); }

std::string matched(const SnapshotPtr& snapshot, std::string_view host) {
  const Route* route = snapshot->match(host);
  return route ? route->match.text() : "none";
}

TEST(Snapshot, ExactFirstThenOneLevelWildcard) {
  const auto snapshot =
      Snapshot::of({route("*.example.eu", 1), route("app.example.eu", 2, TlsMode::kTerminate),
                    route("*.a.example.eu", 3), route("example.eu", 4)},
                   1);
  EXPECT_EQ(matched(snapshot, "app.example.eu"), "app.example.eu");
  EXPECT_EQ(snapshot->match("app.example.eu")->tls_mode, TlsMode::kTerminate);
  EXPECT_EQ(snapshot->match("app.example.eu")->targets, std::vector<Target>{{key(2)}});
  EXPECT_EQ(matched(snapshot, "other.example.eu"), "*.example.eu");
  EXPECT_EQ(matched(snapshot, "x.a.example.eu"), "*.a.example.eu");
  EXPECT_EQ(matched(snapshot, "a.example.eu"), "*.example.eu");
  EXPECT_EQ(matched(snapshot, "example.eu"), "example.eu");
}

TEST(Snapshot, UnknownNames) {
  const auto snapshot = Snapshot::of({route("*.example.eu", 1), route("app.example.com", 2)}, 1);
  for (auto host : {"", ".", "example.eu", ".example.eu", "x.y.example.eu", "evilexample.eu", "example.com",
                    "x.app.example.com", "*.example.eu", "eu", "app.example.com.", "app"}) {
    EXPECT_EQ(matched(snapshot, host), "none") << host;
  }
  EXPECT_EQ(matched(std::make_shared<Snapshot>(), "app.example.eu"), "none");
}

TEST(Snapshot, AgreesWithThePatterns) {
  std::vector<Route> routes = {route("*.b.c", 1), route("a.b.c", 1), route("*.c", 1), route("x.c", 1),
                               route("*.x.c", 1)};
  const auto snapshot = Snapshot::of(routes, 1);
  for (auto host : {"a.b.c", "b.b.c", "b.c", "x.c", "y.x.c", "y.y.x.c", "c", "q", "xb.c"}) {
    bool any = false;
    for (const Route& one : routes) any = any || one.match.hostname()->matches(host);
    const Route* got = snapshot->match(host);
    ASSERT_EQ(got != nullptr, any) << host;
    if (got) EXPECT_TRUE(got->match.hostname()->matches(host)) << host;
  }
}

TEST(Snapshot, KnowsWhichAgentsItServes) {
  Route shared = route("b.example.eu", 2);
  shared.targets.push_back({key(3)});
  const auto snapshot = Snapshot::of({route("a.example.eu", 1), route("c.example.eu", 2), shared}, 1);
  for (uint8_t agent = 1; agent <= 3; ++agent) EXPECT_TRUE(snapshot->serves(key(agent)));
  EXPECT_FALSE(snapshot->serves(key(4)));
  EXPECT_FALSE(snapshot->serves(key(200))) << "a tenant is no agent";
  EXPECT_FALSE(Snapshot().serves(key(1)));
  EXPECT_EQ(snapshot->size(), 3u);
  const auto of_two = snapshot->routes_of(key(2));
  ASSERT_EQ(of_two.size(), 2u);
  EXPECT_EQ(*of_two[0], shared);
  EXPECT_EQ(of_two[1]->id(), id("c.example.eu"));
  EXPECT_TRUE(snapshot->routes_of(key(4)).empty());
}

TEST(SnapshotDeathTest, TwoRoutesForOnePatternAreABug) {
  EXPECT_DEATH(Snapshot::of({route("a.example.eu", 1), route("A.example.eu", 2)}, 1), "CHECK");
}

TEST(Snapshot, ADeltaOfAnotherVersionIsRefusedAndTheWholeTakenInstead) {
  const auto first = Snapshot::of({route("a.test", 1)}, 7);
  const auto hub = Snapshot::of({route("a.test", 2), route("b.test", 3)}, 9);
  for (uint64_t from : {6u, 8u, 0u}) {
    auto refused = first->apply({.from = from, .to = 10, .upserts = {}, .removals = {id("a.test")}});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
    EXPECT_EQ(refused.error().message,
              fmt::format("the routes have version 7, the change is one of version {}", from));
  }
  EXPECT_EQ(matched(first, "a.test"), "a.test") << "nothing was applied";
  const auto taken = first->apply(first->changes_to(*hub)).value();
  EXPECT_EQ(taken->version(), 9u);
  EXPECT_EQ(*taken->match("a.test"), *hub->match("a.test"));
  EXPECT_EQ(matched(taken, "b.test"), "b.test");
  EXPECT_TRUE(taken->changes_to(*hub).empty());
}

TEST(Snapshot, AChangeSharesEverythingElse) {
  std::vector<Route> routes;
  for (int i = 0; i < 1000; ++i)
    routes.push_back(route(fmt::format("h{}.test", i), static_cast<uint8_t>(i % 50 + 1)));
  const auto before = Snapshot::of(routes, 1);
  const auto after =
      before
          ->apply({.from = 1,
                   .to = 2,
                   .upserts = {route("h5.test", 60), route("new.test", 61), route("h6.test", 7)},
                   .removals = {id("h7.test"), id("never.test")}})
          .value();
  size_t shared = 0;
  for (const Route& each : routes) {
    const Route* now = after->find(each.id());
    if (now == before->find(each.id())) ++shared;
  }
  EXPECT_EQ(shared, 998u) << "h5 changed, h7 went; h6 came as it was";
  EXPECT_EQ(after->size(), 1000u);
  EXPECT_EQ(before->size(), 1000u);
  EXPECT_EQ(matched(before, "h7.test"), "h7.test");
  EXPECT_EQ(matched(before, "new.test"), "none");
  EXPECT_FALSE(before->serves(key(60)));
  EXPECT_TRUE(after->serves(key(60)) && after->serves(key(61)));
}

// Random changes, against an ordinary map.
TEST(Snapshot, AgreesWithAMapUnderAnyChanges) {
  using Model = std::map<std::string, Route>;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SeededRandom random(seed);
    const auto below = [&](uint64_t n) { return random.below(n); };
    std::vector<std::string> names;
    for (char a : {'a', 'b', '*'}) {
      for (char b : {'a', 'b', 'c', 'd'}) {
        names.push_back(fmt::format("{}.{}.test", a, b));
        names.push_back(fmt::format("{}.x.{}.test", a, b));
      }
    }
    const auto check = [&](const Snapshot& snapshot, const Model& model) {
      ASSERT_EQ(snapshot.size(), model.size());
      for (const auto& [name, expected] : model) {
        const Route* found = snapshot.find(expected.id());
        ASSERT_TRUE(found != nullptr && *found == expected);
      }
      for (const std::string& host : names) {
        const Route* found = snapshot.match(host);
        auto expected = host.starts_with('*') ? model.end() : model.find(host);
        if (expected == model.end() && !host.starts_with('*')) expected = model.find(wildcard_above(host));
        ASSERT_EQ(found != nullptr, expected != model.end()) << host;
        if (found != nullptr) ASSERT_EQ(*found, expected->second);
      }
      for (uint8_t agent = 1; agent <= 5; ++agent) {
        std::vector<Route> expected;
        for (const auto& [name, each] : model) {
          if (each.leads_to(key(agent))) expected.push_back(each);
        }
        std::vector<Route> found;
        for (const Route* each : snapshot.routes_of(key(agent))) found.push_back(*each);
        ASSERT_EQ(found, expected);
        ASSERT_EQ(snapshot.serves(key(agent)), !expected.empty());
      }
    };
    SnapshotPtr snapshot = std::make_shared<Snapshot>();
    Model model;
    std::vector<std::pair<SnapshotPtr, Model>> kept;
    for (int step = 0; step < 60; ++step) {
      const uint64_t version = snapshot->version();
      Delta delta{.from = version, .to = version + 1 + below(2), .upserts = {}, .removals = {}};
      for (size_t i = names.size(); i > 1; --i) std::swap(names[i - 1], names[below(i)]);
      size_t next = 0;
      for (uint64_t i = below(4); i > 0; --i) {
        Route changed = route(names[next++], 1, below(2) ? TlsMode::kTerminate : TlsMode::kPassthrough);
        changed.targets.clear();
        for (uint8_t agent = 1; agent <= 5; ++agent) {
          if (below(2)) changed.targets.push_back({key(agent)});
        }
        delta.upserts.push_back(changed);
        model.insert_or_assign(changed.match.text(), changed);
      }
      for (uint64_t i = below(4); i > 0; --i) {
        delta.removals.push_back(id(names[next]));
        model.erase(names[next++]);
      }
      EXPECT_FALSE(snapshot->apply({.from = version + 1, .to = version + 2, .upserts = {}, .removals = {}}));
      auto applied = snapshot->apply(delta);
      ASSERT_TRUE(applied);
      ASSERT_EQ((*applied)->version(), delta.to);
      // The same changes once more are no change.
      auto again = (*applied)->apply({delta.to, delta.to, delta.upserts, delta.removals});
      ASSERT_TRUE(again && (*applied)->changes_to(**again).empty());
      snapshot = *applied;
      check(*snapshot, model);
      kept.emplace_back(snapshot, model);
      // From any version to any other.
      const auto& other = kept[below(kept.size())];
      auto back = snapshot->apply(snapshot->changes_to(*other.first));
      ASSERT_TRUE(back);
      check(**back, other.second);
    }
    for (const auto& [old, old_model] : kept) check(*old, old_model);
  }
}

TEST(Snapshot, PortsAreFoundByProtocolAndNumberAndByNoName) {
  const Route tcp = testing::port_route(PortProtocol::kTcp, 2222, {key(1)}, "ssh");
  const Route udp = testing::port_route(PortProtocol::kUdp, 2222, {key(2)}, "game");
  const auto snapshot = Snapshot::of({tcp, udp, route("a.eu", 1), route("*.eu", 3)}, 1);
  EXPECT_EQ(*snapshot->match(PublicPort{PortProtocol::kTcp, 2222}), tcp);
  EXPECT_EQ(*snapshot->match(PublicPort{PortProtocol::kUdp, 2222}), udp);
  EXPECT_EQ(snapshot->match(PublicPort{PortProtocol::kTcp, 2223}), nullptr);
  EXPECT_EQ(matched(snapshot, "tcp/2222"), "none");
  EXPECT_EQ(snapshot->routes_of(key(1)).size(), 2u);
  auto without = snapshot->apply({1, 2, {}, {tcp.id()}});
  ASSERT_TRUE(without);
  EXPECT_EQ((*without)->match(PublicPort{PortProtocol::kTcp, 2222}), nullptr);
  EXPECT_EQ((*without)->routes_of(key(1)).size(), 1u);
  // Only another name of the service: that is a change as well.
  Route renamed = udp;
  renamed.service = "other";
  EXPECT_EQ((*without)->changes_to(**(*without)->apply({2, 3, {renamed}, {}})).upserts, std::vector{renamed});
}

TEST(Snapshot, ANameWithoutTargetsIsNotTheWildcards) {
  Route reserved = route("a.b.eu", 1);
  reserved.targets.clear();
  reserved.tls_mode.reset();
  const auto snapshot = Snapshot::of({reserved, route("*.b.eu", 2)}, 1);
  ASSERT_EQ(matched(snapshot, "a.b.eu"), "a.b.eu");
  EXPECT_TRUE(snapshot->match("a.b.eu")->targets.empty());
  EXPECT_EQ(matched(snapshot, "c.b.eu"), "*.b.eu");
}

TEST(TlsMode, Names) {
  EXPECT_STREQ(to_string(TlsMode::kPassthrough), "passthrough");
  EXPECT_STREQ(to_string(TlsMode::kTerminate), "terminate");
  for (TlsMode mode : {TlsMode::kPassthrough, TlsMode::kTerminate})
    EXPECT_EQ(parse_tls_mode(to_string(mode)), mode);
  for (auto text : {"", "Terminate", "terminate ", "http"})
    EXPECT_EQ(parse_tls_mode(text), std::nullopt) << text;
}

TEST(Snapshot, APortOfARangeHasTheRoutesOfTheRange) {
  const auto udp = [](uint16_t number) { return PublicPort{PortProtocol::kUdp, number}; };
  auto snapshot = Snapshot::of({testing::range_route(PortProtocol::kUdp, 100, 199, {key(1)}),
                                testing::range_route(PortProtocol::kUdp, 200, 209, {key(2)}),
                                testing::port_route(PortProtocol::kUdp, 210, {key(3)}),
                                testing::range_route(PortProtocol::kTcp, 150, 151, {key(4)})},
                               1);
  const auto at = [&](const PublicPort& port) {
    const Route* route = snapshot->match(port);
    return route == nullptr ? "none" : route->match.text();
  };
  EXPECT_EQ(at(udp(99)), "none");
  EXPECT_EQ(at(udp(100)), "udp/100-199");
  EXPECT_EQ(at(udp(199)), "udp/100-199");
  EXPECT_EQ(at(udp(200)), "udp/200-209");
  EXPECT_EQ(at(udp(209)), "udp/200-209");
  EXPECT_EQ(at(udp(210)), "udp/210");
  EXPECT_EQ(at(udp(211)), "none");
  EXPECT_EQ(at({PortProtocol::kTcp, 151}), "tcp/150-151");
  EXPECT_EQ(at({PortProtocol::kTcp, 152}), "none");
  // A range that grows is another route in place of it.
  const Delta delta{.from = 1,
                    .to = 2,
                    .upserts = {testing::range_route(PortProtocol::kUdp, 100, 150, {key(1)})},
                    .removals = {RouteId(PublicPort{PortProtocol::kUdp, 100, 99})}};
  snapshot = snapshot->apply(delta).value();
  EXPECT_EQ(at(udp(150)), "udp/100-150");
  EXPECT_EQ(at(udp(151)), "none");
  EXPECT_TRUE(snapshot->serves(key(1)));
}

}  // namespace
}  // namespace culvert::route
