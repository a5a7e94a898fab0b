// Hubs that share a database, and which of them keeps a lease. Everything in simulated time.
#include "hub/hubs.h"

#include <gtest/gtest.h>

#include <map>

#include "hub/invite_record.h"
#include "hub/state.h"

namespace culvert::hub {
namespace {

using namespace std::chrono_literals;

constexpr UnixTime kWall{std::chrono::seconds(1'700'000'000)};

// Some hubs over one database that they follow at once, unless it is away or they are dead.
class HubsTest : public ::testing::Test {
 protected:
  struct Hub {
    State state;
    size_t read = 0;  // of log_
    bool is_dead = false;
    TimePoint next_beat{};
  };

  HubsTest() { log_.push_back(invite_record(invite_)); }

  Hub& start(std::string name, std::string key = "the key of both") {
    Hub& hub = hubs_[name];
    hub.state.leases.hubs().join(std::move(name), std::move(key));
    hub.next_beat = now_;
    step();
    return hub;
  }
  void read(Hub& hub) {
    for (; hub.read < log_.size(); ++hub.read) hub.state.apply(std::vector{log_[hub.read]}, now_, kWall);
  }
  // What is due at this moment.
  void step() {
    for (auto& [name, hub] : hubs_) {
      if (hub.is_dead) continue;
      if (!is_away_) read(hub);
      if (hub.next_beat <= now_) {
        hub.state.leases.hubs().beat();
        hub.next_beat = now_ + Hubs::kBeat;
      }
      hub.state.leases.expire(now_, kWall);
      if (is_away_) continue;
      for (Record& record : hub.state.unstored().records) log_.push_back(std::move(record));
      read(hub);
    }
  }
  // `heard` at those hubs.
  void run(Duration time, std::vector<Hub*> heard = {}) {
    for (const TimePoint end = now_ + time; now_ < end; now_ += 1s) {
      for (Hub* hub : heard) hub->state.leases.heard({agent_, now_});
      step();
    }
    step();
  }
  void declare(Hub& hub) {
    ASSERT_TRUE(hub.state.leases.declare(**hub.state.invites.find(invite_.id), agent_,
                                         {{*route::HostPattern::parse("x.a.eu"), route::TlsMode::kTerminate}},
                                         now_));
    step();
    step();
  }
  static bool serves(const Hub& hub) { return hub.state.leases.size() == 1; }

  SeededRandom random_{5};
  EndpointId agent_ = SecretKey::generate(random_).public_key();
  Invite invite_{.id = {1},
                 .sequence = 1,
                 .name = "one",
                 .tenant = SecretKey::generate(random_).public_key(),
                 .secret_hash = {},
                 .hostnames = {*route::HostPattern::parse("*.a.eu")},
                 .created_at = kWall,
                 .expires_at = std::nullopt};
  std::vector<Record> log_;
  std::map<std::string, Hub> hubs_;
  bool is_away_ = false;
  TimePoint now_{std::chrono::hours(10)};
};

TEST_F(HubsTest, ALeaseThatIsRenewedAtAnotherHubGoesOn) {
  Hub &one = start("one"), &other = start("other");
  declare(one);
  EXPECT_TRUE(serves(other)) << "all hubs serve it";
  run(10min, {&other});
  EXPECT_TRUE(serves(one));
  EXPECT_TRUE(serves(other));
  EXPECT_EQ(one.state.leases.all().begin()->second.keeper, "other");
}

TEST_F(HubsTest, ALeaseThatNoHubHearsOfEndsAtAllOfThem) {
  Hub &one = start("one"), &other = start("other");
  declare(one);
  run(Leases::kLifetime - 2s);
  EXPECT_TRUE(serves(one) && serves(other));
  run(4s);
  EXPECT_FALSE(serves(one) || serves(other));
  EXPECT_TRUE(one.state.unstored().empty());
}

TEST_F(HubsTest, RenewalsCostNoCommit) {
  Hub &one = start("one"), &other = start("other");
  declare(one);
  run(1s);
  const size_t before = log_.size();
  run(10min, {&one, &other});
  size_t beats = 0;
  for (size_t i = before; i < log_.size(); ++i) beats += log_[i].kind == Hubs::kKind ? 1 : 0;
  EXPECT_EQ(log_.size() - before, beats) << "nothing but the beats of the hubs";
  EXPECT_LE(beats, 2u * (10min / Hubs::kBeat + 1));
}

TEST_F(HubsTest, WhatADeadHubKeptIsTakenByTheOneThatHearsIt) {
  Hub &one = start("one"), &other = start("other");
  declare(one);
  run(30s, {&one, &other});
  one.is_dead = true;
  run(10min, {&other});
  EXPECT_TRUE(serves(other));
  EXPECT_EQ(other.state.leases.all().begin()->second.keeper, "other");
  EXPECT_FALSE(other.state.leases.hubs().lives("one"));
}

TEST_F(HubsTest, WhatADeadHubKeptAndNobodyHearsEnds) {
  Hub &one = start("one"), &other = start("other");
  declare(one);
  run(30s, {&one});
  one.is_dead = true;
  run(Hubs::kBeat * Hubs::kMaxSilence - 5s);
  EXPECT_TRUE(serves(other)) << "it may live";
  run(Hubs::kBeat * 2 + Leases::kLifetime + 5s);
  EXPECT_FALSE(serves(other));
}

TEST_F(HubsTest, AHubThatWasTakenForDeadComesBack) {
  Hub &one = start("one"), &other = start("other");
  declare(one);
  one.is_dead = true;
  run(Hubs::kBeat * (Hubs::kMaxSilence + 2));
  EXPECT_FALSE(other.state.leases.hubs().lives("one"));
  one.is_dead = false;
  run(Hubs::kBeat * 2, {&one});
  EXPECT_TRUE(other.state.leases.hubs().lives("one"));
  run(10min, {&one});
  EXPECT_TRUE(serves(one) && serves(other));
}

TEST_F(HubsTest, ADatabaseThatIsAwayEndsNothingThatIsHeardSomewhere) {
  Hub &one = start("one"), &other = start("other");
  declare(one);
  run(5s, {&one});
  is_away_ = true;
  run(1h, {&one});
  EXPECT_TRUE(serves(one) && serves(other)) << "no beat is stored, and no silence counted";
  is_away_ = false;
  run(10min, {&one});
  EXPECT_TRUE(serves(one) && serves(other));
}

TEST_F(HubsTest, AHubThatEndsLeavesItsLeasesToTheOthers) {
  Hub &one = start("one"), &other = start("other");
  declare(one);
  run(5s, {&one, &other});
  for (Record& record : one.state.leases.hubs().farewell()) log_.push_back(std::move(record));
  one.is_dead = true;
  run(3s, {&other});
  EXPECT_EQ(other.state.leases.all().begin()->second.keeper, "other");
}

TEST_F(HubsTest, AHubThatStartsKnowsWhatIsServedAndKeepsNoDeadAgent) {
  Hub& one = start("one");
  declare(one);
  one.is_dead = true;
  Hub& other = start("other");
  EXPECT_TRUE(serves(other));
  run(Hubs::kBeat * (Hubs::kMaxSilence + 1) + Leases::kLifetime + 5s);
  EXPECT_FALSE(serves(other));
}

TEST_F(HubsTest, AGoodbyeAtAnyHubEndsTheLease) {
  Hub &one = start("one"), &other = start("other");
  declare(one);
  run(5s, {&one, &other});
  other.state.leases.end_agent(agent_);
  step();
  step();
  EXPECT_FALSE(serves(one) || serves(other));
}

// Another TLS mode is refused as long as any hub hears the agent.
TEST_F(HubsTest, AnAgentThatAnotherHubHearsStandsInTheWayOfAnotherMode) {
  Hub &one = start("one"), &other = start("other");
  declare(one);
  run(20s, {&one});
  const EndpointId second = SecretKey::generate(random_).public_key();
  auto verdicts = other.state.leases.declare(
      invite_, second, {{*route::HostPattern::parse("x.a.eu"), route::TlsMode::kPassthrough}}, now_);
  ASSERT_TRUE(verdicts);
  EXPECT_FALSE(verdicts->front().accepted);
  EXPECT_EQ(verdicts->front().retry_after, Leases::kRenewAfter);
}

TEST_F(HubsTest, HubsWithDifferentKeysSaySo) {
  Hub &one = start("one"), &other = start("other");
  run(3 * Hubs::kBeat);
  EXPECT_FALSE(one.state.leases.hubs().other_key() || other.state.leases.hubs().other_key());
  Hub& third = start("third", "another key");
  run(Hubs::kBeat + 1s);
  EXPECT_EQ(one.state.leases.hubs().other_key(), "another key");
  EXPECT_EQ(other.state.leases.hubs().other_key(), "another key");
  EXPECT_EQ(third.state.leases.hubs().other_key(), "the key of both");
  third.is_dead = true;
  run(Hubs::kBeat * (Hubs::kMaxSilence + 2));
  EXPECT_FALSE(one.state.leases.hubs().other_key());
}

TEST_F(HubsTest, ARecordThatAHubLeftBehindDoesNotCountAsAnotherKey) {
  start("one", "another key").is_dead = true;
  Hub& other = start("other");
  run(10min);
  EXPECT_FALSE(other.state.leases.hubs().other_key());
}

TEST_F(HubsTest, ARecordOfAnEarlierVersionHasNoKey) {
  Hub& one = start("one");
  EXPECT_EQ(Hubs::key_in(R"({"beats":3})"), "");
  EXPECT_EQ(Hubs::key_in(R"({"key":7})"), "");
  EXPECT_EQ(Hubs::key_in("nonsense"), "");
  run(Hubs::kBeat);
  log_.push_back({.kind = std::string(Hubs::kKind), .key = "early", .body = R"({"beats":3})"});
  run(Hubs::kBeat);
  EXPECT_TRUE(one.state.leases.hubs().lives("early"));
  EXPECT_FALSE(one.state.leases.hubs().other_key());
}

// A hub with a database of its own writes neither beats nor keepers.
TEST_F(HubsTest, AHubAloneNeedsNoneOfIt) {
  Hub& alone = hubs_["alone"];
  step();
  declare(alone);
  alone.state.leases.hubs().beat();
  run(Leases::kLifetime - 2s);
  EXPECT_TRUE(serves(alone));
  run(3s);
  EXPECT_FALSE(serves(alone));
  for (const Record& record : log_) {
    EXPECT_NE(record.kind, Hubs::kKind);
    if (record.kind == Leases::kKind && record.body)
      EXPECT_EQ(record.body->find("\"hub\""), std::string::npos);
  }
}

}  // namespace
}  // namespace culvert::hub
