#include "hub/grants.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"

namespace culvert::hub {
namespace {

route::HostPattern pattern(std::string_view text) { return route::HostPattern::parse(text).value(); }
bool any(const Grants::Grant& /*grant*/) { return true; }

TEST(Grants, FindWhatOverlapsOnLabelBoundaries) {
  Grants grants;
  grants.add(pattern("*.a.eu"), InviteId{1});
  grants.add(pattern("b.eu"), InviteId{2});
  for (const char* taken : {"app.a.eu", "x.y.a.eu", "*.a.eu", "*.sub.a.eu", "b.eu", "*.eu"}) {
    EXPECT_NE(grants.find_overlap(pattern(taken), any), nullptr) << taken;
  }
  for (const char* free : {"a.eu", "evila.eu", "x.b.eu", "*.evila.eu", "*.b.eu", "eu.a"}) {
    EXPECT_EQ(grants.find_overlap(pattern(free), any), nullptr) << free;
  }
  const Grants::Grant* found = grants.find_overlap(pattern("x.a.eu"), any);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->holder, InviteId{1});
  EXPECT_EQ(found->pattern, pattern("*.a.eu"));
}

TEST(Grants, OnlyTheHoldersGrantIsRemoved) {
  Grants grants;
  grants.add(pattern("a.eu"), InviteId{1});
  grants.add(pattern("a.eu"), InviteId{2});
  grants.remove(pattern("a.eu"), InviteId{1});
  ASSERT_EQ(grants.size(), 1u);
  EXPECT_EQ(grants.find_overlap(pattern("a.eu"), any)->holder, InviteId{2});
  EXPECT_EQ(
      grants.find_overlap(pattern("a.eu"), [](const auto& grant) { return grant.holder == InviteId{1}; }),
      nullptr);
  grants.remove(pattern("a.eu"), InviteId{1});
  EXPECT_EQ(grants.size(), 1u);
}

// HostPattern::overlaps is the definition.
TEST(Grants, AgreeWithTheDefinitionOnRandomPatterns) {
  SeededRandom random(5);
  const auto draw = [&] {
    std::string text = random.below(3) == 0 ? "*." : "";
    for (uint64_t labels = 1 + random.below(3); labels > 0; --labels) {
      text += std::to_array({"a.", "b.", "a-b.", "ab."})[random.below(4)];
    }
    return pattern(text + (random.below(2) == 0 ? "eu" : "e"));
  };
  for (int round = 0; round < 300; ++round) {
    Grants grants;
    std::vector<route::HostPattern> all;
    for (uint64_t i = random.below(8); i > 0; --i) {
      all.push_back(draw());
      grants.add(all.back(), InviteId{});
    }
    const route::HostPattern wanted = draw();
    const Grants::Grant* found = grants.find_overlap(wanted, any);
    const bool expected = std::ranges::any_of(all, [&](const auto& each) { return each.overlaps(wanted); });
    EXPECT_EQ(found != nullptr, expected) << wanted.text();
    if (found != nullptr) {
      EXPECT_TRUE(found->pattern.overlaps(wanted)) << wanted.text() << ' ' << found->pattern.text();
    }
  }
}

}  // namespace
}  // namespace culvert::hub
