#include "route/picker.h"

#include <gtest/gtest.h>

#include <array>
#include <map>

#include "base/random.h"
#include "route/testing.h"

namespace culvert::route {
namespace {

using namespace std::chrono_literals;
using enum Candidate::Tried;
using testing::id;

const TimePoint kNow{1h};

Route route(std::string_view host, uint8_t targets) {
  std::vector<EndpointId> agents;
  for (uint8_t i = 1; i <= targets; ++i) agents.push_back(id(i));
  return testing::route(host, agents);
}

// Healthy ones.
std::vector<Candidate> candidates(uint8_t count) {
  std::vector<Candidate> all;
  for (uint8_t i = 1; i <= count; ++i)
    all.push_back({.target = {id(i)}, .youngest = i, .since = kNow, .heard = kNow});
  return all;
}

TEST(Picker, TurnsAreEvenOnEveryRouteInAnyOrderOfAsking) {
  for (uint8_t count = 1; count <= 9; ++count) {
    Picker picker(Balance::kRoundRobin);
    SeededRandom random(count);
    const std::vector<Route> routes{route("a.test", count), route("b.test", count), route("c.test", count)};
    auto all = candidates(count);
    std::map<std::string, std::map<Target, int>> got;
    std::map<std::string, int> asked;
    for (int i = 0; i < 900; ++i) {
      const Route& each = routes[random.below(routes.size())];
      // Callers may list the targets in another order.
      for (size_t n = all.size(); n > 1; --n) std::swap(all[n - 1], all[random.below(n)]);
      ++got[each.match.text()][all[picker.pick(each, all, kNow).value()].target];
      ++asked[each.match.text()];
    }
    for (const auto& [name, total] : asked) {
      for (const Candidate& each : all) EXPECT_NEAR(got[name][each.target], total / count, 1) << name;
    }
  }
}

TEST(Picker, AgentsAndLocalOriginsTakeTurns) {
  Picker picker(Balance::kRoundRobin);
  const Route both{.match = HostPattern::parse("a.test").value(),
                   .tenant = id(200),
                   .tls_mode = TlsMode::kTerminate,
                   .targets = {{id(1)}, {LocalOrigin{"a.test=x:1"}}, {LocalOrigin{"a.test=x:2"}}}};
  std::vector<Candidate> all;
  for (uint64_t i = 0; i < both.targets.size(); ++i)
    all.push_back({.target = both.targets[i], .youngest = i + 1, .since = kNow, .heard = kNow});
  std::map<Target, int> got;
  for (int i = 0; i < 30; ++i) ++got[all[picker.pick(both, all, kNow).value()].target];
  for (const Target& target : both.targets) EXPECT_EQ(got[target], 10) << target.text();
  all[1].unhealthy = true;
  got.clear();
  for (int i = 0; i < 30; ++i) ++got[all[picker.pick(both, all, kNow).value()].target];
  EXPECT_EQ(got[both.targets[1]], 0);
  EXPECT_EQ(got[both.targets[2]], 15);
}

TEST(Picker, LeastConnectionsLevelsLoadAndTakesTurnsAmongEquals) {
  Picker picker(Balance::kLeastConnections);
  const Route all_of_them = route("a.test", 4);
  SeededRandom random(3);
  auto all = candidates(4);
  all[0].connections = 50;
  all[1].connections = 30;
  for (int i = 0; i < 200; ++i) ++all[picker.pick(all_of_them, all, kNow).value()].connections;
  for (const Candidate& each : all) EXPECT_EQ(each.connections, 70u);
  // Connections of one target are long: it gets the fewer new ones the more it has.
  std::map<size_t, int> got;
  for (Candidate& each : all) each.connections = 0;
  for (int i = 0; i < 400; ++i) {
    const size_t place = picker.pick(all_of_them, all, kNow).value();
    ++got[place];
    if (place == 0) ++all[0].connections;
  }
  EXPECT_EQ(got[0], 1);
  for (size_t place = 1; place < 4; ++place) EXPECT_EQ(got[place], 133);
}

TEST(Picker, HealthComesBeforeLoadAndTurns) {
  for (Balance balance : {Balance::kRoundRobin, Balance::kLeastConnections}) {
    const Route both = route("a.test", 2);
    const auto always_second = [&](auto spoil) {
      Picker picker(balance);
      auto all = candidates(2);
      all[1].connections = 1000;
      all[0].since = all[0].heard = all[1].since = all[1].heard = kNow - 1min;
      all[0].heard = all[1].heard = kNow - 1s;
      spoil(all[0]);
      for (int i = 0; i < 5; ++i) {
        if (picker.pick(both, all, kNow) != 1u) return false;
      }
      return true;
    };
    EXPECT_FALSE(always_second([](Candidate&) {}));
    EXPECT_TRUE(always_second([](Candidate& first) { first.suspect = true; }));
    EXPECT_TRUE(always_second([](Candidate& first) { first.tried = kBefore; }));
    EXPECT_TRUE(always_second([](Candidate& first) { first.tried = kLast; }));
    EXPECT_TRUE(always_second([](Candidate& first) { first.heard = kNow - Picker::kSilence - 1ns; }));
    EXPECT_FALSE(always_second([](Candidate& first) { first.heard = kNow - Picker::kSilence; }));
    EXPECT_FALSE(always_second([](Candidate& first) {
      first.heard = kNow - 1h;
      first.youngest = 9;
    })) << "the youngest is good without a word";
  }
}

TEST(Picker, AnUnhealthyTargetComesLastAndIsUsedWhereThereIsNoOther) {
  Picker picker(Balance::kRoundRobin);
  const Route three = route("a.test", 3);
  auto all = candidates(3);
  all[0].unhealthy = true;
  all[1].suspect = true;
  all[2].heard = kNow - 1h;
  all[2].youngest = 0;
  for (int i = 0; i < 5; ++i) EXPECT_EQ(picker.pick(three, all, kNow), 2u) << "silent, and healthy";
  all[2].unhealthy = true;
  for (int i = 0; i < 5; ++i) EXPECT_EQ(picker.pick(three, all, kNow), 1u) << "suspect, and healthy";
  all[1].tried = kBefore;
  EXPECT_EQ(picker.pick(three, all, kNow), 0u) << "none else is left to try";
  all[1].unhealthy = true;
  all[1].tried = kNever;
  all[1].suspect = false;
  all[2].heard = kNow;
  std::map<size_t, int> got;
  for (int i = 0; i < 30; ++i) ++got[*picker.pick(three, all, kNow)];
  for (size_t place = 0; place < 3; ++place) EXPECT_NEAR(got[place], 10, 1) << "all of them are";
}

TEST(Picker, TheLowestPriorityGetsAllAsLongAsItCan) {
  for (Balance balance : {Balance::kRoundRobin, Balance::kLeastConnections}) {
    Picker picker(balance);
    const Route three = route("a.test", 3);
    auto all = candidates(3);
    all[0].share.priority = 1;
    all[1].share.priority = all[2].share.priority = 7;
    all[0].connections = 1000;
    for (int i = 0; i < 5; ++i) EXPECT_EQ(picker.pick(three, all, kNow), 0u);
    for (auto spoil : {&Candidate::unhealthy, &Candidate::suspect}) {
      all[0].*spoil = true;
      std::map<size_t, int> got;
      for (int i = 0; i < 10; ++i) ++got[*picker.pick(three, all, kNow)];
      EXPECT_EQ(got[1], 5);
      EXPECT_EQ(got[2], 5);
      all[0].*spoil = false;
    }
    EXPECT_EQ(picker.pick(three, all, kNow), 0u);
  }
}

TEST(Picker, WeightsAreKeptAlsoOverShortTimes) {
  Picker picker(Balance::kRoundRobin);
  const Route four = route("a.test", 4);
  auto all = candidates(4);
  const std::array<uint32_t, 4> weights{1, 2, 3, Share::kMaxWeight};
  for (size_t i = 0; i < 4; ++i) all[i].share.weight = weights[i];
  std::map<size_t, int> got;
  constexpr int kRounds = 50;
  for (int i = 0; i < kRounds * 1006; ++i) ++got[*picker.pick(four, all, kNow)];
  for (size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(got[i], kRounds * static_cast<int>(weights[i]), kRounds + 1) << i;

  all.pop_back();
  for (int i = 0; i < 100; ++i) {
    got.clear();
    for (int turn = 0; turn < 12; ++turn) ++got[*picker.pick(four, all, kNow)];
    for (size_t each = 0; each < 3; ++each) EXPECT_NEAR(got[each], 2 * static_cast<int>(weights[each]), 1);
  }
}

TEST(Picker, LoadIsWeighed) {
  Picker picker(Balance::kLeastConnections);
  const Route two = route("a.test", 2);
  auto all = candidates(2);
  all[1].share.weight = 3;
  for (int i = 0; i < 400; ++i) ++all[*picker.pick(two, all, kNow)].connections;
  EXPECT_NEAR(static_cast<double>(all[0].connections), 100, 1);
  EXPECT_NEAR(static_cast<double>(all[1].connections), 300, 1);
}

TEST(Picker, ATargetThatWasOutOfTurnsDoesNotCatchUpOnThem) {
  Picker picker(Balance::kRoundRobin);
  const Route two = route("a.test", 2);
  auto all = candidates(2);
  all[0].unhealthy = true;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(picker.pick(two, all, kNow), 1u);
  all[0].unhealthy = false;
  std::map<size_t, int> got;
  for (int i = 0; i < 10; ++i) ++got[*picker.pick(two, all, kNow)];
  EXPECT_NEAR(got[0], 5, 1);
}

TEST(Picker, AnOlderTargetIsGoodOnceItWasHeardAfterTheYoungestCame) {
  Picker picker(Balance::kRoundRobin);
  const Route both = route("a.test", 2);
  auto all = candidates(2);
  all[0].heard = kNow - 2s;
  all[1].since = all[1].heard = kNow - 1s;
  for (int i = 0; i < 4; ++i) EXPECT_EQ(picker.pick(both, all, kNow), 1u);
  all[0].heard = kNow - 1s;
  EXPECT_EQ(picker.pick(both, all, kNow), 0u);
}

TEST(Picker, ATargetThatComesTakesNothingFromAnotherPriority) {
  Picker picker(Balance::kRoundRobin);
  const Route both = route("a.test", 2);
  auto all = candidates(2);
  all[0].heard = kNow - 2s;
  all[1].since = all[1].heard = kNow - 1s;
  all[1].share.priority = 1;
  for (int i = 0; i < 4; ++i) EXPECT_EQ(picker.pick(both, all, kNow), 0u);
  all[0].heard = kNow - Picker::kSilence - 1ns;
  EXPECT_EQ(picker.pick(both, all, kNow), 1u) << "it is silent for too long";
}

TEST(Picker, WhatWasTriedGetsItAgainOnlyIfItAnsweredSince) {
  Picker picker(Balance::kRoundRobin);
  const Route three = route("a.test", 3);
  auto all = candidates(3);
  all[0].tried = kBefore;
  all[1].tried = kLast;
  all[2].suspect = true;
  EXPECT_EQ(picker.pick(three, all, kNow), 2u) << "a suspect that was not tried";
  all[2].tried = kBefore;
  EXPECT_EQ(picker.pick(three, all, kNow), 0u) << "it is no suspect: heard since";
  all[0].suspect = true;
  EXPECT_FALSE(Picker::can_pick(all));
  EXPECT_FALSE(picker.pick(three, all, kNow));
  EXPECT_FALSE(picker.pick(three, {}, kNow));
}

TEST(Picker, TurnsOutliveChangesOfOtherRoutesAndGoWithTheirOwn) {
  Picker picker(Balance::kRoundRobin);
  const Route both = route("a.test", 2);
  const auto all = candidates(2);
  for (size_t expected : {0u, 1u, 0u, 1u}) {
    picker.forget({0, 1, {both, route("b.test", 1)}, {route("c.test", 0).id()}});
    EXPECT_EQ(picker.pick(both, all, kNow), expected);
  }
  EXPECT_EQ(picker.pick(both, all, kNow), 0u);
  picker.forget({0, 1, {}, {both.id()}});
  EXPECT_EQ(picker.pick(both, all, kNow), 0u) << "nothing is remembered of a route that went";
  EXPECT_EQ(picker.pick(both, all, kNow), 1u);
  EXPECT_EQ(picker.pick(both, all, kNow), 0u);
  picker.forget({0, 1, {route("a.test", 1)}, {}});
  EXPECT_EQ(picker.pick(both, all, kNow), 1u) << "nor of a target that went";
  EXPECT_EQ(picker.pick(both, all, kNow), 0u);
}

TEST(Balance, Names) {
  for (Balance balance : {Balance::kRoundRobin, Balance::kLeastConnections})
    EXPECT_EQ(parse_balance(to_string(balance)), balance);
  auto unknown = parse_balance("random");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().message, "invalid policy \"random\" (expected round-robin or least-connections)");
}

}  // namespace
}  // namespace culvert::route
