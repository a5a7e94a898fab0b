#include "hub/route_publisher.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "hubapi/route_replica.h"

namespace culvert::hub {
namespace {

SecretKey key_of(uint8_t seed) { return *SecretKey::from_seed(Bytes(SecretKey::kSize, seed)); }

route::Route route_to(const std::string& hostname, uint8_t agent = 7) {
  return {*route::HostPattern::parse(hostname),
          key_of(3).public_key(),
          route::TlsMode::kPassthrough,
          {{key_of(agent).public_key()}}};
}

route::Delta upsert(std::vector<route::Route> routes) { return {0, 0, std::move(routes), {}}; }
route::Delta removal(const std::string& hostname) {
  return {0, 0, {}, {route::RouteId(*route::HostPattern::parse(hostname))}};
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return lines;
}

std::string snapshot_text(const RoutePublisher& hub) {
  std::string text = hubapi::encode(hubapi::SnapshotHead{hub.routes()->size()}) + '\n';
  for (const route::Route* route : hub.routes()->routes()) text += hubapi::encode_route(*route) + '\n';
  return text + hub.seal_line();
}

class RoutePublisherTest : public testing::Test {
 protected:
  Result<> give(std::string_view text) {
    for (const std::string& line : lines_of(text)) {
      auto event = edge_.take(line);
      if (!event) return std::unexpected(event.error());
    }
    return {};
  }
  void change(const route::Delta& delta) {
    hub_.add(delta);
    hub_.publish();
  }
  void expect_same() {
    EXPECT_EQ(edge_.held()->at, hub_.version());
    EXPECT_EQ(edge_.held()->digest, hub_.digest());
    EXPECT_TRUE(hub_.routes()->changes_to(*edge_.routes()).empty());
    EXPECT_EQ(edge_.routes()->size(), hub_.routes()->size());
  }

