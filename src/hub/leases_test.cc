#include "hub/leases.h"

#include <gtest/gtest.h>

namespace culvert::hub {
namespace {

using namespace std::chrono_literals;
using hubapi::DeclaredService;
using route::TlsMode;

const UnixTime kWall{std::chrono::seconds(1'700'000'000)};
const TimePoint kStart{std::chrono::hours(100)};

route::HostPattern pattern(std::string_view text) { return *route::HostPattern::parse(text); }
DeclaredService service(std::string_view host, TlsMode mode = TlsMode::kPassthrough) {
  return {pattern(host), mode};
}

class LeasesTest : public testing::Test {
 protected:
  EndpointId agent() { return SecretKey::generate(random_).public_key(); }
  Invite make_invite(std::vector<std::string> hostnames, std::optional<UnixTime> expires_at = std::nullopt) {
    Invite invite{.id = {},
                  .name = "test",
                  .tenant = agent(),
                  .secret_hash = {},
                  .hostnames = {},
                  .created_at = kWall,
                  .expires_at = expires_at};
    random_.fill(invite.id);
    for (const auto& text : hostnames) invite.hostnames.push_back(pattern(text));
    return invite;
  }
  // Which were accepted, as "yn".
  std::string declare(const Invite& invite, const EndpointId& id,
                      const std::vector<DeclaredService>& services, TimePoint now = kStart) {
    auto verdicts = leases_.declare(invite, id, services, now);
    if (!verdicts) return verdicts.error().message;
    std::string out;
    for (const auto& verdict : *verdicts) {
      out += verdict.accepted ? 'y' : 'n';
      EXPECT_NE(verdict.accepted, !verdict.reason.empty());
    }
    return out;
  }
  const route::Route* match(std::string_view host) {
    routes_ = leases_.snapshot();
    return routes_->match(host);
  }
  // Whether routes changed since the last call.
  bool changed() { return leases_.take_delta().has_value(); }

  SeededRandom random_{3};
  Leases leases_;
  route::SnapshotPtr routes_;
};

TEST_F(LeasesTest, RoutesWhatIsGrantedAndSaysWhyTheRestIsNot) {
  Invite invite = make_invite({"a.eu", "*.b.eu"});
  EndpointId id = agent();
  EXPECT_EQ(
      declare(invite, id,
              {service("a.eu"), service("b.eu"), service("x.b.eu", TlsMode::kTerminate), service("x.y.b.eu"),
               service("evilb.eu"), service("*.b.eu"), service("x.a.eu"), service("other.org")}),
      "ynyynynn");
  ASSERT_NE(match("a.eu"), nullptr);
  EXPECT_EQ(match("a.eu")->tenant, invite.tenant);
  EXPECT_EQ(match("a.eu")->targets, std::vector<route::Target>{{id}});
  EXPECT_EQ(match("x.b.eu")->tls_mode, TlsMode::kTerminate);
  EXPECT_EQ(match("other.b.eu")->match.text(), "*.b.eu");
  EXPECT_EQ(match("evilb.eu"), nullptr);
  EXPECT_EQ(match("b.eu"), nullptr);
  auto verdicts = leases_.declare(invite, id, {service("evilb.eu")}, kStart);
  EXPECT_NE((*verdicts)[0].reason.find("*.b.eu"), std::string::npos) << "the reason names what is granted";
}

TEST_F(LeasesTest, ChangesOnlyWhenRoutesChange) {
  Invite invite = make_invite({"*.b.eu"});
  EndpointId id = agent();
  EXPECT_FALSE(changed());
  declare(invite, id, {service("x.b.eu")});
  EXPECT_TRUE(changed());
  EXPECT_FALSE(changed());
  declare(invite, id, {service("x.b.eu")}, kStart + 30s);
  EXPECT_FALSE(changed()) << "a renewal alone is no change";
  declare(invite, id, {service("y.b.eu")}, kStart + 60s);
  EXPECT_TRUE(changed());
  EXPECT_EQ(match("x.b.eu"), nullptr);
  EXPECT_NE(match("y.b.eu"), nullptr);
  declare(invite, id, {service("elsewhere.org")}, kStart + 60s);
  EXPECT_TRUE(changed()) << "an agent with nothing accepted serves nothing";
  EXPECT_EQ(leases_.size(), 0u);
  declare(invite, id, {service("elsewhere.org")}, kStart + 60s);
  EXPECT_FALSE(changed());
}

TEST_F(LeasesTest, ADeltaTellsWhatChangedAndNothingElse) {
  Invite big = make_invite({"*.big.eu"});
  for (int i = 0; i < 60; ++i) {
    std::vector<DeclaredService> services;
    for (int j = 0; j < 100; ++j) services.push_back(service(fmt::format("h{}-{}.big.eu", i, j)));
    declare(big, agent(), services);
  }
  auto all = leases_.take_delta();
  ASSERT_TRUE(all);
  EXPECT_EQ(all->upserts.size(), 6000u);

  Invite small = make_invite({"*.small.eu"});
  EndpointId one = agent(), two = agent();
  declare(small, one, {service("a.small.eu"), service("b.small.eu"), service("c.small.eu")});
  auto delta = leases_.take_delta();
  ASSERT_TRUE(delta);
  EXPECT_EQ(delta->from, all->to);
  EXPECT_EQ(delta->upserts.size(), 3u) << "whatever another tenant has";
  EXPECT_TRUE(delta->removals.empty());
  declare(small, two, {service("a.small.eu"), service("b.small.eu")});
  (void)changed();

  // One more, one fewer, one in another mode: the rest is not touched, nor is its order of agents.
  declare(small, one,
          {service("d.small.eu"), service("a.small.eu"), service("c.small.eu", TlsMode::kTerminate)});
  delta = leases_.take_delta();
  ASSERT_TRUE(delta);
  std::vector<std::string> changed_names;
  for (const route::Route& each : delta->upserts) changed_names.push_back(each.match.text());
  EXPECT_EQ(changed_names, (std::vector<std::string>{"b.small.eu", "c.small.eu", "d.small.eu"}));
  EXPECT_EQ(delta->upserts[0].targets, std::vector<route::Target>{{two}});
  EXPECT_EQ(delta->upserts[1].tls_mode, TlsMode::kTerminate);
  EXPECT_EQ(match("a.small.eu")->targets, (std::vector<route::Target>{{one}, {two}}));
  EXPECT_EQ(match("a.small.eu")->tenant, small.tenant);

  leases_.end_agent(one);
  delta = leases_.take_delta();
  ASSERT_TRUE(delta);
  EXPECT_EQ(delta->removals,
            (std::vector{route::RouteId(pattern("c.small.eu")), route::RouteId(pattern("d.small.eu"))}));
  EXPECT_EQ(delta->upserts.size(), 1u) << "a.small.eu, which the other serves";
}

TEST_F(LeasesTest, WhatChangesAndChangesBackBetweenTwoDeltasIsNoChange) {
  Invite invite = make_invite({"*.b.eu"});
  EndpointId id = agent(), other = agent();
  declare(invite, id, {service("x.b.eu")});
  auto first = leases_.take_delta();
  declare(invite, other, {service("x.b.eu"), service("y.b.eu")});
  declare(invite, id, {service("x.b.eu", TlsMode::kTerminate)});  // refused: the other lives
  leases_.end_agent(other);
  declare(invite, id, {service("x.b.eu")});
  EXPECT_NE(match("x.b.eu")->targets, std::vector<route::Target>{});
  EXPECT_FALSE(changed());
  EXPECT_EQ(leases_.snapshot()->version(), first->to);
}

// What a follower has that takes every delta, and what it has that takes everything.
TEST_F(LeasesTest, DeltasLeadToTheSameRoutesAsASnapshot) {
  std::vector<Invite> invites{make_invite({"*.a.eu"}), make_invite({"*.b.eu"})};
  std::vector<EndpointId> agents;
  for (int i = 0; i < 6; ++i) agents.push_back(agent());
  TimePoint now = kStart;
  route::SnapshotPtr followed = std::make_shared<route::Snapshot>();
  for (int step = 0; step < 500; ++step) {
    now += std::chrono::seconds(random_.below(10));
    for (uint64_t changes = random_.below(3); changes > 0; --changes) {
      const size_t tenant = random_.below(invites.size());
      const EndpointId& id = agents[tenant * 3 + random_.below(3)];
      switch (random_.below(8)) {
        case 0:
          leases_.end_agent(id);
          break;
        case 1:
          leases_.expire(now, kWall);
          break;
        case 2:
          leases_.end_invite(invites[tenant].id);
          break;
        default: {
          std::vector<DeclaredService> services;
          for (const char* name : {"x", "y", "z", "*"}) {
            if (random_.below(2) == 0) continue;
            services.push_back(service(fmt::format("{}.{}.eu", name, tenant == 0 ? "a" : "b"),
                                       random_.below(4) == 0 ? TlsMode::kTerminate : TlsMode::kPassthrough));
          }
          declare(invites[tenant], id, services, now);
        }
      }
    }
    if (auto delta = leases_.take_delta()) {
      auto applied = followed->apply(*delta);
      ASSERT_TRUE(applied) << applied.error().message;
      followed = *applied;
    }
    const auto complete = leases_.snapshot();
    ASSERT_EQ(followed->version(), complete->version());
    ASSERT_TRUE(followed->changes_to(*complete).empty());
  }
  EXPECT_GT(followed->version(), 100u);
}

TEST_F(LeasesTest, EndsALeaseAtItsDeadlineAndNotBefore) {
  Invite invite = make_invite({"*.b.eu"});
  declare(invite, agent(), {service("x.b.eu")}, kStart);
  EndpointId renewing = agent();
  declare(invite, renewing, {service("x.b.eu")}, kStart);
  declare(invite, renewing, {service("x.b.eu")}, kStart + 60s);
  EXPECT_EQ(leases_.next_expiry(kStart, kWall), kStart + 90s);
  leases_.expire(kStart + 90s - 1ns, kWall);
  EXPECT_EQ(match("x.b.eu")->targets.size(), 2u);
  (void)changed();
  leases_.expire(kStart + 90s, kWall);
  EXPECT_TRUE(changed());
  EXPECT_EQ(match("x.b.eu")->targets, std::vector<route::Target>{{renewing}});
  EXPECT_EQ(leases_.next_expiry(kStart + 90s, kWall), kStart + 150s);
  leases_.expire(kStart + 150s, kWall);
  EXPECT_EQ(match("x.b.eu"), nullptr);
  EXPECT_EQ(leases_.next_expiry(kStart + 150s, kWall), std::nullopt);
}

TEST_F(LeasesTest, AnAgentThatComesBackIsServedAtOnce) {
  Invite invite = make_invite({"*.b.eu"});
  EndpointId id = agent();
  declare(invite, id, {service("x.b.eu")}, kStart);
  leases_.expire(kStart + 200s, kWall);
  (void)changed();
  declare(invite, id, {service("x.b.eu")}, kStart + 200s);
  EXPECT_TRUE(changed());
  EXPECT_NE(match("x.b.eu"), nullptr);
}

TEST_F(LeasesTest, AnExpiredInviteIsNoLongerServed) {
  Invite invite = make_invite({"*.b.eu"}, kWall + 20s);
  Invite forever = make_invite({"*.c.eu"});
  declare(invite, agent(), {service("x.b.eu")});
  declare(forever, agent(), {service("x.c.eu")});
  EXPECT_EQ(match("x.b.eu")->ends_at, kWall + 20s) << "edges know, also when no hub is left to tell them";
  EXPECT_EQ(match("x.c.eu")->ends_at, std::nullopt);
  EXPECT_EQ(leases_.next_expiry(kStart, kWall), kStart + 20s);
  leases_.expire(kStart + 19s, kWall + 19s);
  EXPECT_NE(match("x.b.eu"), nullptr);
  leases_.expire(kStart + 20s, kWall + 20s);
  EXPECT_EQ(match("x.b.eu"), nullptr);
  EXPECT_NE(match("x.c.eu"), nullptr);
}

TEST_F(LeasesTest, LooksAgainForAWallClockThatIsSet) {
  Invite invite = make_invite({"*.b.eu"}, kWall + std::chrono::days(3650));
  declare(invite, agent(), {service("x.b.eu")});
  EXPECT_EQ(leases_.next_expiry(kStart, kWall), kStart + Leases::kMaxWallWait);
  leases_.expire(kStart + 1s, kWall + std::chrono::days(3650));
  EXPECT_EQ(match("x.b.eu"), nullptr);
}

TEST_F(LeasesTest, ReplicasShareAHostname) {
  Invite invite = make_invite({"*.b.eu"});
  EndpointId one = agent();
  EndpointId two = agent();
  EXPECT_EQ(declare(invite, one, {service("x.b.eu")}), "y");
  EXPECT_EQ(declare(invite, two, {service("x.b.eu"), service("y.b.eu")}), "yy");
  EXPECT_EQ(match("x.b.eu")->targets,
            (std::vector<route::Target>{{std::min(one, two)}, {std::max(one, two)}}));
  EXPECT_EQ(match("y.b.eu")->targets, std::vector<route::Target>{{two}});
  leases_.end_agent(one);
  EXPECT_EQ(match("x.b.eu")->targets, std::vector<route::Target>{{two}});
  leases_.end_agent(one);
  leases_.end_agent(two);
  EXPECT_EQ(match("x.b.eu"), nullptr);
}

TEST_F(LeasesTest, ReplicasMustAgreeOnTheTlsMode) {
  Invite invite = make_invite({"*.b.eu"});
  EndpointId one = agent();
  EndpointId two = agent();
  EXPECT_EQ(declare(invite, one, {service("x.b.eu")}), "y");
  EXPECT_EQ(declare(invite, one, {service("x.b.eu", TlsMode::kTerminate)}), "y")
      << "alone it may change its mind";
  EXPECT_EQ(declare(invite, two, {service("x.b.eu"), service("y.b.eu")}), "ny");
  auto verdicts = leases_.declare(invite, two, {service("x.b.eu")}, kStart);
  EXPECT_NE((*verdicts)[0].reason.find("conflict with agent " + one.short_text()), std::string::npos);
  EXPECT_EQ(declare(invite, two, {service("x.b.eu", TlsMode::kTerminate)}), "y");
  EXPECT_EQ(declare(invite, one, {service("x.b.eu")}), "n") << "now another holds it too";
  EXPECT_EQ(match("x.b.eu")->targets, std::vector<route::Target>{{two}});
  EXPECT_EQ(declare(invite, two, {service("x.b.eu")}), "y");
}

TEST_F(LeasesTest, TheNewestModeWinsOnceEveryOtherAgentIsSilent) {
  Invite invite = make_invite({"*.b.eu"});
  EndpointId one = agent(), two = agent(), newest = agent();
  declare(invite, one, {service("x.b.eu"), service("y.b.eu")});
  declare(invite, two, {service("x.b.eu")});
  const std::vector<DeclaredService> other_mode{service("x.b.eu", TlsMode::kTerminate)};
  leases_.heard({one, kStart + 3s});
  auto refused = leases_.declare(invite, newest, other_mode, kStart + 9s);
  EXPECT_FALSE((*refused)[0].accepted) << "one was heard 6 s ago";
  EXPECT_EQ((*refused)[0].retry_after, 2s) << "then it is silent, if it is not heard again";
  EXPECT_NE((*refused)[0].reason.find(one.short_text()), std::string::npos) << (*refused)[0].reason;
  EXPECT_EQ(match("x.b.eu")->targets.size(), 2u);

  (void)changed();
  EXPECT_EQ(declare(invite, newest, other_mode, kStart + 10s), "y");
  EXPECT_TRUE(changed());
  EXPECT_EQ(match("x.b.eu")->tls_mode, TlsMode::kTerminate);
  EXPECT_EQ(match("x.b.eu")->targets, std::vector<route::Target>{{newest}});
  EXPECT_EQ(match("y.b.eu")->targets, std::vector<route::Target>{{one}}) << "its other names stay";
  EXPECT_EQ(leases_.size(), 2u) << "and one that is left without any holds no lease";
  // Those that were silent come back: now the newest lives.
  EXPECT_EQ(declare(invite, one, {service("x.b.eu"), service("y.b.eu")}, kStart + 11s), "ny");
  EXPECT_EQ(declare(invite, two, {service("x.b.eu")}, kStart + 11s), "n");
  EXPECT_EQ(match("x.b.eu")->targets, std::vector<route::Target>{{newest}});
  // Every lease still ends by itself.
  leases_.expire(kStart + 11s + Leases::kLifetime, kWall);
  EXPECT_EQ(leases_.size(), 0u);
}

TEST_F(LeasesTest, AnAgentWhoseTunnelClosedMayComeBackBeforeItIsTakenForDead) {
  Invite invite = make_invite({"*.b.eu"});
  EndpointId one = agent(), newest = agent();
  const std::vector<DeclaredService> other_mode{service("x.b.eu", TlsMode::kTerminate)};
  declare(invite, one, {service("x.b.eu")});
  leases_.heard({one, kStart + 20s});
  leases_.tunnel_closed(one, kStart + 20s);
  EXPECT_EQ(declare(invite, newest, other_mode, kStart + 20s + Leases::kReturnTime - 1ns), "n");
  leases_.heard({one, kStart + 22s});
  EXPECT_EQ(declare(invite, newest, other_mode, kStart + 20s + Leases::kReturnTime), "n") << "it is back";
  leases_.tunnel_closed(one, kStart + 24s);
  EXPECT_EQ(declare(invite, newest, other_mode, kStart + 24s + Leases::kReturnTime), "y");
  leases_.tunnel_closed(one, kStart + 30s);  // has no lease
  EXPECT_EQ(leases_.size(), 1u);
}

TEST_F(LeasesTest, ATunnelThatIsHeardRenewsALeaseAndNeverBringsOneBack) {
  Invite invite = make_invite({"*.b.eu"}, kWall + 400s);
  EndpointId id = agent();
  declare(invite, id, {service("x.b.eu")});
  (void)changed();
  TimePoint now = kStart;
  for (; now < kStart + 300s; now += 2s) {
    leases_.heard({id, now});
    leases_.expire(now, kWall + (std::chrono::ceil<std::chrono::seconds>(now - kStart)));
    ASSERT_NE(match("x.b.eu"), nullptr) << (now - kStart).count();
  }
  EXPECT_FALSE(changed());
  leases_.heard({id, kStart});  // a report that comes late takes nothing back
  leases_.expire(now + Leases::kLifetime - 3s, kWall + 300s);
  EXPECT_EQ(leases_.size(), 1u);
  EXPECT_EQ(match("x.b.eu")->targets, std::vector<route::Target>{{id}}) << "what it declared last";

  leases_.heard({id, now});
  leases_.expire(now, kWall + 400s);
  EXPECT_EQ(leases_.size(), 0u) << "the invite has expired";
  leases_.heard({id, now});
  EXPECT_EQ(leases_.size(), 0u);
  EXPECT_EQ(match("x.b.eu"), nullptr);

  Invite another = make_invite({"*.c.eu"});
  declare(another, id, {service("x.c.eu")}, now);
  leases_.end_invite(another.id);
  leases_.heard({id, now + 1s});
  EXPECT_EQ(leases_.size(), 0u) << "revoked";
  EXPECT_EQ(leases_.next_expiry(now, kWall), std::nullopt);
}

TEST_F(LeasesTest, CountsTheOtherAgentsOfAName) {
  Invite invite = make_invite({"*.b.eu"});
  EndpointId one = agent(), two = agent();
  auto others = [&](const EndpointId& id, TimePoint now) {
    return (*leases_.declare(invite, id, {service("x.b.eu")}, now))[0].others;
  };
  EXPECT_EQ(others(one, kStart), 0u);
  EXPECT_EQ(others(two, kStart + 1s), 1u);
  EXPECT_EQ(others(one, kStart + 2s), 1u);
  leases_.heard({one, kStart + 20s});
  EXPECT_EQ(others(two, kStart + 21s), 1u);
  EXPECT_EQ(others(two, kStart + 20s + Leases::kSilence), 0u) << "a dead one does not count";
}

TEST_F(LeasesTest, ALeaseGoesOnWithTheRateOfTheAgentsFormerOne) {
  const Invite invite = make_invite({"*.a.eu"}), other = make_invite({"*.b.eu"});
  const EndpointId id = agent();
  EXPECT_EQ(declare(invite, id, {service("x.a.eu")}), "y");
  for (uint32_t i = 0; i < Leases::kRenewBurst; ++i)
    EXPECT_TRUE(leases_.renewals(invite.id, id)->allow(kStart));
  leases_.end_agent(id);
  EXPECT_EQ(declare(invite, id, {service("x.a.eu")}), "y");
  EXPECT_FALSE(leases_.renewals(invite.id, id)->allow(kStart));
  EXPECT_TRUE(leases_.renewals(invite.id, id)->allow(kStart + Leases::kRenewInterval));
  leases_.end_agent(id);
  EXPECT_EQ(declare(other, id, {service("x.b.eu")}), "y");
  EXPECT_TRUE(leases_.renewals(other.id, id)->allow(kStart)) << "another tenant has used nothing up";
}

TEST_F(LeasesTest, RevokingEndsAllLeasesOfThatInviteOnly) {
  Invite invite = make_invite({"*.b.eu"});
  Invite other = make_invite({"*.c.eu"});
  declare(invite, agent(), {service("x.b.eu")});
  declare(invite, agent(), {service("x.b.eu"), service("y.b.eu")});
  EndpointId stays = agent();
  declare(other, stays, {service("x.c.eu")});
  (void)changed();
  leases_.end_invite(invite.id);
  EXPECT_TRUE(changed());
  EXPECT_EQ(match("x.b.eu"), nullptr);
  EXPECT_EQ(match("y.b.eu"), nullptr);
  EXPECT_TRUE(routes_->serves(stays));
  EXPECT_EQ(routes_->size(), 1u);
}

TEST_F(LeasesTest, NobodyTakesAnotherInvitesAgentOrName) {
  Invite invite = make_invite({"*.b.eu"});
  // Never both live at once in the store; the routes must hold even so.
  Invite thief = make_invite({"*.b.eu", "*.c.eu"});
  EndpointId id = agent();
  declare(invite, id, {service("x.b.eu")});
  EXPECT_EQ(declare(thief, agent(), {service("x.b.eu"), service("x.c.eu")}), "ny");
  auto stolen = leases_.declare(thief, id, {service("y.c.eu")}, kStart);
  ASSERT_FALSE(stolen.has_value());
  EXPECT_EQ(stolen.error().code, ErrorCode::kConflict);
  EXPECT_EQ(match("x.b.eu")->tenant, invite.tenant);
}

TEST_F(LeasesTest, AnAgentIdBelongsToTheDeclarationThatProvesIt) {
  Invite squatter = make_invite({"*.b.eu"});
  Invite owner = make_invite({"*.c.eu"});
  EndpointId id = agent();
  EXPECT_EQ(declare(squatter, id, {service("x.b.eu")}), "y");
  EXPECT_FALSE(leases_.declare(owner, id, {service("x.c.eu")}, kStart).has_value());
  ASSERT_TRUE(leases_.declare(owner, id, {service("x.c.eu")}, kStart, {.is_proven = true}).has_value());
  EXPECT_EQ(match("x.b.eu"), nullptr);
  EXPECT_EQ(match("x.c.eu")->targets, std::vector<route::Target>{{id}});
  EXPECT_EQ(leases_.size(), 1u);
  EXPECT_FALSE(leases_.declare(squatter, id, {service("x.b.eu")}, kStart).has_value());
  EXPECT_EQ(declare(owner, id, {service("x.c.eu")}), "y") << "a renewal without the proof";
  EXPECT_FALSE(leases_.declare(squatter, id, {service("x.b.eu")}, kStart).has_value());
}

TEST_F(LeasesTest, ARefusalAtTheLimitLeavesTheOtherInvitesLease) {
  Invite squatter = make_invite({"*.b.eu"});
  Invite owner = make_invite({"*.c.eu"});
  EndpointId id = agent();
  EXPECT_EQ(declare(squatter, id, {service("x.b.eu")}), "y");
  for (size_t i = 0; i < Leases::kMaxPerInvite; ++i)
    ASSERT_EQ(declare(owner, agent(), {service("x.c.eu")}), "y");
  (void)changed();
  auto refused = leases_.declare(owner, id, {service("x.c.eu")}, kStart, {.is_proven = true});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kLimit);
  EXPECT_FALSE(changed()) << "an error changes nothing";
  EXPECT_EQ(match("x.b.eu")->targets, std::vector<route::Target>{{id}});
}

TEST_F(LeasesTest, ANameThatALeaseOfAnotherInviteHoldsIsFreeOnceThatGivesWay) {
  Invite squatter = make_invite({"x.eu"});
  Invite owner = make_invite({"x.eu"});
  EndpointId id = agent();
  EXPECT_EQ(declare(squatter, id, {service("x.eu")}), "y");
  auto verdicts =
      leases_.declare(owner, id, {service("x.eu", TlsMode::kTerminate)}, kStart, {.is_proven = true});
  ASSERT_TRUE(verdicts && verdicts->front().accepted);
  EXPECT_EQ(match("x.eu")->tenant, owner.tenant);
  EXPECT_EQ(match("x.eu")->tls_mode, TlsMode::kTerminate);
}

TEST_F(LeasesTest, BoundsTheLeasesOfOneInvite) {
  Invite invite = make_invite({"*.b.eu"});
  EndpointId first = agent();
  declare(invite, first, {service("x.b.eu")});
  for (size_t i = 1; i < Leases::kMaxPerInvite; ++i)
    ASSERT_EQ(declare(invite, agent(), {service("x.b.eu")}), "y");
  auto refused = leases_.declare(invite, agent(), {service("x.b.eu")}, kStart);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kLimit);
  EXPECT_EQ(declare(invite, first, {service("y.b.eu")}), "y") << "an agent with a lease keeps it";
  EXPECT_EQ(declare(make_invite({"*.c.eu"}), agent(), {service("x.c.eu")}), "y") << "others have their own";
  leases_.end_agent(first);
  EXPECT_EQ(declare(invite, agent(), {service("x.b.eu")}), "y");
  leases_.end_invite(invite.id);
  EXPECT_EQ(declare(invite, agent(), {service("x.b.eu")}), "y");
}

// As the database returns it to another start of the hub.
TEST_F(LeasesTest, AnExclusiveAgentEndsTheOthersLeasesAndTheyDoNotFight) {
  const Invite invite = make_invite({"*.a.eu"}), other = make_invite({"*.b.eu"});
  const EndpointId a = agent(), b = agent(), c = agent(), d = agent();
  EXPECT_EQ(declare(invite, a, {service("x.a.eu", TlsMode::kTerminate)}), "y");
  EXPECT_EQ(declare(invite, b, {service("y.a.eu")}), "y");
  EXPECT_EQ(declare(other, d, {service("x.b.eu")}), "y");
  const auto exclusive = [&](const EndpointId& id) {
    return leases_.declare(invite, id, {service("x.a.eu")}, kStart, {.is_exclusive = true});
  };
  ASSERT_TRUE(leases_.declare(invite, c, {}, kStart, {.is_exclusive = true}));
  ASSERT_TRUE(leases_.declare(invite, c, {service("x.org")}, kStart, {.is_exclusive = true}));
  for (const LeaseTerms& terms :
       {LeaseTerms{.is_exclusive = true, .owns = [](const auto&) { return false; }},
        LeaseTerms{.is_exclusive = true, .mode_of = [](const auto&) { return TlsMode::kTerminate; }}})
    EXPECT_FALSE(leases_.declare(invite, c, {service("x.a.eu")}, kStart, terms).value()[0].accepted);
  EXPECT_EQ(leases_.size(), 3u) << "one that serves nothing takes nothing";
  ASSERT_TRUE(exclusive(c).value()[0].accepted) << "in another mode than the one that it evicts";
  EXPECT_EQ(leases_.size(), 2u) << "and that of another tenant";
  EXPECT_EQ(match("x.a.eu")->targets, std::vector<route::Target>{{c}});

  for (const EndpointId& evicted : {a, b}) {
    EXPECT_NE(declare(invite, evicted, {service("y.a.eu")}).find("is exclusive"), std::string::npos);
    EXPECT_EQ(exclusive(evicted).error().code, ErrorCode::kConflict) << "saying so as well does not help";
  }
  const EndpointId late = agent();
  EXPECT_NE(declare(invite, late, {service("y.a.eu")}).find("is exclusive"), std::string::npos);
  EXPECT_TRUE(exclusive(c)) << "renews";
  // One that starts later takes its place, and that of all before.
  const EndpointId next = agent();
  EXPECT_TRUE(exclusive(next));
  for (const EndpointId& evicted : {a, b, c}) EXPECT_FALSE(exclusive(evicted));
  leases_.end_agent(next);
  EXPECT_EQ(declare(invite, a, {service("x.a.eu")}), "y") << "it is gone";
  EXPECT_EQ(declare(invite, b, {service("y.a.eu")}), "y");
}

TEST_F(LeasesTest, AnAgentThatIsNoLongerExclusiveLetsOthersIn) {
  const Invite invite = make_invite({"*.a.eu"});
  const EndpointId a = agent(), b = agent();
  EXPECT_EQ(declare(invite, b, {service("x.a.eu")}), "y");
  ASSERT_TRUE(leases_.declare(invite, a, {service("x.a.eu")}, kStart, {.is_exclusive = true}));
  EXPECT_EQ(declare(invite, a, {service("x.a.eu")}), "y");
  EXPECT_EQ(declare(invite, b, {service("x.a.eu")}), "y");
}

TEST_F(LeasesTest, WhomItEvictedIsRememberedWithinABound) {
  const Invite invite = make_invite({"*.a.eu"});
  std::vector<EndpointId> agents;
  for (size_t i = 0; i < Leases::kMaxPerInvite + 10; ++i) {
    agents.push_back(agent());
    ASSERT_TRUE(leases_.declare(invite, agents.back(), {service("x.a.eu")}, kStart, {.is_exclusive = true}));
  }
  EXPECT_EQ(leases_.all().at(agents.back()).evicted.size(), Leases::kMaxPerInvite);
  EXPECT_TRUE(leases_.why_evicted(invite.id, agents[agents.size() - 2], true));
}

TEST_F(LeasesTest, QuotasOfHostnamesAndAgentsHoldForAllAgentsTogether) {
  const Invite invite = make_invite({"*.a.eu"});
  const EndpointId a = agent(), b = agent();
  const LeaseTerms terms{.limits = {.hostnames = 3, .agents = 2}};
  const auto declare_within = [&](const EndpointId& id, const std::vector<DeclaredService>& services) {
    auto verdicts = leases_.declare(invite, id, services, kStart, terms);
    if (!verdicts) return verdicts.error().message;
    std::string out;
    for (const auto& verdict : *verdicts) out += verdict.accepted ? 'y' : 'n';
    return out;
  };
  EXPECT_EQ(declare_within(a, {service("1.a.eu"), service("2.a.eu"), service("*.a.eu"), service("4.a.eu")}),
            "yyyn");
  EXPECT_EQ(declare_within(a, {service("1.a.eu"), service("2.a.eu"), service("*.a.eu"), service("4.a.eu")}),
            "yyyn")
      << "a renewal changes nothing";
  EXPECT_EQ(declare_within(b, {service("4.a.eu"), service("1.a.eu")}), "ny") << "a replica takes no place";
  EXPECT_EQ(declare_within(a, {service("1.a.eu"), service("5.a.eu")}), "yy")
      << "what goes makes room at once";
  EXPECT_EQ(declare_within(b, {service("4.a.eu"), service("1.a.eu"), service("6.a.eu")}), "yyn");
  EXPECT_NE(declare_within(agent(), {service("1.a.eu")}).find("2 agents hold leases"), std::string::npos);
  leases_.end_agent(a);
  EXPECT_EQ(declare_within(b, {service("4.a.eu"), service("1.a.eu"), service("6.a.eu"), service("7.a.eu")}),
            "yyyn");
}

TEST_F(LeasesTest, ALoweredQuotaEndsTheSilentAgentsAndTheLastHostnames) {
  const Invite invite = make_invite({"*.a.eu"});
  std::vector<EndpointId> agents;
  for (size_t i = 0; i < 3; ++i) {
    agents.push_back(agent());
    EXPECT_EQ(declare(invite, agents[i], {service("a.a.eu"), service(fmt::format("x{}.a.eu", i))}), "yy");
  }
  leases_.begin_hearing(agents[1]);
  leases_.set_invite(invite, nullptr, {.hostnames = 4, .agents = 3});
  EXPECT_EQ(leases_.size(), 3u);
  leases_.set_invite(invite, nullptr, {.hostnames = 2, .agents = 2});
  EXPECT_EQ(leases_.size(), 2u);
  EXPECT_TRUE(leases_.all().contains(agents[1])) << "it is heard";
  EXPECT_EQ(leases_.route_count(), 2u);
  leases_.set_invite(invite, nullptr, {.hostnames = 1, .agents = 1});
  ASSERT_NE(match("a.a.eu"), nullptr);
  EXPECT_EQ(match("a.a.eu")->targets, std::vector<route::Target>{{agents[1]}});
  EXPECT_EQ(leases_.route_count(), 1u);
}

class StoredLeasesTest : public LeasesTest {
 protected:
  std::vector<Record> store() {
    std::vector<Record> records = leases_.unstored().records;
    for (const Record& record : records) leases_.apply(record, nullptr, kStart);
    return records;
  }
};

TEST_F(StoredLeasesTest, AnotherStartOfTheHubGoesOnWithThem) {
  const Invite invite = make_invite({"*.a.eu"});
  const EndpointId first = agent(), second = agent();
  EXPECT_EQ(declare(invite, first, {service("x.a.eu", TlsMode::kTerminate), service("y.a.eu")}), "yy");
  EXPECT_EQ(declare(invite, second, {service("x.a.eu", TlsMode::kTerminate)}), "y");
  const std::vector<Record> records = store();
  EXPECT_EQ(records.size(), 2u);
  EXPECT_FALSE(leases_.has_unstored());
  EXPECT_EQ(declare(invite, first, {service("x.a.eu", TlsMode::kTerminate), service("y.a.eu")}, kStart + 30s),
            "yy");
  EXPECT_FALSE(leases_.has_unstored()) << "a renewal writes nothing";
  match("x.a.eu");
  const route::SnapshotPtr before = routes_;

  leases_ = Leases();
  for (const Record& record : records) leases_.apply(record, &invite, kStart + 60s);
  EXPECT_FALSE(leases_.has_unstored());
  match("x.a.eu");
  EXPECT_TRUE(before->changes_to(*routes_).empty());
  leases_.expire(kStart + 60s + Leases::kLifetime - 1ns, kWall);
  EXPECT_EQ(leases_.size(), 2u);
  leases_.expire(kStart + 60s + Leases::kLifetime, kWall);
  EXPECT_EQ(leases_.size(), 0u) << "an agent that does not come back";
  ASSERT_EQ(leases_.unstored().records.size(), 2u);
  EXPECT_FALSE(leases_.unstored().records[0].body);
}

TEST_F(StoredLeasesTest, LeasesWithoutALiveInviteAndDamagedOnesAreRemoved) {
  const Invite invite = make_invite({"*.a.eu"});
  EXPECT_EQ(declare(invite, agent(), {service("x.a.eu", TlsMode::kTerminate)}), "y");
  Record record = store().at(0);
  const std::string body = *record.body;
  for (const std::string& damaged :
       {std::string("{}"), std::string("nonsense"), body.substr(0, body.size() - 2)}) {
    leases_ = Leases();
    record.body = damaged;
    leases_.apply(record, &invite, kStart);
    EXPECT_EQ(leases_.size(), 0u) << damaged;
    ASSERT_EQ(leases_.unstored().records.size(), 1u);
    EXPECT_FALSE(leases_.unstored().records[0].body);
  }
  leases_ = Leases();
  record.body = body;
  leases_.apply(record, nullptr, kStart);
  EXPECT_EQ(leases_.size(), 0u);
  EXPECT_TRUE(leases_.has_unstored());
}

TEST_F(StoredLeasesTest, WhatChangesWhileItIsBeingStoredIsStoredAgain) {
  const Invite invite = make_invite({"*.a.eu"});
  const EndpointId id = agent();
  EXPECT_EQ(declare(invite, id, {service("x.a.eu", TlsMode::kTerminate)}), "y");
  const std::vector<Record> early = leases_.unstored().records;
  EXPECT_EQ(
      declare(invite, id, {service("x.a.eu", TlsMode::kTerminate), service("y.a.eu", TlsMode::kTerminate)}),
      "yy");
  leases_.apply(early[0], &invite, kStart);
  EXPECT_TRUE(leases_.has_unstored());
  EXPECT_NE(match("y.a.eu"), nullptr);
  store();
  EXPECT_FALSE(leases_.has_unstored());
}

// Two hubs granted one name in two modes.
TEST_F(StoredLeasesTest, WhatAnotherHubGrantedGivesWayToALeaseThatLives) {
  const Invite invite = make_invite({"*.a.eu"});
  const EndpointId theirs = agent();
  EXPECT_EQ(declare(invite, theirs, {service("x.a.eu"), service("y.a.eu")}), "yy");
  const Record record = store().at(0);
  leases_ = Leases();
  EXPECT_EQ(declare(invite, agent(), {service("x.a.eu", TlsMode::kTerminate)}), "y");
  store();
  leases_.apply(record, &invite, kStart);
  EXPECT_EQ(match("x.a.eu")->tls_mode, route::TlsMode::kTerminate);
  EXPECT_EQ(match("y.a.eu")->targets, std::vector<route::Target>{{theirs}});
  EXPECT_TRUE(leases_.is_unstored(theirs)) << "what is left of it";
}

TEST_F(StoredLeasesTest, PortsAndEvictionsAreStored) {
  const Invite invite = make_invite({"*.a.eu"});
  const EndpointId a = agent(), b = agent();
  EXPECT_EQ(declare(invite, a, {service("x.a.eu")}), "y");
  const LeaseTerms terms{.ports = {{route::PortProtocol::kTcp, "ssh", 2222}}, .is_exclusive = true};
  ASSERT_TRUE(leases_.declare(invite, b, {service("x.a.eu")}, kStart, terms));
  const std::vector<Record> records = store();
  leases_ = Leases();
  for (const Record& record : records) leases_.apply(record, &invite, kStart);
  routes_ = leases_.snapshot();
  const route::Route* route = routes_->match(route::PublicPort{route::PortProtocol::kTcp, 2222});
  ASSERT_NE(route, nullptr);
  EXPECT_EQ(route->service, "ssh");
  EXPECT_TRUE(leases_.why_evicted(invite.id, a, true)) << "also after a restart of the hub";
  EXPECT_FALSE(leases_.has_unstored());
}

}  // namespace
}  // namespace culvert::hub
