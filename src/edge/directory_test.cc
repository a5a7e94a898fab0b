#include "edge/directory.h"

#include <gtest/gtest.h>

namespace culvert::edge {
namespace {

using namespace std::chrono_literals;

EndpointId id(uint8_t fill) { return SecretKey::from_seed(Bytes(32, fill)).value().public_key(); }
const TimePoint kStart{1h};

TEST(Directory, FindsWhatWasAddedLast) {
  Directory directory;
  EXPECT_FALSE(directory.newest({{id(1)}}));
  auto first = directory.add(id(1), 3, kStart);
  EXPECT_FALSE(first.replaced);
  EXPECT_EQ(directory.newest({{id(1)}})->worker, 3u);
  auto second = directory.add(id(1), 5, kStart + 1s);
  ASSERT_TRUE(second.replaced);
  EXPECT_EQ(second.replaced->worker, 3u);
  EXPECT_EQ(second.replaced->generation, first.generation);
  EXPECT_EQ(directory.newest({{id(1)}})->worker, 5u);
  EXPECT_EQ(directory.newest({{id(1)}})->since, kStart + 1s);
  EXPECT_FALSE(directory.newest({{id(2)}}));
}

TEST(Directory, TheYoungestOfSeveralAgentsIsTold) {
  Directory directory;
  directory.add(id(1), 0, kStart);
  auto second = directory.add(id(2), 1, kStart);
  directory.add(id(3), 2, kStart);
  EXPECT_EQ(directory.newest({{id(1)}, {id(2)}})->generation, second.generation);
  EXPECT_EQ(directory.newest({{id(2)}, {id(1)}, {id(9)}})->worker, 1u);
  EXPECT_TRUE(directory.remove(id(2), second.generation));
  EXPECT_EQ(directory.newest({{id(1)}, {id(2)}})->worker, 0u);
}

TEST(Directory, TheOldDoesNotRemoveTheNew) {
  Directory directory;
  auto first = directory.add(id(1), 0, kStart);
  auto second = directory.add(id(1), 0, kStart);
  EXPECT_FALSE(directory.remove(id(1), first.generation));
  EXPECT_TRUE(directory.newest({{id(1)}}));
  EXPECT_TRUE(directory.remove(id(1), second.generation));
  EXPECT_FALSE(directory.newest({{id(1)}}));
  EXPECT_FALSE(directory.remove(id(1), second.generation));
}

route::Route route(std::string_view host, const std::vector<EndpointId>& agents) {
  route::Route made{route::HostPattern::parse(host).value(), id(99), route::TlsMode::kTerminate, {}};
  for (const EndpointId& agent : agents) made.targets.push_back({agent});
  return made;
}

TEST(Directory, TurnsAreEvenForEveryRouteInAnyOrderOfAsking) {
  for (uint8_t agents = 1; agents <= 5; ++agents) {
    Directory directory;
    std::vector<EndpointId> ids;
    for (uint8_t i = 1; i <= agents; ++i) {
      directory.add(id(i), i, kStart);
      ids.push_back(id(i));
    }
    const route::Route a = route("a.test", ids), b = route("b.test", ids);
    std::unordered_map<EndpointId, int> of_a, of_b;
    for (int i = 0; i < 60; ++i) {
      ++of_a[directory.pick(a, kStart)->agent];
      // Once, twice or three times in between.
      for (int more = 0; more <= i % 3; ++more) ++of_b[directory.pick(b, kStart)->agent];
    }
    for (const EndpointId& each : ids) {
      EXPECT_NEAR(of_a[each], 60 / agents, 1);
      EXPECT_NEAR(of_b[each], 120 / agents, 1);
    }
  }
}

TEST(Directory, ANewAgentJoinsTheTurnsAndIsNotFlooded) {
  Directory directory;
  directory.add(id(1), 0, kStart);
  const route::Route both = route("a.test", {id(1), id(2)});
  for (int i = 0; i < 10; ++i) EXPECT_EQ(directory.pick(both, kStart)->agent, id(1));
  auto second = directory.add(id(2), 1, kStart + 1s);
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(directory.pick(both, kStart + 1s)->agent, id(2)) << "the other was not heard since";
  directory.set_heard(id(1), 1, kStart + 2s);
  std::unordered_map<EndpointId, int> got;
  for (int i = 0; i < 10; ++i) ++got[directory.pick(both, kStart + 2s)->agent];
  EXPECT_EQ(got[id(1)], 5);
  EXPECT_EQ(directory.pick(both, kStart + 2s + Directory::kSilence + 1ms)->agent, id(2));
  EXPECT_EQ(directory.pick(both, kStart + 2s + Directory::kSilence + 1ms)->agent, id(2));
  directory.set_closed(id(2), second.generation);
  EXPECT_EQ(directory.pick(both, kStart + 1h)->agent, id(1)) << "whoever is left serves, heard or not";
  EXPECT_TRUE(directory.remove(id(2), second.generation)) << "closed is not removed";
  directory.set_closed(id(1), 1);
  EXPECT_FALSE(directory.pick(both, kStart));
}

TEST(Directory, ADrainingAgentGetsNoTurn) {
  Directory directory;
  auto first = directory.add(id(1), 0, kStart);
  auto second = directory.add(id(2), 1, kStart + 1s);
  const route::Route both = route("a.test", {id(1), id(2)});
  directory.set_heard(id(1), first.generation, kStart + 1s);
  directory.set_draining(id(2), second.generation + 1);  // of another tunnel
  EXPECT_EQ(directory.pick(both, kStart + 1s)->agent, id(1));
  EXPECT_EQ(directory.pick(both, kStart + 1s)->agent, id(2));
  directory.set_draining(id(2), second.generation);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(directory.pick(both, kStart + 1s)->agent, id(1));
  EXPECT_EQ(directory.pick(both, kStart + 1h)->agent, id(1)) << "though the youngest is the other";
  EXPECT_EQ(directory.newest({{id(1)}, {id(2)}})->generation, second.generation) << "it is not dead";
  directory.set_draining(id(1), first.generation);
  EXPECT_FALSE(directory.pick(both, kStart + 1s));
  directory.add(id(2), 0, kStart + 2s);
  EXPECT_EQ(directory.pick(both, kStart + 2s)->agent, id(2)) << "a new tunnel does not drain";
}

TEST(Directory, SuspectsAreAskedOnlyWhereThereIsNothingBetter) {
  Directory directory;
  auto first = directory.add(id(1), 0, kStart);
  auto second = directory.add(id(2), 1, kStart + 1s);
  const route::Route both = route("a.test", {id(1), id(2)});
  directory.set_heard(id(1), first.generation, kStart + 1s);
  EXPECT_TRUE(directory.has_substitute(both.targets, id(1)));
  directory.set_suspect(id(2), second.generation, true);
  EXPECT_FALSE(directory.has_substitute(both.targets, id(1)));
  EXPECT_TRUE(directory.has_substitute(both.targets, id(2)));
  for (TimePoint when : {kStart + 1s, kStart + 1h}) {
    for (int i = 0; i < 4; ++i)
      EXPECT_EQ(directory.pick(both, when)->agent, id(1)) << "the youngest is no better, heard or not";
  }
  directory.set_suspect(id(1), first.generation, true);
  EXPECT_TRUE(directory.pick(both, kStart)) << "a suspect is better than nobody";
  directory.set_suspect(id(2), second.generation, false);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(directory.pick(both, kStart)->agent, id(2));
  directory.set_suspect(id(1), first.generation + 7, false);  // of another tunnel
  EXPECT_EQ(directory.pick(both, kStart + 1s)->agent, id(2));
}

TEST(Directory, WhatWasTriedIsNotAskedAgainUnlessItAnswersMeanwhile) {
  Directory directory;
  auto first = directory.add(id(1), 0, kStart);
  auto second = directory.add(id(2), 1, kStart);
  const route::Route both = route("a.test", {id(1), id(2)});
  std::vector<uint64_t> tried{first.generation};
  for (int i = 0; i < 3; ++i) EXPECT_EQ(directory.pick(both, kStart, tried)->agent, id(2));
  EXPECT_TRUE(directory.has_pick(both, tried));
  directory.set_suspect(id(2), second.generation, true);
  EXPECT_EQ(directory.pick(both, kStart, tried)->agent, id(2)) << "a suspect that was not tried";
  tried.push_back(second.generation);
  EXPECT_EQ(directory.pick(both, kStart, tried)->agent, id(1)) << "it is no suspect: heard since";
  directory.set_suspect(id(1), first.generation, true);
  EXPECT_FALSE(directory.has_pick(both, tried));
  EXPECT_FALSE(directory.pick(both, kStart, tried));
  directory.set_suspect(id(2), second.generation, false);
  EXPECT_FALSE(directory.has_pick(both, tried)) << "the latest: its stream is still open";
  directory.add(id(1), 0, kStart + 1s);
  EXPECT_EQ(directory.pick(both, kStart + 1s, tried)->agent, id(1)) << "a new tunnel was not tried";
}

TEST(Directory, TurnsOutliveChangesOfOtherRoutesAndGoWithTheirOwn) {
  Directory directory;
  directory.add(id(1), 0, kStart);
  directory.add(id(2), 0, kStart);
  const route::Route both = route("a.test", {id(1), id(2)});
  for (const EndpointId& expected : {id(1), id(2), id(1), id(2)}) {
    directory.forget_turns({0, 1, {both, route("b.test", {id(3)})}, {route("c.test", {}).id()}});
    EXPECT_EQ(directory.pick(both, kStart)->agent, expected);
  }
  EXPECT_EQ(directory.pick(both, kStart)->agent, id(1));
  directory.forget_turns({0, 1, {}, {both.id()}});
  EXPECT_EQ(directory.pick(both, kStart)->agent, id(1)) << "nothing is remembered of a route that went";
  directory.forget_turns({0, 1, {route("a.test", {id(2)})}, {}});
  EXPECT_EQ(directory.pick(both, kStart)->agent, id(1)) << "nor of a target that went";
}

}  // namespace
}  // namespace culvert::edge