  const SecretKey hub_key_ = key_of(1);
  RoutePublisher hub_{hub_key_, 0xfeed};
  hubapi::RouteReplica edge_{hub_key_.public_key()};
};

TEST_F(RoutePublisherTest, AnEdgeFollowsFromASnapshotOn) {
  change(upsert({route_to("a.example.com"), route_to("b.example.com")}));
  ASSERT_TRUE(give(snapshot_text(hub_)));
  expect_same();
  const auto before = hub_.version();
  change(upsert({route_to("b.example.com", 8), route_to("c.example.com")}));
  change(removal("a.example.com"));
  ASSERT_TRUE(give(*hub_.after(before)));
  ASSERT_TRUE(give(*hub_.after(edge_.held()->at)));
  expect_same();
  EXPECT_EQ(hub_.after(edge_.held()->at), nullptr);
}

TEST_F(RoutePublisherTest, ChangesThatChangeNothingMakeNoVersion) {
  change(upsert({route_to("a.example.com")}));
  const auto before = hub_.version();
  change(upsert({route_to("a.example.com")}));
  change(removal("b.example.com"));
  hub_.add(upsert({route_to("c.example.com")}));
  hub_.add(removal("c.example.com"));
  hub_.publish();
  EXPECT_EQ(hub_.version(), before);
  EXPECT_FALSE(hub_.has_changes());
}

TEST_F(RoutePublisherTest, DigestsDependOnTheRoutesOnly) {
  RoutePublisher other(hub_key_, 0xbeef);
  change(upsert({route_to("a.example.com")}));
  change(upsert({route_to("b.example.com")}));
  change(upsert({route_to("c.example.com")}));
  change(removal("c.example.com"));
  other.add(upsert({route_to("b.example.com"), route_to("a.example.com")}));
  other.publish();
  EXPECT_EQ(hub_.digest(), other.digest());
  other.add(upsert({route_to("b.example.com", 9)}));
  other.publish();
  EXPECT_NE(hub_.digest(), other.digest());
}

// Another start of the hub has the same routes: its seal is enough.
TEST_F(RoutePublisherTest, ASealAloneGivesTheRoutesAnotherVersion) {
  change(upsert({route_to("a.example.com")}));
  ASSERT_TRUE(give(snapshot_text(hub_)));
  RoutePublisher again(hub_key_, 0xbeef);
  again.add(upsert({route_to("a.example.com")}));
  again.publish();
  again.add(upsert({route_to("b.example.com")}));
  again.publish();
  again.add(removal("b.example.com"));
  again.publish();
  ASSERT_EQ(again.digest(), edge_.held()->digest);
  ASSERT_TRUE(give(again.seal_line()));
  EXPECT_EQ(edge_.held()->at, again.version());
  again.add(upsert({route_to("z.example.com")}));
  again.publish();
  ASSERT_TRUE(give(*again.after(edge_.held()->at)));
  EXPECT_EQ(edge_.routes()->size(), 2U);
}

TEST_F(RoutePublisherTest, AnEdgeThatIsTooFarBehindIsNotServedFromWhatIsKept) {
  change(upsert({route_to("a.example.com")}));
  const auto first = hub_.version();
  const size_t needed = RoutePublisher::kMaxKept / 500;
  for (size_t i = 0; i < needed && hub_.after(first) != nullptr; ++i)
    change(upsert({route_to("a.example.com", static_cast<uint8_t>(i % 200 + 1))}));
  EXPECT_EQ(hub_.after(first), nullptr);
  EXPECT_EQ(hub_.after({0xbad, first.version}), nullptr);
  EXPECT_EQ(hub_.after({0xfeed, hub_.version().version + 1}), nullptr);
}

TEST_F(RoutePublisherTest, ManyRemovalsAreSeveralVersions) {
  std::vector<route::Route> routes;
  const size_t count = 2 * RoutePublisher::kMaxRemovals + 3;
  for (size_t i = 0; i < count; ++i) routes.push_back(route_to(fmt::format("{}.example.com", i)));
  change(upsert(routes));
  ASSERT_TRUE(give(snapshot_text(hub_)));
  route::Delta all = upsert({});
  for (const route::Route& route : routes) all.removals.push_back(route.id());
  change(all);
  while (auto text = hub_.after(edge_.held()->at)) {
    for (const std::string& line : lines_of(*text)) EXPECT_LT(line.size(), hubapi::kMaxRouteLine);
    ASSERT_TRUE(give(*text));
  }
  expect_same();
  EXPECT_EQ(edge_.routes()->size(), 0U);
}

// The order and the batches in which changes come do not matter.
TEST_F(RoutePublisherTest, RandomChangesArriveWhole) {
  SeededRandom random(20);
  change(upsert({route_to("start.example.com")}));
  ASSERT_TRUE(give(snapshot_text(hub_)));
  for (int round = 0; round < 300; ++round) {
    for (uint64_t i = random.below(4); i > 0; --i) {
      const std::string name = fmt::format("{}.example.com", random.below(20));
      hub_.add(random.below(3) == 0 ? removal(name)
                                    : upsert({route_to(name, static_cast<uint8_t>(random.below(5) + 1))}));
    }
    hub_.publish();
    if (random.below(3) != 0) continue;
    while (auto text = hub_.after(edge_.held()->at)) ASSERT_TRUE(give(*text));
    expect_same();
  }
}

// Whatever is cut off or turned, an edge never has routes that the hub did not sign.
TEST_F(RoutePublisherTest, ADamagedStreamChangesNothing) {
  change(upsert({route_to("a.example.com"), route_to("b.example.com")}));
  const std::string snapshot = snapshot_text(hub_);
  const auto before = hub_.version();
  hub_.add(upsert({route_to("c.example.com")}));
  hub_.add(removal("a.example.com"));
  hub_.publish();
  const std::string change = *hub_.after(before);
  SeededRandom random(21);
  for (const std::string& whole : {snapshot, change}) {
    for (size_t cut = 0; cut < whole.size(); ++cut) {
      hubapi::RouteReplica edge(hub_key_.public_key());
      for (const std::string& line : lines_of(snapshot)) ASSERT_TRUE(edge.take(line));
      const route::SnapshotPtr had = edge.routes();
      std::string damaged = whole;
      damaged[cut] = static_cast<char>(damaged[cut] ^ (1 << random.below(7)));
      bool failed = false;
      for (const std::string& line : lines_of(damaged + "\n")) {
        if (!edge.take(line)) {
          failed = true;
          break;
        }
      }
      const bool is_same = edge.routes() == had || edge.held()->digest == hub_.digest() ||
                           edge.routes()->changes_to(*had).empty();
      EXPECT_TRUE(is_same) << cut << " failed " << failed;
    }
  }
}

// A connection ends anywhere: what came is a version, or nothing.
TEST_F(RoutePublisherTest, AStreamThatIsCutAnywhereLeavesAVersion) {
  change(upsert({route_to("a.example.com"), route_to("b.example.com")}));
  const std::string snapshot = snapshot_text(hub_);
  const auto first = hub_.version();
  hub_.add(upsert({route_to("c.example.com")}));
  hub_.add(removal("a.example.com"));
  hub_.publish();
  const std::string whole = snapshot + *hub_.after(first);
  for (size_t size = 0; size <= whole.size(); ++size) {
    hubapi::RouteReplica edge(hub_key_.public_key());
    const std::string_view cut = std::string_view(whole).substr(0, size);
    for (const std::string& line : lines_of(cut.substr(0, cut.rfind('\n') + 1)))
      ASSERT_TRUE(edge.take(line)) << size;
    const uint64_t has = edge.held() ? edge.held()->at.version : 0;
    EXPECT_EQ(has, size == whole.size() ? 2U : size >= snapshot.size() ? 1U : 0U) << size;
    EXPECT_EQ(edge.routes()->size(), has == 0 ? 0U : 2U);
  }
}

TEST_F(RoutePublisherTest, AnotherHubsRoutesAreRefused) {
  RoutePublisher foreign(key_of(2), 0xfeed);
  foreign.add(upsert({route_to("a.example.com")}));
  foreign.publish();
  auto given = give(snapshot_text(foreign));
  ASSERT_FALSE(given);
  EXPECT_EQ(given.error().code, ErrorCode::kUnauthorized);
  EXPECT_FALSE(edge_.held().has_value());
}

TEST_F(RoutePublisherTest, AChangeOfOtherRoutesIsAConflict) {
  change(upsert({route_to("a.example.com")}));
  ASSERT_TRUE(give(snapshot_text(hub_)));
  change(upsert({route_to("b.example.com")}));
  const auto missed = hub_.version();
  change(upsert({route_to("c.example.com")}));
  auto given = give(*hub_.after(missed));
  ASSERT_FALSE(given);
  EXPECT_EQ(given.error().code, ErrorCode::kConflict);
  EXPECT_EQ(edge_.routes()->size(), 1U);
}

}  // namespace
}  // namespace culvert::hub
