// Grants of several tenants that overlap: who has a name, and what its clients get while its owner is away.
#include <gtest/gtest.h>

#include "base/random.h"
#include "hub/invite_record.h"
#include "hub/state.h"

namespace culvert::hub {
namespace {

using namespace std::chrono_literals;
using route::TlsMode;

route::HostPattern pattern(std::string_view text) { return route::HostPattern::parse(text).value(); }

class OverlapTest : public testing::Test {
 protected:
  void SetUp() override {
    state_.invites.set_listener([this] { state_.follow_invites(wall_); });
  }

  EndpointId key() { return SecretKey::generate(random_).public_key(); }
  Invite make_invite(std::vector<std::string> hostnames, std::optional<UnixTime> expires_at = std::nullopt) {
    Invite invite{.id = {},
                  .name = "test",
                  .tenant = key(),
                  .secret_hash = {},
                  .hostnames = {},
                  .created_at = wall_,
                  .expires_at = expires_at};
    random_.fill(invite.id);
    for (const auto& text : hostnames) invite.hostnames.push_back(pattern(text));
    auto records = state_.invites.add(invite, wall_, true);
    EXPECT_TRUE(records) << records.error().message;
    if (records) state_.apply(*records, now_, wall_);
    return invite;
  }
  void change(Invite& invite, std::vector<std::string> hostnames) {
    invite.hostnames.clear();
    for (const auto& text : hostnames) invite.hostnames.push_back(pattern(text));
    auto records = state_.invites.change(invite, wall_, true);
    ASSERT_TRUE(records) << records.error().message;
    state_.apply(*records, now_, wall_);
  }
  // Which were accepted, as "yn".
  std::string declare(const Invite& invite, const EndpointId& agent, std::vector<std::string> hostnames) {
    std::vector<hubapi::DeclaredService> services;
    for (const auto& text : hostnames) services.push_back({pattern(text), TlsMode::kTerminate});
    auto verdicts = state_.leases.declare(invite, agent, services, now_, {.owns = [&](const auto& hostname) {
                                            const Invite* owner = state_.invites.owner_of(hostname, wall_);
                                            return owner != nullptr && owner->id == invite.id;
                                          }});
    std::string out;
    for (const auto& verdict : verdicts.value()) out += verdict.accepted ? 'y' : 'n';
    return out;
  }
  // Whose agent gets a client: "-" for none, "?" for a name without a route.
  std::string tenant_at(std::string_view host) {
    const route::SnapshotPtr routes = state_.leases.snapshot();
    const route::Route* route = routes->match(host);
    if (route == nullptr) return "?";
    if (route->targets.empty()) {
      EXPECT_FALSE(route->tls_mode);
      return "-";
    }
    return route->tenant.to_string();
  }

