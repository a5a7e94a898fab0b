#include "hub/claims.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "hub/invite_record.h"
#include "hub/state.h"

namespace culvert::hub {
namespace {

using namespace std::chrono_literals;
using route::PortProtocol;
using route::PublicPort;

const UnixTime kWall{std::chrono::seconds(1'700'000'000)};
const TimePoint kStart{std::chrono::hours(100)};

PublicPort tcp(uint16_t number) { return {PortProtocol::kTcp, number}; }
PublicPort udp(uint16_t number) { return {PortProtocol::kUdp, number}; }

class ClaimsTest : public testing::Test {
 protected:
  void SetUp() override {
    state_.rules = rules_;
    state_.invites.set_listener([this] { state_.follow_invites(wall_); });
  }
  EndpointId agent() { return SecretKey::generate(random_).public_key(); }
  Invite make_invite() {
    Invite invite{.id = {},
                  .sequence = ++invites_,
                  .name = "test",
                  .tenant = agent(),
                  .secret_hash = {},
                  .hostnames = {route::HostPattern::parse(fmt::format("*.t{}.eu", invites_)).value()},
                  .created_at = kWall,
                  .expires_at = std::nullopt};
    random_.fill(invite.id);
    store({invite_record(invite)});
    return invite;
  }
  void store(std::vector<Record> records) {
    for (const Record& record : records) {
      database_.insert_or_assign({record.kind, record.key}, record);
      if (!record.body) database_.erase({record.kind, record.key});
    }
    state_.apply(records, now_, wall_);
  }
  // As the API does it: claims are stored until nothing is left to store, then the lease.
  std::vector<hubapi::PortVerdict> declare(const Invite& invite, const EndpointId& id,
                                           std::vector<hubapi::DeclaredPort> ports,
                                           bool is_exclusive = false) {
    state_.expire(now_, wall_);
    const Invite known = *state_.invites.find(invite.id).value();
    auto judged = state_.claims.judge(known, id, ports, rules_, state_.leases, now_);
    for (int tries = 0; !judged.records.empty(); ++tries) {
      EXPECT_LT(tries, 1) << "what one declaration wants is stored at once";
      if (tries > 2) break;
      store(judged.records);
      judged = state_.claims.judge(known, id, ports, rules_, state_.leases, now_);
    }
    LeaseTerms terms{.is_proven = true, .is_exclusive = is_exclusive};
    for (const auto& each : judged.verdicts) {
      EXPECT_EQ(each.accepted, each.reason.empty()) << each.reason;
      if (each.accepted) terms.ports.push_back({each.protocol, each.name, each.listen_port, each.more_ports});
    }
    EXPECT_TRUE(state_.leases.declare(known, id, {}, now_, terms));
    state_.expire(now_, wall_);
    return judged.verdicts;
  }
  // "ssh:2222" for what was accepted, and the reason otherwise.
  std::string declared(const Invite& invite, const EndpointId& id, hubapi::DeclaredPort port) {
    const auto verdict = declare(invite, id, {port}).at(0);
    return verdict.accepted ? fmt::format("{}:{}", verdict.name, verdict.listen_port) : verdict.reason;
  }
  std::string service_at(const PublicPort& port) {
    const Claims::Claim* claim = state_.claims.find(port);
    return claim == nullptr ? "-" : claim->service;
  }
  const route::Route* route_at(const PublicPort& port) {
    routes_ = state_.leases.snapshot();
    return routes_->match(port);
  }
  void pass(std::chrono::seconds time) {
    now_ += time;
    wall_ += time;
    state_.expire(now_, wall_);
  }
  // Another start of the hub, with what was stored in any order.
  void restart() {
    store(state_.unstored().records);
    std::vector<Record> records;
    for (const auto& [key, record] : database_) records.push_back(record);
    std::ranges::reverse(records);
    state_ = {};
    state_.apply(records, now_, wall_);
    SetUp();
    state_.follow_invites(wall_);
    state_.expire(now_, wall_);
  }

  SeededRandom random_{3};
  State state_;
  TenantRules rules_{.limits = {.tcp_ports = 3, .udp_ports = 2},
                     .ports = {.picked = {20000, 20003}, .own = {tcp(443), udp(443)}}};
  TimePoint now_ = kStart;
  UnixTime wall_ = kWall;
  int64_t invites_ = 0;
  std::map<std::pair<std::string, std::string>, Record> database_;
  route::SnapshotPtr routes_;
};

TEST_F(ClaimsTest, APortHasOneServiceOfOneTenantInEachProtocol) {
  const Invite one = make_invite(), two = make_invite();
  const EndpointId a = agent(), b = agent(), other = agent();
  EXPECT_EQ(declared(one, a, {PortProtocol::kTcp, "ssh", 2222}), "ssh:2222");
  EXPECT_EQ(declared(one, b, {PortProtocol::kTcp, "ssh", 2222}), "ssh:2222") << "a replica";
  EXPECT_EQ(declared(two, other, {PortProtocol::kTcp, "ssh", 2222}),
            "tcp/2222 is claimed by another tenant; choose another port");
  EXPECT_EQ(declared(two, other, {PortProtocol::kUdp, "ssh", 2222}), "ssh:2222")
      << "UDP has ports of its own";
  const std::string reason = declared(one, agent(), {PortProtocol::kTcp, "db", 2222});
  EXPECT_TRUE(reason.starts_with("tcp/2222 is claimed by \"ssh\", which agent ")) << reason;
  const route::Route* route = route_at(tcp(2222));
  ASSERT_NE(route, nullptr);
  EXPECT_EQ(route->service, "ssh");
  EXPECT_EQ(route->tenant, one.tenant);
  EXPECT_EQ(route->targets.size(), 2u);
  EXPECT_FALSE(route->tls_mode);
}

TEST_F(ClaimsTest, PortsOfTheNodeAndPrivilegedOnesAreRefusedUnlessGranted) {
  Invite invite = make_invite();
  const EndpointId id = agent();
  EXPECT_NE(declared(invite, id, {PortProtocol::kTcp, "web", 443}).find("the node itself uses tcp/443"),
            std::string::npos);
  EXPECT_NE(declared(invite, id, {PortProtocol::kTcp, "mail", 25}).find("is below 1024"), std::string::npos);
  EXPECT_NE(declared(invite, id, {PortProtocol::kTcp, "mail", 1023}).find("is below 1024"),
            std::string::npos);
  EXPECT_EQ(declared(invite, id, {PortProtocol::kTcp, "mail", 1024}), "mail:1024");
  invite.ports = {{25, 25}, {443, 443}, {3000, 3001}};
  store({invite_record(invite)});
  EXPECT_EQ(declared(invite, id, {PortProtocol::kTcp, "mail", 25}), "mail:25") << "the invite names it";
  EXPECT_NE(declared(invite, id, {PortProtocol::kTcp, "web", 443}).find("the node itself uses tcp/443"),
            std::string::npos)
      << "whoever says so";
  EXPECT_EQ(declared(invite, id, {PortProtocol::kTcp, "game", 3002}),
            "the invite does not grant tcp/3002; it grants 25, 443, 3000-3001");
  EXPECT_EQ(declared(invite, id, {PortProtocol::kTcp, "game", 0}).substr(0, 7), "game:30")
      << "picked from its own";
  invite.ports.clear();
  store({invite_record(invite)});
  EXPECT_NE(declared(invite, id, {PortProtocol::kTcp, "mail", 25}).find("is below 1024"), std::string::npos)
      << "what is claimed is judged again";
  rules_.ports.allow_privileged = true;
  EXPECT_EQ(declared(invite, id, {PortProtocol::kTcp, "mail", 25}), "mail:25");
}

TEST_F(ClaimsTest, AServiceMovesUnlessAnAgentThatLivesServesItWhereItIs) {
  const Invite invite = make_invite(), next = make_invite();
  const EndpointId a = agent(), b = agent();
  EXPECT_EQ(declared(invite, a, {PortProtocol::kTcp, "ssh", 2222}), "ssh:2222");
  EXPECT_EQ(declared(invite, a, {PortProtocol::kTcp, "ssh", 2223}), "ssh:2223");
  EXPECT_EQ(service_at(tcp(2222)), "-") << "the old port is free at once";
  EXPECT_EQ(route_at(tcp(2222)), nullptr);
  EXPECT_EQ(declared(next, agent(), {PortProtocol::kTcp, "ssh", 2222}), "ssh:2222");

  const auto verdict = declare(invite, b, {{PortProtocol::kTcp, "ssh", 2224}}).at(0);
  EXPECT_TRUE(verdict.reason.starts_with("conflict with agent ")) << verdict.reason;
  EXPECT_EQ(verdict.retry_after, 8s) << "when the other may be found silent";
  pass(8s);
  EXPECT_EQ(declared(invite, b, {PortProtocol::kTcp, "ssh", 2224}), "ssh:2224") << "the other is silent";
  EXPECT_EQ(service_at(tcp(2223)), "-");
  EXPECT_EQ(route_at(tcp(2223)), nullptr) << "the silent one holds it no more";
  EXPECT_EQ(route_at(tcp(2224))->targets, std::vector<route::Target>{{b}});
}

TEST_F(ClaimsTest, RenamesAndSwapsOfOneDeclarationDoNotDependOnTheOrder) {
  const Invite invite = make_invite();
  const EndpointId id = agent();
  declare(invite, id, {{PortProtocol::kTcp, "a", 2001}, {PortProtocol::kTcp, "b", 2002}});
  auto verdicts = declare(invite, id, {{PortProtocol::kTcp, "a", 2002}, {PortProtocol::kTcp, "b", 2001}});
  EXPECT_TRUE(verdicts[0].accepted && verdicts[1].accepted);
  EXPECT_EQ(service_at(tcp(2001)), "b");
  EXPECT_EQ(service_at(tcp(2002)), "a");
  EXPECT_EQ(route_at(tcp(2001))->service, "b");
  verdicts = declare(invite, id, {{PortProtocol::kTcp, "c", 2001}, {PortProtocol::kTcp, "a", 2002}});
  EXPECT_TRUE(verdicts[0].accepted && verdicts[1].accepted);
  EXPECT_EQ(service_at(tcp(2001)), "c") << "renamed";
  // One that names no port loses the one it had to a service that names it, wherever it stands.
  verdicts = declare(invite, id, {{PortProtocol::kTcp, "a", 0}, {PortProtocol::kTcp, "d", 2002}});
  EXPECT_EQ(service_at(tcp(2002)), "d");
  EXPECT_TRUE(verdicts[0].accepted);
  EXPECT_NE(verdicts[0].listen_port, 2002);
}

TEST_F(ClaimsTest, PicksAFreePortAndKeepsItForTheService) {
  const Invite one = make_invite(), two = make_invite();
  rules_.ports.own.insert(tcp(20000));
  std::set<uint16_t> given;
  const EndpointId a = agent(), b = agent();
  auto first = declare(one, a, {{PortProtocol::kTcp, "x", 0}, {PortProtocol::kTcp, "y", 0}});
  auto second = declare(two, b, {{PortProtocol::kTcp, "x", 0}, {PortProtocol::kTcp, "y", 0}});
  for (const auto* verdicts : {&first, &second}) {
    for (const auto& each : *verdicts) {
      if (each.accepted) given.insert(each.listen_port);
    }
  }
  EXPECT_EQ(given, (std::set<uint16_t>{20001, 20002, 20003})) << "all that are free, and not the node's own";
  EXPECT_EQ(second[1].reason, "no port is free of those that the hub picks from; name one");
  EXPECT_EQ(second[1].listen_port, 0);
  state_.leases.end_agent(a);
  pass(1h);
  EXPECT_EQ(declare(one, agent(), {{PortProtocol::kTcp, "x", 0}})[0].listen_port, first[0].listen_port);
  restart();
  EXPECT_EQ(declare(one, agent(), {{PortProtocol::kTcp, "y", 0}})[0].listen_port, first[1].listen_port);
}

TEST_F(ClaimsTest, AClaimOutlivesItsLeasesForAWeekAndARestart) {
  const Invite one = make_invite(), two = make_invite();
  const EndpointId a = agent();
  declare(one, a, {{PortProtocol::kTcp, "ssh", 2222}});
  restart();
  ASSERT_NE(route_at(tcp(2222)), nullptr) << "lease and claim were stored";
  EXPECT_EQ(state_.claims.find(tcp(2222))->idle_since, std::nullopt);
  pass(2min);
  EXPECT_EQ(route_at(tcp(2222)), nullptr) << "the lease is over";
  EXPECT_EQ(state_.claims.find(tcp(2222))->idle_since, wall_);
  pass(Claims::kReserved - 1s);
  EXPECT_NE(declared(two, agent(), {PortProtocol::kTcp, "x", 2222}).find("another tenant"),
            std::string::npos);
  restart();
  EXPECT_NE(declared(two, agent(), {PortProtocol::kTcp, "x", 2222}).find("another tenant"),
            std::string::npos);
  pass(1s);
  EXPECT_EQ(declared(two, agent(), {PortProtocol::kTcp, "x", 2222}), "x:2222");
}

TEST_F(ClaimsTest, AServiceThatComesBackEndsTheReservation) {
  const Invite invite = make_invite();
  const EndpointId a = agent();
  declare(invite, a, {{PortProtocol::kTcp, "ssh", 2222}});
  state_.leases.end_agent(a);
  pass(Claims::kReserved - 1s);
  const EndpointId b = agent();
  declare(invite, b, {{PortProtocol::kTcp, "ssh", 2222}});
  for (int i = 0; i < 10; ++i) {
    pass(60s);
    declare(invite, b, {{PortProtocol::kTcp, "ssh", 2222}});
  }
  EXPECT_EQ(service_at(tcp(2222)), "ssh");
  EXPECT_EQ(state_.claims.find(tcp(2222))->idle_since, std::nullopt);
}

TEST_F(ClaimsTest, TheQuotaCountsWhatIsServedAndReservedPortsMakeRoom) {
  const Invite invite = make_invite();
  const EndpointId a = agent(), b = agent();
  auto verdicts = declare(invite, a,
                          {{PortProtocol::kTcp, "a", 2001},
                           {PortProtocol::kTcp, "b", 2002},
                           {PortProtocol::kTcp, "c", 2003},
                           {PortProtocol::kTcp, "d", 2004},
                           {PortProtocol::kUdp, "a", 2001}});
  EXPECT_TRUE(verdicts[2].accepted);
  EXPECT_TRUE(verdicts[3].reason.starts_with("the tenant may claim 3 tcp ports and has as many"))
      << verdicts[3].reason;
  EXPECT_TRUE(verdicts[4].accepted) << "each protocol has a quota of its own";
  EXPECT_FALSE(declare(invite, b, {{PortProtocol::kTcp, "e", 2005}})[0].accepted) << "all agents together";
  declare(invite, a, {{PortProtocol::kTcp, "c", 2003}});
  pass(1s);
  EXPECT_EQ(service_at(tcp(2001)), "a") << "reserved";
  verdicts = declare(invite, b, {{PortProtocol::kTcp, "e", 2005}, {PortProtocol::kTcp, "f", 2006}});
  EXPECT_TRUE(verdicts[0].accepted && verdicts[1].accepted);
  EXPECT_EQ(service_at(tcp(2001)), "-") << "gave way";
  EXPECT_EQ(service_at(tcp(2002)), "-");
  EXPECT_EQ(service_at(tcp(2003)), "c") << "is served by another agent";

  verdicts = declare(
      invite, b,
      {{PortProtocol::kTcp, "g", 2007}, {PortProtocol::kTcp, "e", 0}, {PortProtocol::kTcp, "f", 2006}});
  EXPECT_FALSE(verdicts[0].accepted) << "what is new takes no port from what is there";
  EXPECT_TRUE(verdicts[1].accepted && verdicts[2].accepted);

  Invite less = *state_.invites.find(invite.id).value();
  less.quotas.tcp_ports = 2;
  store({invite_record(less)});
  verdicts = declare(less, b, {{PortProtocol::kTcp, "e", 2005}, {PortProtocol::kTcp, "f", 2006}});
  EXPECT_TRUE(verdicts[0].accepted);
  EXPECT_FALSE(verdicts[1].accepted) << "a lower quota holds at the next declaration";
  EXPECT_EQ(service_at(tcp(2006)), "-");
}

TEST_F(ClaimsTest, TheEndOfItsInviteFreesAPortAtOnce) {
  const Invite one = make_invite(), two = make_invite();
  declare(one, agent(), {{PortProtocol::kTcp, "ssh", 2222}});
  ASSERT_TRUE(state_.invites.revoke(one.id, {}));
  EXPECT_EQ(route_at(tcp(2222)), nullptr);
  EXPECT_EQ(declared(two, agent(), {PortProtocol::kTcp, "x", 2222}), "x:2222");
  // The record of the claim that was freed comes late.
  store({{.kind = std::string(Claims::kKind),
          .key = "tcp/2300",
          .body = fmt::format(R"({{"invite_id":"{}","service":"late"}})", invite_key(one.id))}});
  EXPECT_EQ(service_at(tcp(2300)), "-");
  restart();
  EXPECT_EQ(service_at(tcp(2222)), "x");
}

TEST_F(ClaimsTest, AnEditOfTheGrantOrTheQuotaTakesPortsAwayAtOnce) {
  Invite invite = make_invite(), other = make_invite();
  const EndpointId id = agent();
  EXPECT_EQ(declared(invite, id, {PortProtocol::kTcp, "kept", 2001}), "kept:2001");
  EXPECT_EQ(declared(invite, agent(), {PortProtocol::kTcp, "taken", 2002}), "taken:2002");
  EXPECT_EQ(declared(other, agent(), {PortProtocol::kTcp, "mine", 2002}),
            "tcp/2002 is claimed by another tenant; choose another port");

  invite.ports = {{2001, 2001}};
  store({invite_record(invite)});
  EXPECT_EQ(route_at(tcp(2002)), nullptr);
  EXPECT_NE(route_at(tcp(2001)), nullptr);
  EXPECT_EQ(declared(other, agent(), {PortProtocol::kTcp, "mine", 2002}), "mine:2002");

  invite.quotas.tcp_ports = 0;
  store({invite_record(invite)});
  EXPECT_EQ(route_at(tcp(2001)), nullptr);
  EXPECT_EQ(service_at(tcp(2001)), "-");
  restart();
  EXPECT_EQ(service_at(tcp(2001)), "-");
  EXPECT_EQ(service_at(tcp(2002)), "mine");
}

TEST_F(ClaimsTest, ASuspendedTenantKeepsItsPortsAndGetsNoOthers) {
  Invite invite = make_invite();
  const EndpointId id = agent();
  EXPECT_EQ(declared(invite, id, {PortProtocol::kTcp, "a", 3000}), "a:3000");
  invite.suspended = true;
  store({invite_record(invite)});
  EXPECT_EQ(declared(invite, id, {PortProtocol::kTcp, "a", 3000}), "a:3000");
  EXPECT_EQ(declared(invite, id, {PortProtocol::kTcp, "a", 0}), "a:3000");
  for (const auto& wanted :
       {hubapi::DeclaredPort{PortProtocol::kTcp, "b", 3001}, hubapi::DeclaredPort{PortProtocol::kTcp, "b", 0},
        hubapi::DeclaredPort{PortProtocol::kTcp, "a", 3001}})
    EXPECT_NE(declared(invite, id, wanted).find("suspended"), std::string::npos);
  EXPECT_EQ(state_.claims.all().size(), 1u);
}

TEST_F(ClaimsTest, ALoweredQuotaEndsWhatNobodyDeclaresFirst) {
  Invite invite = make_invite();
  const EndpointId id = agent();
  declare(invite, id, {{PortProtocol::kTcp, "old", 3000}});
  declare(invite, id, {{PortProtocol::kTcp, "a", 3001}, {PortProtocol::kTcp, "b", 3002}});
  invite.quotas.tcp_ports = 2;
  store({invite_record(invite)});
  EXPECT_EQ(service_at(tcp(3000)), "-");
  EXPECT_EQ(service_at(tcp(3001)), "a");
  EXPECT_EQ(service_at(tcp(3002)), "b");
  invite.quotas.tcp_ports = 1;
  store({invite_record(invite)});
  EXPECT_EQ(service_at(tcp(3001)), "a");
  EXPECT_EQ(service_at(tcp(3002)), "-");
}

TEST_F(ClaimsTest, ADamagedRecordKeepsThePortFromEverybody) {
  const Invite invite = make_invite();
  store({{.kind = std::string(Claims::kKind), .key = "tcp/2222", .body = "{}"}});
  EXPECT_NE(declared(invite, agent(), {PortProtocol::kTcp, "x", 2222}).find("damaged"), std::string::npos);
  store({{.kind = std::string(Claims::kKind), .key = "tcp/2222", .body = std::nullopt}});
  EXPECT_EQ(declared(invite, agent(), {PortProtocol::kTcp, "x", 2222}), "x:2222");
}

TEST_F(ClaimsTest, ALeaseWhoseClaimIsNotThereServesNothing) {
  const Invite one = make_invite(), two = make_invite();
  declare(one, agent(), {{PortProtocol::kTcp, "ssh", 2222}});
  declare(one, agent(), {{PortProtocol::kTcp, "db", 2223}});
  database_.erase({std::string(Claims::kKind), "tcp/2222"});
  store(state_.unstored().records);
  database_.erase({std::string(Claims::kKind), "tcp/2222"});
  restart();
  EXPECT_EQ(route_at(tcp(2222)), nullptr);
  EXPECT_NE(route_at(tcp(2223)), nullptr);
  // Another hub gave it to another tenant.
  store({{.kind = std::string(Claims::kKind),
          .key = "tcp/2223",
          .body = fmt::format(R"({{"invite_id":"{}","service":"db"}})", invite_key(two.id))}});
  EXPECT_EQ(route_at(tcp(2223)), nullptr);
}

// Whatever tenants, services and ports, and whatever is lost in between.
TEST_F(ClaimsTest, NoPortEverHasTwoTenants) {
  std::vector<Invite> invites{make_invite(), make_invite(), make_invite()};
  std::vector<EndpointId> agents;
  for (int i = 0; i < 6; ++i) agents.push_back(agent());
  for (int step = 0; step < 1500; ++step) {
    const size_t who = random_.below(agents.size());
    std::vector<hubapi::DeclaredPort> ports;
    for (uint64_t i = random_.below(4); i > 0; --i) {
      const hubapi::DeclaredPort port{random_.below(2) ? PortProtocol::kTcp : PortProtocol::kUdp,
                                      fmt::format("s{}", i), static_cast<uint16_t>(19999 + random_.below(6))};
      const bool is_twice = std::ranges::any_of(ports, [&](const auto& each) {
        return each.protocol == port.protocol && each.listen_port == port.listen_port;
      });
      if (!is_twice) ports.push_back(port);
    }
    if (random_.below(3) == 0) {
      for (auto& port : ports) port.listen_port = 0;
    }
    declare(invites[who % 3], agents[who], ports);
    if (random_.below(5) == 0) pass(std::chrono::seconds(random_.below(60)));
    if (random_.below(50) == 0) pass(Claims::kReserved);
    if (random_.below(40) == 0) restart();
    const route::SnapshotPtr routes = state_.leases.snapshot();
    for (const route::Route* route : routes->routes()) {
      const Claims::Claim* claim = state_.claims.find(*route->match.port());
      ASSERT_NE(claim, nullptr) << route->match.text();
      ASSERT_EQ(claim->service, route->service);
      ASSERT_EQ((*state_.invites.find(claim->invite))->tenant, route->tenant);
      for (const route::Target& target : route->targets)
        ASSERT_EQ(state_.leases.all().at(*target.agent()).invite, claim->invite);
    }
    for (const Invite& invite : invites) {
      size_t count = 0;
      for (const PublicPort& port : state_.claims.ports_of(invite.id))
        count += port.protocol == PortProtocol::kTcp;
      ASSERT_LE(count, 3u);
    }
  }
}

TEST_F(ClaimsTest, ARangeIsOneClaimAndOverlapsAreExact) {
  rules_.limits.udp_ports = 100;
  SetUp();
  const Invite one = make_invite(), two = make_invite();
  const EndpointId a = agent(), other = agent();
  ASSERT_EQ(declared(one, a, {PortProtocol::kUdp, "turn", 40000, 9}), "turn:40000");
  EXPECT_EQ(state_.claims.all().size(), 1u);
  ASSERT_NE(route_at(udp(40009)), nullptr);
  EXPECT_EQ(route_at(udp(40009))->match.text(), "udp/40000-40009");
  EXPECT_EQ(route_at(udp(40010)), nullptr);
  const auto refused = [&](uint16_t first, uint16_t more) {
    return declared(two, other, {PortProtocol::kUdp, "x", first, more});
  };
  EXPECT_EQ(refused(40009, 0), "udp/40009 is claimed by another tenant; choose another port");
  EXPECT_EQ(refused(40000, 0), "udp/40000 is claimed by another tenant; choose another port");
  EXPECT_EQ(refused(39990, 10),
            "udp/40000 of udp/39990-40000 is claimed by another tenant; choose another port");
  EXPECT_EQ(refused(40009, 5),
            "udp/40009 of udp/40009-40014 is claimed by another tenant; choose another port");
  EXPECT_EQ(refused(39980, 60),
            "udp/40000 of udp/39980-40040 is claimed by another tenant; choose another port");
  EXPECT_EQ(refused(39990, 9), "x:39990") << "up to the port before";
  EXPECT_EQ(refused(40010, 9), "x:40010") << "from the port behind";
  EXPECT_EQ(declared(two, agent(), {PortProtocol::kTcp, "tcp", 40005}), "tcp:40005");
  // All of it survives a restart.
  restart();
  EXPECT_EQ(service_at({PortProtocol::kUdp, 40000, 9}), "turn");
  EXPECT_EQ(route_at(udp(40005))->service, "turn");
  EXPECT_EQ(refused(40009, 0), "udp/40009 is claimed by another tenant; choose another port");
}

TEST_F(ClaimsTest, ARangeIsNotPickedFromAndMovesWithItsService) {
  rules_.limits.udp_ports = 10;
  SetUp();
  const Invite one = make_invite(), two = make_invite();
  const EndpointId a = agent();
  ASSERT_EQ(declared(one, a, {PortProtocol::kUdp, "turn", 20000, 2}), "turn:20000");
  EXPECT_EQ(declared(two, agent(), {PortProtocol::kUdp, "any"}), "any:20003") << "the only one that is free";
  // The service grows in place, and what it had is the new range's.
  EXPECT_EQ(declared(one, a, {PortProtocol::kUdp, "turn", 19999, 3}), "turn:19999");
  EXPECT_EQ(state_.claims.ports_of(one.id), (std::vector<PublicPort>{{PortProtocol::kUdp, 19999, 3}}));
  EXPECT_EQ(route_at(udp(20002))->match.text(), "udp/19999-20002");
  // It names none any more: one port is enough, and it is one that it had.
  EXPECT_EQ(declared(one, a, {PortProtocol::kUdp, "turn"}), "turn:19999");
  EXPECT_EQ(state_.claims.ports_of(one.id), std::vector{udp(19999)});
  EXPECT_EQ(route_at(udp(20000)), nullptr);
}

TEST_F(ClaimsTest, AnotherServiceOfTheTenantTakesARangeOnlyWhenNobodyServesIt) {
  rules_.limits.udp_ports = 20;
  SetUp();
  const Invite one = make_invite();
  const EndpointId a = agent(), b = agent();
  ASSERT_EQ(declared(one, a, {PortProtocol::kUdp, "turn", 40000, 4}), "turn:40000");
  const std::string reason = declared(one, b, {PortProtocol::kUdp, "rtp", 40004, 4});
  EXPECT_TRUE(reason.starts_with("udp/40004 of udp/40004-40008 is claimed by \"turn\", which agent "))
      << reason;
  const std::string smaller = declared(one, b, {PortProtocol::kUdp, "turn", 40000, 3});
  EXPECT_TRUE(smaller.starts_with("conflict with agent ")) << smaller;
  const auto both =
      declare(one, a, {{PortProtocol::kUdp, "turn", 40000, 4}, {PortProtocol::kUdp, "x", 40002}});
  EXPECT_TRUE(both[0].accepted);
  EXPECT_EQ(both[1].reason, "udp/40002 is given to \"turn\" of the same declaration");
  state_.leases.end_agent(a);
  EXPECT_EQ(declared(one, b, {PortProtocol::kUdp, "rtp", 40004, 4}), "rtp:40004");
  EXPECT_EQ(state_.claims.ports_of(one.id), (std::vector<PublicPort>{{PortProtocol::kUdp, 40004, 4}}));
}

TEST_F(ClaimsTest, QuotaAndGrantCountEachPortOfARange) {
  rules_.limits.udp_ports = 10;
  rules_.ports.own = {udp(5000)};
  SetUp();
  const Invite one = make_invite();
  const EndpointId a = agent();
  const auto ranged = [&](uint16_t first, uint16_t more) {
    return declared(one, a, {PortProtocol::kUdp, "turn", first, more});
  };
  EXPECT_EQ(ranged(40000, 9), "turn:40000");
  EXPECT_EQ(
      ranged(40000, 10),
      "udp/40000-40010 has 11 ports, and the tenant may claim 10 udp ports with those that it has; choose "
      "a smaller range, remove a service, or ask the hub's operator for a higher quota");
  const auto both = declare(one, a, {{PortProtocol::kUdp, "turn", 40000, 8}, {PortProtocol::kUdp, "x", 300}});
  EXPECT_TRUE(both[0].accepted);
  EXPECT_TRUE(both[1].reason.starts_with("udp/300 is below 1024")) << both[1].reason;
  EXPECT_EQ(
      ranged(1020, 8),
      "udp/1020 of udp/1020-1028 is below 1024; choose another port, or ask the hub's operator to grant it "
      "to the invite");
  EXPECT_EQ(ranged(4995, 5), "the node itself uses udp/5000 of udp/4995-5000; choose another port");
  // One port outside of the grant, and then none.
  Invite granted = make_invite();
  granted.ports = {{6000, 6004}, {6005, 6008}};
  store({invite_record(granted)});
  EXPECT_EQ(declared(granted, agent(), {PortProtocol::kUdp, "x", 6000, 9}),
            "the invite does not grant udp/6009 of udp/6000-6009; it grants 6000-6004, 6005-6008");
  EXPECT_EQ(declared(granted, agent(), {PortProtocol::kUdp, "x", 6000, 8}), "x:6000");
  // A quota that is lowered below a range takes it all.
  granted.quotas.udp_ports = 8;
  store({invite_record(granted)});
  EXPECT_TRUE(state_.claims.ports_of(granted.id).empty());
  EXPECT_EQ(route_at(udp(6003)), nullptr);
}

TEST_F(ClaimsTest, AClaimOfARangeAndOneOfAPortInItAreNotCommittedTogether) {
  rules_.limits.udp_ports = 10;
  SetUp();
  const Invite one = make_invite();
  const std::vector<hubapi::DeclaredPort> wanted = {{PortProtocol::kUdp, "turn", 40000, 3}};
  const auto judged = state_.claims.judge(one, agent(), wanted, rules_, state_.leases, now_);
  for (const char* port : {"udp/40000", "udp/40001", "udp/40003"})
    EXPECT_NE(std::ranges::find(judged.touches, port), judged.touches.end()) << port;
  EXPECT_EQ(std::ranges::find(judged.touches, "udp/40004"), judged.touches.end());
}

}  // namespace
}  // namespace culvert::hub
