#include "edge/tunnel_registry.h"

#include <gtest/gtest.h>

#include <array>
#include <map>

#include "route/testing.h"

namespace culvert::edge {
namespace {

using namespace std::chrono_literals;
using route::testing::id;
using route::testing::route;

const TimePoint kStart{1h};

class TunnelRegistryTest : public ::testing::Test {
 protected:
  EndpointId pick(const route::Route& route, TimePoint now = kStart, TunnelRegistry::Tried tried = {}) {
    auto got = registry_.pick(route, 0, now, tried);
    return got ? got->agent() : id(0);
  }

  TunnelRegistry registry_{route::Balance::kRoundRobin};
  const route::Route both_ = route("a.test", {id(1), id(2)});
};

TEST_F(TunnelRegistryTest, AnAgentHasATunnelOnEachWorkerAndAWorkerPrefersItsOwn) {
  const route::Route only = route("a.test", {id(1)});
  EXPECT_FALSE(registry_.pick(only, 0, kStart));
  const uint64_t on_three = registry_.add(id(1), 3, kStart);
  const uint64_t on_five = registry_.add(id(1), 5, kStart + 1s);
  EXPECT_EQ(registry_.pick(only, 3, kStart)->generation, on_five) << "the other was not heard since";
  registry_.set_heard(id(1), on_three, kStart + 1s);
  EXPECT_EQ(registry_.pick(only, 3, kStart)->generation, on_three);
  EXPECT_EQ(registry_.pick(only, 5, kStart)->generation, on_five);
  EXPECT_EQ(registry_.pick(only, 4, kStart)->worker, 5u) << "without its own, the youngest";
  registry_.set_suspect(id(1), on_three, true);
  EXPECT_EQ(registry_.pick(only, 3, kStart)->worker, 5u) << "another is better";
  registry_.set_suspect(id(1), on_three, false);
  registry_.set_closed(id(1), on_three);
  EXPECT_EQ(registry_.pick(only, 3, kStart)->worker, 5u);
  EXPECT_EQ(registry_.remove(id(1), on_three), 1u);
  registry_.set_draining(id(1), on_five);
  EXPECT_FALSE(registry_.pick(only, 3, kStart));
  EXPECT_EQ(registry_.remove(id(1), on_five), 0u);
  EXPECT_EQ(registry_.remove(id(1), on_five), std::nullopt);
}

TEST_F(TunnelRegistryTest, ATunnelTakesThePlaceOfTheAgentsOnTheSameWorkerOnly) {
  const uint64_t first = registry_.add(id(1), 0, kStart);
  const uint64_t elsewhere = registry_.add(id(1), 1, kStart);
  const uint64_t second = registry_.add(id(1), 0, kStart);
  EXPECT_EQ(registry_.remove(id(1), first), std::nullopt) << "the old does not remove the new";
  EXPECT_EQ(registry_.pick(both_, 0, kStart)->generation, second);
  EXPECT_EQ(registry_.pick(both_, 1, kStart)->generation, elsewhere);
  EXPECT_EQ(registry_.remove(id(1), second), 1u);
  EXPECT_EQ(registry_.pick(both_, 0, kStart)->generation, elsewhere);
}

TEST_F(TunnelRegistryTest, TurnsAreEvenOverAgentsWhateverTheirTunnelsAndWhoAsks) {
  for (unsigned workers = 1; workers <= 4; ++workers) {
    for (uint8_t agents = 1; agents <= 5; ++agents) {
      TunnelRegistry registry(route::Balance::kRoundRobin);
      std::vector<EndpointId> ids;
      for (uint8_t i = 1; i <= agents; ++i) {
        // From one to all workers.
        for (unsigned worker = 0; worker <= i % workers; ++worker) registry.add(id(i), worker, kStart);
        ids.push_back(id(i));
      }
      const route::Route a = route("a.test", ids), b = route("b.test", ids);
      std::map<EndpointId, int> of_a, of_b;
      unsigned asker = 0;
      const auto ask = [&](const route::Route& route) {
        return registry.pick(route, asker++ % workers, kStart)->agent();
      };
      for (int i = 0; i < 60; ++i) {
        ++of_a[ask(a)];
        // Once, twice or three times in between.
        for (int more = 0; more <= i % 3; ++more) ++of_b[ask(b)];
      }
      for (const EndpointId& each : ids) {
        EXPECT_NEAR(of_a[each], 60 / agents, 1);
        EXPECT_NEAR(of_b[each], 120 / agents, 1);
      }
    }
  }
}

TEST_F(TunnelRegistryTest, ConnectionsMoveOnlyToAgentsWithoutATunnelOnTheWorker) {
  for (unsigned worker : {0u, 1u}) registry_.add(id(1), worker, kStart);
  registry_.add(id(2), 1, kStart);
  for (int i = 0; i < 10; ++i) {
    const unsigned asker = static_cast<unsigned>(i / 2) % 2;
    const auto got = registry_.pick(both_, asker, kStart);
    EXPECT_EQ(got->worker, got->agent() == id(1) ? asker : 1u);
  }
}

TEST_F(TunnelRegistryTest, LoadIsCountedFromThePickToTheEndOfTheConnection) {
  TunnelRegistry registry(route::Balance::kLeastConnections);
  registry.add(id(1), 0, kStart);
  registry.add(id(1), 1, kStart);
  registry.add(id(2), 0, kStart);
  std::vector<TunnelRegistry::Pick> held;
  std::map<EndpointId, int> got;
  for (int i = 0; i < 10; ++i) {
    held.push_back(*registry.pick(both_, 0, kStart));
    ++got[held.back().agent()];
  }
  EXPECT_EQ(got[id(1)], 5) << "all its tunnels together";
  std::erase_if(held, [](const auto& each) { return each.agent() == id(1); });
  for (int i = 0; i < 5; ++i) held.push_back(*registry.pick(both_, 1, kStart));
  EXPECT_EQ(std::ranges::count(held, id(1), &TunnelRegistry::Pick::agent), 5) << "it had none left";
  held.front().load = TunnelRegistry::Load();
  held.erase(held.begin());
  EXPECT_EQ(registry.pick(both_, 0, kStart)->agent(), id(2));
}

TEST_F(TunnelRegistryTest, ANewAgentJoinsTheTurnsAndIsNotFlooded) {
  const uint64_t first = registry_.add(id(1), 0, kStart);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(pick(both_), id(1));
  const uint64_t second = registry_.add(id(2), 1, kStart + 1s);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(pick(both_, kStart + 1s), id(2)) << "the other was not heard since";
  registry_.set_heard(id(1), first, kStart + 2s);
  std::map<EndpointId, int> got;
  for (int i = 0; i < 10; ++i) ++got[pick(both_, kStart + 2s)];
  EXPECT_EQ(got[id(1)], 5);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(pick(both_, kStart + 2s + route::Picker::kSilence + 1ms), id(2));
  registry_.set_closed(id(2), second);
  EXPECT_EQ(pick(both_, kStart + 1h), id(1)) << "the agent that is left serves, heard or not";
  EXPECT_EQ(registry_.remove(id(2), second), 0u) << "closed is not removed";
  registry_.set_closed(id(1), first);
  EXPECT_EQ(pick(both_), id(0));
}

TEST_F(TunnelRegistryTest, AnAgentWhoseOriginDoesNotWorkIsTheLastForThatService) {
  using enum TunnelRegistry::HealthChange;
  const uint64_t first = registry_.add(id(1), 0, kStart);
  registry_.add(id(2), 0, kStart);
  const std::string service = tunnel::health_name(both_);
  EXPECT_EQ(registry_.set_health(id(1), first, {service, false, "it is down"}), kFails);
  EXPECT_EQ(registry_.set_health(id(1), first, {service, false, "it is down"}), kNothing);
  EXPECT_EQ(registry_.set_health(id(1), first, {"other.test", false, "x"}), kFails);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(pick(both_), id(2));
  EXPECT_EQ(registry_.fault_of_origin(id(1), first, both_), "it is down");
  EXPECT_EQ(registry_.set_health(id(1), first, {service, false, "it is slow"}), kOtherReason);
  EXPECT_EQ(registry_.fault_of_origin(id(1), first, both_), "it is slow");
  EXPECT_EQ(registry_.set_health(id(1), first, {service, true, ""}), kWorks);
  EXPECT_EQ(registry_.set_health(id(1), first, {service, true, ""}), kNothing);
  EXPECT_EQ(registry_.fault_of_origin(id(1), first, both_), "");
  std::map<EndpointId, int> got;
  for (int i = 0; i < 10; ++i) ++got[pick(both_)];
  EXPECT_NEAR(got[id(1)], 5, 1);
  EXPECT_EQ(registry_.set_health(id(9), first, {service, false, "x"}), kNothing) << "no such tunnel";
}

TEST_F(TunnelRegistryTest, ANewTunnelBeginsHealthyAndOneTellsOfAsManyServicesAsAnAgentHas) {
  using enum TunnelRegistry::HealthChange;
  const uint64_t first = registry_.add(id(1), 0, kStart);
  for (size_t i = 0; i < TunnelRegistry::kMaxUnhealthy; ++i)
    EXPECT_EQ(registry_.set_health(id(1), first, {fmt::format("{}.test", i), false, "x"}), kFails);
  EXPECT_EQ(registry_.set_health(id(1), first, {"more.test", false, "x"}), kNothing);
  EXPECT_EQ(registry_.set_health(id(1), first, {"0.test", false, "y"}), kOtherReason);
  const uint64_t second = registry_.add(id(1), 0, kStart);
  EXPECT_EQ(registry_.set_health(id(1), first, {"0.test", true, ""}), kNothing) << "it was replaced";
  EXPECT_EQ(registry_.set_health(id(1), second, {"0.test", true, ""}), kNothing);
}

TEST_F(TunnelRegistryTest, KnowsWhetherOneWasNotTried) {
  const uint64_t first = registry_.add(id(1), 0, kStart);
  const uint64_t second = registry_.add(id(2), 0, kStart);
  EXPECT_TRUE(registry_.has_untried(both_, kStart, std::array{first}));
  EXPECT_FALSE(registry_.has_untried(both_, kStart, std::array{first, second}));
  EXPECT_TRUE(registry_.can_pick(both_, kStart, std::array{first, second})) << "the first, once more";
}

TEST_F(TunnelRegistryTest, TheSharesOfAgentsCount) {
  registry_.add(id(1), 0, kStart, {.weight = 3});
  registry_.add(id(2), 0, kStart, {.weight = 1});
  std::map<EndpointId, int> got;
  for (int i = 0; i < 40; ++i) ++got[pick(both_)];
  EXPECT_NEAR(got[id(1)], 30, 1);
  registry_.add(id(1), 0, kStart, {.priority = 1});
  for (int i = 0; i < 5; ++i) EXPECT_EQ(pick(both_), id(2));
}

TEST_F(TunnelRegistryTest, AnAgentIsHeardThroughAnyOfItsTunnels) {
  registry_.add(id(1), 0, kStart);
  const uint64_t other = registry_.add(id(1), 1, kStart);
  registry_.add(id(2), 0, kStart + 1s);
  EXPECT_EQ(pick(both_, kStart + 1s), id(2));
  EXPECT_EQ(pick(both_, kStart + 1s), id(2));
  registry_.set_heard(id(1), other, kStart + 2s);
  EXPECT_EQ(registry_.pick(both_, 0, kStart + 2s)->agent(), id(1));
}

TEST_F(TunnelRegistryTest, ADrainingAgentGetsNoTurn) {
  const uint64_t first = registry_.add(id(1), 0, kStart);
  const uint64_t second = registry_.add(id(2), 1, kStart + 1s);
  registry_.set_heard(id(1), first, kStart + 1s);
  registry_.set_draining(id(2), second + 1);  // of another tunnel
  EXPECT_EQ(pick(both_, kStart + 1s), id(1));
  EXPECT_EQ(pick(both_, kStart + 1s), id(2));
  registry_.set_draining(id(2), second);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(pick(both_, kStart + 1s), id(1));
  EXPECT_EQ(pick(both_, kStart + 1h), id(1)) << "though the youngest is the other";
  EXPECT_TRUE(registry_.has_successor(both_, first, kStart)) << "it is not dead";
  registry_.set_draining(id(1), first);
  EXPECT_EQ(pick(both_, kStart + 1s), id(0));
  registry_.add(id(2), 1, kStart + 2s);
  EXPECT_EQ(pick(both_, kStart + 2s), id(2)) << "a new tunnel does not drain";
}

TEST_F(TunnelRegistryTest, SuspectsAreAskedOnlyWhereThereIsNothingBetter) {
  const uint64_t first = registry_.add(id(1), 0, kStart);
  const uint64_t second = registry_.add(id(2), 1, kStart + 1s);
  registry_.set_heard(id(1), first, kStart + 1s);
  EXPECT_TRUE(registry_.has_substitute(both_, first));
  registry_.set_suspect(id(2), second, true);
  EXPECT_FALSE(registry_.has_substitute(both_, first));
  EXPECT_TRUE(registry_.has_substitute(both_, second));
  for (TimePoint when : {kStart + 1s, kStart + 1h}) {
    for (int i = 0; i < 4; ++i)
      EXPECT_EQ(pick(both_, when), id(1)) << "the youngest is no better, heard or not";
  }
  registry_.set_suspect(id(1), first, true);
  EXPECT_NE(pick(both_), id(0)) << "a suspect is better than no agent";
  registry_.set_suspect(id(2), second, false);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(pick(both_), id(2));
  registry_.set_suspect(id(1), first + 7, false);  // of another tunnel
  EXPECT_EQ(pick(both_, kStart + 1s), id(2));
  const uint64_t another = registry_.add(id(2), 0, kStart);
  registry_.set_suspect(id(2), second, true);
  EXPECT_TRUE(registry_.has_substitute(both_, second)) << "the same agent on another worker";
  EXPECT_FALSE(registry_.has_substitute(both_, another));
}

TEST_F(TunnelRegistryTest, ASuccessorCameAfterTheLastWord) {
  const uint64_t first = registry_.add(id(1), 0, kStart);
  EXPECT_FALSE(registry_.has_successor(both_, first, kStart - 1s));
  const uint64_t second = registry_.add(id(2), 1, kStart + 1s);
  EXPECT_TRUE(registry_.has_successor(both_, first, kStart));
  EXPECT_FALSE(registry_.has_successor(both_, first, kStart + 1s));
  EXPECT_FALSE(registry_.has_successor(route("b.test", {id(1)}), first, kStart));
  registry_.set_closed(id(2), second);
  EXPECT_FALSE(registry_.has_successor(both_, first, kStart));
}

TEST_F(TunnelRegistryTest, WhatWasTriedIsNotAskedAgainUnlessItAnswersMeanwhile) {
  const uint64_t first = registry_.add(id(1), 0, kStart);
  const uint64_t second = registry_.add(id(2), 1, kStart);
  std::vector<uint64_t> tried{first};
  for (int i = 0; i < 3; ++i) EXPECT_EQ(pick(both_, kStart, tried), id(2));
  EXPECT_TRUE(registry_.can_pick(both_, kStart, tried));
  registry_.set_suspect(id(2), second, true);
  EXPECT_EQ(pick(both_, kStart, tried), id(2)) << "a suspect that was not tried";
  tried.push_back(second);
  EXPECT_EQ(pick(both_, kStart, tried), id(1)) << "it is no suspect: heard since";
  registry_.set_suspect(id(1), first, true);
  EXPECT_FALSE(registry_.can_pick(both_, kStart, tried));
  EXPECT_EQ(pick(both_, kStart, tried), id(0));
  registry_.set_suspect(id(2), second, false);
  EXPECT_FALSE(registry_.can_pick(both_, kStart, tried)) << "the latest: its stream is still open";
  registry_.add(id(1), 0, kStart + 1s);
  EXPECT_EQ(pick(both_, kStart + 1s, tried), id(1)) << "a new tunnel was not tried";
}

TEST_F(TunnelRegistryTest, AnotherTunnelOfAnAgentThatWasTriedComesAfterOtherAgents) {
  const uint64_t first = registry_.add(id(1), 0, kStart);
  const uint64_t its_other = registry_.add(id(1), 1, kStart);
  const uint64_t second = registry_.add(id(2), 1, kStart);
  std::vector<uint64_t> tried{first};
  for (int i = 0; i < 3; ++i) EXPECT_EQ(pick(both_, kStart, tried), id(2));
  tried.push_back(second);
  EXPECT_EQ(registry_.pick(both_, 0, kStart, tried)->generation, its_other);
}

}  // namespace
}  // namespace culvert::edge