  SeededRandom random_{5};
  State state_;
  TimePoint now_{std::chrono::hours(100)};
  UnixTime wall_{std::chrono::seconds(1'700'000'000)};
};

TEST_F(OverlapTest, OverlapsNeedTheOperatorsWordAndTheSameGrantIsNeverGivenTwice) {
  Invite one = make_invite({"*.a.eu", "b.eu"});
  Invite other = one;
  other.id.fill(9);
  other.tenant = key();
  const auto refused = [&](std::string hostname, bool allow_overlap) {
    other.hostnames = {pattern(hostname)};
    auto added = state_.invites.add(other, wall_, allow_overlap);
    return added ? "" : added.error().message;
  };
  EXPECT_NE(refused("app.a.eu", false).find("--allow-overlap"), std::string::npos);
  EXPECT_EQ(refused("app.a.eu", true), "");
  EXPECT_EQ(refused("*.eu", true), "");
  EXPECT_NE(refused("*.a.eu", true), "");
  EXPECT_NE(refused("b.eu", true), "");
  EXPECT_EQ(refused("evila.eu", false), "");
}

TEST_F(OverlapTest, AChangeJudgesOnlyWhatIsNewWhileTheInviteIsLive) {
  make_invite({"*.a.eu"});
  Invite other = make_invite({"app.a.eu"}, wall_ + 100s);
  other.name = "renamed";
  EXPECT_TRUE(state_.invites.change(other, wall_, false)) << "its overlap was allowed before";
  other.hostnames.push_back(pattern("db.a.eu"));
  EXPECT_FALSE(state_.invites.change(other, wall_, false));
  EXPECT_TRUE(state_.invites.change(other, wall_, true));
  other.hostnames.pop_back();
  other.expires_at.reset();
  EXPECT_FALSE(state_.invites.change(other, wall_ + 100s, false)) << "others could get it meanwhile";
}

TEST_F(OverlapTest, TheMostSpecificGrantHasANameAlsoWhileItsTenantIsAway) {
  const Invite wide = make_invite({"*.eu", "*.a.eu"});
  const Invite narrow = make_invite({"*.x.a.eu", "app.a.eu"});
  const EndpointId agent = key(), other = key();
  EXPECT_EQ(declare(wide, agent, {"*.a.eu", "app.a.eu", "y.x.a.eu", "*.x.a.eu", "x.a.eu", "*.b.eu"}),
            "ynnnyy");
  EXPECT_EQ(tenant_at("app.a.eu"), "-") << "not the wildcard's";
  EXPECT_EQ(tenant_at("b.a.eu"), wide.tenant.to_string());
  EXPECT_EQ(tenant_at("x.a.eu"), wide.tenant.to_string()) << "no wildcard has its apex";
  EXPECT_EQ(tenant_at("y.x.a.eu"), "?");
  EXPECT_EQ(declare(narrow, other, {"app.a.eu", "y.x.a.eu", "b.a.eu", "*.a.eu"}), "yynn");
  EXPECT_EQ(tenant_at("app.a.eu"), narrow.tenant.to_string());
  EXPECT_EQ(tenant_at("y.x.a.eu"), narrow.tenant.to_string());
  state_.leases.end_agent(other);
  EXPECT_EQ(tenant_at("app.a.eu"), "-");
  EXPECT_EQ(tenant_at("y.x.a.eu"), "?");
}

TEST_F(OverlapTest, ANameChangesHandsWithItsGrant) {
  const Invite wide = make_invite({"*.a.eu"});
  const EndpointId agent = key(), other = key();
  EXPECT_EQ(declare(wide, agent, {"*.a.eu", "app.a.eu", "y.x.a.eu"}), "yyy");
  EXPECT_EQ(tenant_at("app.a.eu"), wide.tenant.to_string());
  Invite narrow = make_invite({"app.a.eu", "*.x.a.eu"});
  EXPECT_EQ(tenant_at("app.a.eu"), "-") << "taken from the agent that served it";
  EXPECT_EQ(tenant_at("y.x.a.eu"), "?");
  EXPECT_EQ(declare(wide, agent, {"*.a.eu", "app.a.eu", "y.x.a.eu"}), "ynn");
  EXPECT_EQ(declare(narrow, other, {"app.a.eu"}), "y");

  change(narrow, {"other.a.eu"});
  EXPECT_EQ(tenant_at("app.a.eu"), wide.tenant.to_string()) << "the wildcard's agent gets it again";
  EXPECT_EQ(tenant_at("other.a.eu"), "-");
  ASSERT_TRUE(state_.invites.revoke(narrow.id, {}));
  EXPECT_EQ(tenant_at("other.a.eu"), wide.tenant.to_string());
  EXPECT_EQ(declare(wide, agent, {"*.a.eu", "app.a.eu", "y.x.a.eu"}), "yyy");
}

// A hub that was killed has stored a lease, and another one has stored a grant since: a third reads both at
// once, or what the first wrote last of all.
TEST_F(OverlapTest, ALeaseOfAnotherHubIsJudgedByTheGrantsOfNow) {
  const Invite wide = make_invite({"*.a.eu", "*.x.a.eu"});
  const EndpointId agent = key(), late = key();
  EXPECT_EQ(declare(wide, agent, {"y.x.a.eu", "b.a.eu"}), "yy");
  const std::vector<Record> stored = state_.unstored().records;
  ASSERT_EQ(stored.size(), 1U);
  state_.leases.end_agent(agent);
  for (const Record& record : state_.unstored().records) state_.apply(std::vector{record}, now_, wall_);

  const Invite narrow = make_invite({"y.x.a.eu"});
  state_.apply(stored, now_, wall_);
  EXPECT_EQ(tenant_at("y.x.a.eu"), "-") << "not an agent's of the wider grant";
  EXPECT_EQ(tenant_at("b.a.eu"), wide.tenant.to_string());
  EXPECT_TRUE(state_.leases.is_unstored(agent)) << "the record is put right";
  EXPECT_EQ(declare(narrow, late, {"y.x.a.eu"}), "y");
  EXPECT_EQ(tenant_at("y.x.a.eu"), narrow.tenant.to_string());
}

// Nothing is reserved below the wildcard of a deeper level, so that nothing stands in the way of the lease.
TEST_F(OverlapTest, ALeaseOfAnotherHubServesNoNameUnderANarrowerWildcard) {
  const Invite wide = make_invite({"*.a.eu"});
  const EndpointId agent = key();
  EXPECT_EQ(declare(wide, agent, {"y.x.a.eu"}), "y");
  const std::vector<Record> stored = state_.unstored().records;
  state_.leases.end_agent(agent);
  for (const Record& record : state_.unstored().records) state_.apply(std::vector{record}, now_, wall_);
  const Invite narrow = make_invite({"*.x.a.eu"}, wall_ + 100s);
  state_.apply(stored, now_, wall_);
  EXPECT_EQ(tenant_at("y.x.a.eu"), "?");
  EXPECT_FALSE(state_.leases.all().contains(agent));
  state_.apply(stored, now_, wall_ + 100s);
  EXPECT_EQ(tenant_at("y.x.a.eu"), "?") << "its end is to be stored first";
  for (const Record& record : state_.unstored().records) state_.apply(std::vector{record}, now_, wall_);
  state_.apply(stored, now_, wall_ + 100s);
  EXPECT_EQ(tenant_at("y.x.a.eu"), wide.tenant.to_string()) << "the narrower grant has expired";
}

TEST_F(OverlapTest, AReservedNameEndsWithTheInviteOrTheWildcard) {
  Invite wide = make_invite({"*.a.eu", "c.eu"});
  make_invite({"app.a.eu"}, wall_ + 100s);
  EXPECT_EQ(declare(wide, key(), {"*.a.eu"}), "y");
  EXPECT_EQ(tenant_at("app.a.eu"), "-");
  const auto next = state_.next_expiry(now_, wall_);
  ASSERT_TRUE(next);
  EXPECT_LE(*next, now_ + Leases::kMaxWallWait);
  wall_ += 100s;
  state_.expire(now_, wall_);
  EXPECT_EQ(tenant_at("app.a.eu"), wide.tenant.to_string());

  make_invite({"db.a.eu"});
  EXPECT_EQ(tenant_at("db.a.eu"), "-");
  change(wide, {"c.eu"});
  EXPECT_EQ(tenant_at("db.a.eu"), "?") << "nothing covers it any more";
}

TEST_F(OverlapTest, ASuspendedTenantsReservedNamesSaySo) {
  make_invite({"*.a.eu"});
  Invite narrow = make_invite({"app.a.eu"});
  narrow.suspended = true;
  state_.apply(std::vector{invite_record(narrow)}, now_, wall_);
  EXPECT_TRUE(state_.leases.snapshot()->match("app.a.eu")->is_suspended);
}

// However grants come and go: nobody serves a name that another has a more specific grant of, and no client
// of such a name gets to somebody else.
TEST_F(OverlapTest, NobodyEverServesANameOfAnother) {
  const std::vector<std::string> grants = {"*.eu",     "*.a.eu", "*.b.a.eu", "a.eu",  "b.a.eu",
                                           "c.b.a.eu", "x.a.eu", "*.c.eu",   "d.c.eu"};
  const std::vector<std::string> names = {"a.eu",   "b.a.eu", "c.b.a.eu", "x.a.eu",
                                          "d.c.eu", "z.eu",   "z.b.a.eu"};
  std::vector<Invite> invites;
  std::vector<EndpointId> agents;
  for (int i = 0; i < 4; ++i) {
    invites.push_back(make_invite({fmt::format("t{}.org", i)}));
    agents.push_back(key());
  }
  (void)state_.leases.take_delta();
  route::SnapshotPtr followed = state_.leases.snapshot();
  for (int step = 0; step < 3000; ++step) {
    const size_t who = random_.below(invites.size());
    if (random_.below(3) == 0) {
      Invite wanted = invites[who];
      wanted.hostnames = {pattern(fmt::format("t{}.org", who))};
      for (const auto& grant : grants) {
        if (random_.below(4) == 0) wanted.hostnames.push_back(pattern(grant));
      }
      if (auto records = state_.invites.change(wanted, wall_, true)) {
        invites[who] = wanted;
        state_.apply(*records, now_, wall_);
      }
    } else {
      std::vector<std::string> wanted;
      for (const auto& hostname : grants) {
        if (random_.below(3) == 0) wanted.push_back(hostname);
      }
      declare(invites[who], agents[who], wanted);
    }
    if (auto delta = state_.leases.take_delta()) {
      auto applied = followed->apply(*delta);
      ASSERT_TRUE(applied);
      followed = *applied;
    }
    ASSERT_TRUE(followed->changes_to(*state_.leases.snapshot()).empty()) << "the deltas tell all";
    for (const auto& name : names) {
      const route::Route* route = followed->match(name);
      if (route == nullptr) continue;
      const Invite* owner = state_.invites.owner_of(pattern(name), wall_);
      ASSERT_NE(owner, nullptr) << name;
      ASSERT_EQ(owner->tenant, route->tenant) << name << " by " << route->match.text();
    }
  }
}

}  // namespace
}  // namespace culvert::hub
