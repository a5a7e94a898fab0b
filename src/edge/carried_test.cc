#include "edge/carried.h"

#include <gtest/gtest.h>

#include <map>

#include "base/random.h"
#include "route/testing.h"

namespace culvert::edge {
namespace {

using route::TlsMode;
using route::testing::id;
using route::testing::route;

class CarriedTest : public ::testing::Test {
 protected:
  // The routes change; what lost its agent.
  std::vector<uint64_t> change(std::vector<route::Route> upserts, std::vector<std::string> removals = {}) {
    route::Delta delta{routes_->version(), routes_->version() + 1, std::move(upserts), {}};
    for (const std::string& removed : removals) delta.removals.push_back(route(removed, {}).id());
    routes_ = routes_->apply(delta).value();
    const uint64_t before = carried_.rechecked();
    auto unrouted = carried_.recheck(*routes_, delta);
    looked_at_ = carried_.rechecked() - before;
    return unrouted;
  }
  uint64_t carry(std::string host, const EndpointId& agent) {
    const route::Route* route = routes_->match(host);
    PublicConnection connection{.socket = nullptr};
    connection.host = std::move(host);
    connection.id = ++ids_;
    connection.kind = kind_of(*route).value();
    connection.pick.emplace(route::Target{agent}, 0, 1, TunnelRegistry::Load());
    carried_.add({std::move(connection), route->id(), route->tenant, 0, nullptr});
    return ids_;
  }

  Carried carried_;
  route::SnapshotPtr routes_ = std::make_shared<route::Snapshot>();
  uint64_t ids_ = 0;
  uint64_t looked_at_ = 0;
};

using Ids = std::vector<uint64_t>;

TEST_F(CarriedTest, AChangeLooksAtTheConnectionsOfItsRoutesOnly) {
  std::vector<route::Route> routes;
  for (int i = 0; i < 100; ++i) routes.push_back(route(fmt::format("h{}.test", i), {id(1)}));
  routes.push_back(route("a.other.test", {id(2), id(3)}));
  routes.push_back(route("b.other.test", {id(2)}));
  change(std::move(routes));
  for (int i = 0; i < 1000; ++i) carry(fmt::format("h{}.test", i % 100), id(1));
  const uint64_t at_two = carry("a.other.test", id(2)), at_three = carry("a.other.test", id(3));
  const uint64_t at_b = carry("b.other.test", id(2));

  EXPECT_EQ(change({route("a.other.test", {id(2), id(3), id(4)})}), Ids{});
  EXPECT_EQ(looked_at_, 2u) << "whatever else is carried";
  EXPECT_EQ(change({route("c.other.test", {id(2), id(4)})}), Ids{});
  EXPECT_EQ(looked_at_, 0u);
  EXPECT_EQ(change({route("c.other.test", {id(3)}), route("a.other.test", {id(2)})}), Ids{at_three});
  EXPECT_EQ(looked_at_, 2u);
  carried_.remove(at_three);
  EXPECT_EQ(change({route("a.other.test", {id(2)}, TlsMode::kTerminate)}, {"h7.test"}).size(), 11u)
      << "ten of h7.test, and one in another mode";
  EXPECT_EQ(looked_at_, 11u);
  carried_.remove(at_two);
  EXPECT_EQ(change({}, {"a.other.test"}), Ids{});
  EXPECT_EQ(looked_at_, 0u);
  EXPECT_EQ(change({}, {"b.other.test"}), Ids{}) << "its agent has no route left: the tunnel's end ends it";
  EXPECT_EQ(looked_at_, 1u);
  EXPECT_NE(carried_.find(at_b), nullptr);
  EXPECT_EQ(carried_.size(), 1001u);
}

TEST_F(CarriedTest, AnExactRouteTakesItsNameFromAWildcardAndGivesItBack) {
  change({route("*.w.test", {id(1), id(2)}), route("keep.test", {id(1), id(2)})});
  const uint64_t one = carry("x.w.test", id(1)), two = carry("x.w.test", id(2));
  const uint64_t other = carry("y.w.test", id(1));
  EXPECT_EQ(change({route("x.w.test", {id(2)})}), Ids{one});
  EXPECT_EQ(looked_at_, 2u) << "not those of other names below the wildcard";
  carried_.remove(one);
  EXPECT_EQ(change({}, {"*.w.test"}), Ids{other}) << "x.w.test has a route of its own now";
  EXPECT_EQ(looked_at_, 1u);
  carried_.remove(other);
  EXPECT_EQ(change({route("*.w.test", {id(2)})}, {"x.w.test"}), Ids{});
  EXPECT_EQ(change({}, {"*.w.test"}), Ids{two});
}

// Against a look at everything.
TEST_F(CarriedTest, FindsWhatALookAtAllWouldFind) {
  SeededRandom random(4);
  const std::vector<std::string> names{"a.test", "b.test", "*.a.test", "x.a.test", "y.a.test", "*.b.test"};
  const std::vector<std::string> hosts{"a.test", "b.test", "x.a.test", "y.a.test", "z.a.test", "x.b.test"};
  std::map<uint64_t, std::pair<std::string, uint8_t>> model;
  change({route("keep.test", {id(1), id(2), id(3)})});
  for (int step = 0; step < 2000; ++step) {
    if (random.below(3) > 0) {
      const std::string& host = hosts[random.below(hosts.size())];
      const route::Route* route = routes_->match(host);
      if (route == nullptr || route->targets.empty()) continue;
      const EndpointId agent = *route->targets[random.below(route->targets.size())].agent();
      const auto number = static_cast<uint8_t>(agent == id(1) ? 1 : agent == id(2) ? 2 : 3);
      model[carry(host, agent)] = {host, number};
      continue;
    }
    std::vector<route::Route> upserts;
    std::vector<std::string> removals;
    for (const std::string& name : names) {
      if (random.below(4) > 0) continue;
      if (random.below(2) > 0) {
        removals.push_back(name);
        continue;
      }
      std::vector<EndpointId> agents;
      for (uint8_t agent = 1; agent <= 3; ++agent) {
        if (random.below(3) > 0) agents.push_back(id(agent));
      }
      upserts.push_back(route(name, agents));
    }
    Ids expected;
    const auto unrouted = change(std::move(upserts), std::move(removals));
    for (const auto& [connection, where] : model) {
      const route::Route* route = routes_->match(where.first);
      if (route == nullptr || !route->leads_to(id(where.second))) expected.push_back(connection);
    }
    ASSERT_EQ(unrouted, expected) << step;
    for (uint64_t each : unrouted) {
      carried_.remove(each);
      model.erase(each);
    }
  }
}

}  // namespace
}  // namespace culvert::edge
