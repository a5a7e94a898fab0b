// Fleets of agents with their real back-off against the real API, in simulated time.
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "base/backoff.h"
#include "http/testing.h"
#include "hub/api.h"
#include "hub/ledger.h"
#include "hub/record_store.h"
#include "hub/state.h"
#include "hubapi/hub_client.h"
#include "hubapi/token.h"
#include "net/testing.h"

namespace culvert::hub {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr TimePoint kStart{std::chrono::hours(100)};
constexpr UnixTime kWallStart{std::chrono::seconds(1'700'000'000)};
constexpr Duration kExchange = 50ms;  // of one declaration, there and back
UnixTime g_wall{};
UnixTime fake_wall() { return g_wall; }

class FleetTest : public testing::Test {
 protected:
  struct Agent {
    EndpointId id;
    size_t token;
    Backoff backoff;
    TimePoint next;
    std::string instance = {};  // of the hub, as its last answer told
    bool has_lease = false;
    bool refused = false;  // since it last had one
  };

  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "culvert-fleet-XXXXXX").native();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
    ledger_.emplace(loop_, *open_sqlite_store(loop_, directory_ / "hub.db", random_), state_, StoreOptions{});
    move_to(kStart);
    restart_hub();
  }
  void TearDown() override {
    api_.reset();
    ledger_.reset();
    fs::remove_all(directory_);
  }

  void move_to(TimePoint now) {
    now_ = now;
    g_wall = kWallStart + std::chrono::duration_cast<std::chrono::seconds>(now - kStart);
  }
  void stop_hub() { api_.reset(); }
  // What it knew of leases and rates is gone.
  void restart_hub() {
    stop_hub();
    leases_ = Leases();
    publisher_.emplace(hub_secret_, random_.u64());
    edge_sessions_.emplace(loop_, *publisher_, state_.leases);
    api_.emplace(config_, state_, *ledger_, *edge_sessions_, certificate_feed_, random_, [] {});
  }
  http::Response handle(http::Request request) {
    http::testing::MemoryExchange exchange(std::move(request));
    exchange.client = client_;
    exchange.now = now_;
    return net::testing::run_task(loop_, http::testing::answer_of(*api_, exchange));
  }
  size_t invite(std::string_view hostname) {
    http::Request request{.method = "POST", .target = "/v1/invites", .headers = {}, .body = {}};
    request.body = fmt::format(R"({{"hostnames":["{}"]}})", hostname);
    request.headers.add("Authorization", "Bearer key");
    auto response = handle(std::move(request));
    EXPECT_EQ(response.status, 200) << response.body;
    auto body = boost::json::parse(response.body);
    tokens_.push_back(*hubapi::parse_invite_token(std::string_view(body.at("token").as_string())));
    hosts_.emplace_back(hostname);
    return tokens_.size() - 1;
  }
  void add_agents(size_t count, size_t token) {
    for (size_t i = 0; i < count; ++i) {
      agents_.push_back({SecretKey::generate(random_).public_key(), token, {}, now_});
    }
  }

  // As agent::LeaseKeeper does, with the cap of agent::RetryCap.
  void declare(Agent& agent) {
    ++requests_;
    const hubapi::InviteToken& token = tokens_[agent.token];
    std::optional<Error> error;
    if (api_) {
      hubapi::Declaration declaration{
          token.invite_id,
          token.invite_secret,
          agent.id,
          {{*route::HostPattern::parse(hosts_[agent.token]), route::TlsMode::kTerminate}}};
      const auto exchange = [&] {
        http::Request request{
            .method = "POST", .target = "/v1/leases", .headers = {}, .body = hubapi::encode(declaration)};
        if (!agent.instance.empty()) request.headers.add(std::string(http::kInstanceField), agent.instance);
        http::sign_request(request, token.tenant_key, hubapi::kLeaseTag, g_wall, random_);
        return handle(std::move(request));
      };
      auto response = exchange();
      if (const std::string* instance = response.headers.find(http::kInstanceField)) {
        agent.instance = *instance;  // signs again, as HubClient does
        response = exchange();
      }
      if (response.status != 200) error = hubapi::error_from_response(response.status, response.body);
    } else {
      error = Error{ErrorCode::kUnavailable, "the hub is down"};
    }
    if (!error) {
      agent.has_lease = true;
      agent.refused = false;
      agent.backoff.reset();
      agent.next = now_ + kExchange + Leases::kRenewAfter;
      return;
    }
    if (error->code != ErrorCode::kUnavailable) agent.refused = true;
    Duration cap = agent.refused ? Backoff::kRefusedCap : Backoff::kCap;
    agent.next = now_ + kExchange + agent.backoff.next(random_, cap);
  }

  void run_until(TimePoint end) {
    while (true) {
      auto next = std::ranges::min_element(agents_, {}, &Agent::next);
      if (next->next >= end) break;
      move_to(next->next);
      declare(*next);
      check_leases();
    }
    move_to(end);
    check_leases();
  }
  // Every agent that was given a lease still has it.
  void check_leases() {
    if (!api_) return;
    leases_.expire(now_, g_wall);
    for (Agent& agent : agents_) {
      if (!agent.has_lease || leases_.renewals(tokens_[agent.token].invite_id, agent.id) != nullptr) continue;
      ++lost_;
      agent.has_lease = false;
    }
  }
  size_t without_lease(size_t token) const {
    return static_cast<size_t>(std::ranges::count_if(
        agents_, [token](const Agent& agent) { return agent.token == token && !agent.has_lease; }));
  }
  // The agents that hold leases lose them and their tunnels, and notice; the hub answers again after `down`.
  void restart_after(Duration down) {
    stop_hub();
    for (Agent& agent : agents_) {
      if (!std::exchange(agent.has_lease, false)) continue;
      agent.next = now_ + agent.backoff.next(random_);
    }
    run_until(now_ + down);
    restart_hub();
  }

  net::EventLoop loop_;
  SeededRandom random_{17};
  SecretKey hub_secret_ = SecretKey::generate(random_);
  EndpointId hub_key_ = hub_secret_.public_key();
  Config config_{.database = {},
                 .operator_key = "key",
                 .public_urls = {"https://hub.example"},
                 .key = hub_secret_,
                 .edges = {{hub_key_, {"192.0.2.1:443"}}},
                 .internal_ca_pem = {},
                 .wall_clock = fake_wall};
  SocketAddr client_ = SocketAddr::v4({198, 51, 100, 9}, 1);  // one NAT for all
  fs::path directory_;
  State state_;
  std::optional<Ledger> ledger_;
  Leases& leases_ = state_.leases;
  std::optional<RoutePublisher> publisher_;
  std::optional<EdgeSessions> edge_sessions_;
  CertificateFeed certificate_feed_{loop_, "epoch"};
  std::optional<Api> api_;
  std::vector<hubapi::InviteToken> tokens_;
  std::vector<std::string> hosts_;
  std::vector<Agent> agents_;
  TimePoint now_{};
  uint64_t requests_ = 0;
  uint64_t lost_ = 0;
};

TEST_F(FleetTest, AFullFleetKeepsItsLeasesForAnHourAndAfterARestart) {
  size_t token = invite("fleet.eu");
  add_agents(Leases::kMaxPerInvite, token);
  run_until(now_ + 10s);
  EXPECT_EQ(without_lease(token), 0u) << "10 s after all started at once";
  run_until(kStart + 1h);
  EXPECT_EQ(lost_, 0u);
  EXPECT_EQ(without_lease(token), 0u);
  // 120 renewals of each, and nothing that was asked in vain.
  EXPECT_LE(requests_, agents_.size() * 121);
  EXPECT_EQ(api_->counters().rate_limited, 0u);

  for (Duration down : {Duration(1s), Duration(60s)}) {
    restart_after(down);
    EXPECT_EQ(without_lease(token), agents_.size());
    run_until(now_ + 10s);
    EXPECT_EQ(without_lease(token), 0u) << "10 s after a restart";
    run_until(now_ + 10min);
    EXPECT_EQ(lost_, 0u);
  }
}

// A proxy, a NAT or a load balancer in front: all agents share what is counted by source.
TEST_F(FleetTest, TwoHundredAgentsBehindOneAddressComeBackAtOnce) {
  std::vector<size_t> tenants;
  for (int i = 0; i < 4; ++i) {
    tenants.push_back(invite(fmt::format("fleet{}.eu", i)));
    add_agents(50, tenants.back());
  }
  for (Duration down : {Duration(0s), Duration(1s), Duration(60s)}) {
    restart_after(down);
    const uint64_t before = requests_;
    run_until(now_ + 10s);
    for (size_t tenant : tenants) EXPECT_EQ(without_lease(tenant), 0u) << "10 s after a restart";
    EXPECT_LE(requests_ - before, agents_.size()) << "one declaration of each is enough";
    const ApiCounters& counters = api_->counters();
    EXPECT_EQ(counters.rate_limited + counters.source_limited + counters.bad_signatures, 0u);
    run_until(now_ + 2min);
  }
  EXPECT_EQ(lost_, 0u);
}

TEST_F(FleetTest, RefusedAgentsBehindTheSameAddressDoNotDisturbIt) {
  size_t token = invite("fleet.eu");
  size_t revoked = invite("revoked.eu");
  ASSERT_TRUE(state_.invites.revoke(tokens_[revoked].invite_id, {}));
  add_agents(Leases::kMaxPerInvite, token);
  add_agents(Leases::kMaxPerInvite, revoked);
  run_until(now_ + 10s);
  EXPECT_EQ(without_lease(token), 0u);
  run_until(kStart + 20min);
  EXPECT_EQ(lost_, 0u);

  // By now the refused ones ask every 2.5 min on average, and the others every 30 s.
  uint64_t before = requests_;
  run_until(now_ + 10min);
  uint64_t renewals = Leases::kMaxPerInvite * 20;
  EXPECT_LE(requests_ - before, renewals + Leases::kMaxPerInvite * 6);

  restart_after(5s);
  run_until(now_ + 10s);
  EXPECT_EQ(without_lease(token), 0u);
  EXPECT_EQ(lost_, 0u);
}

// Every tunnel fails as soon as it stands, so that each agent declares again after each back-off.
TEST_F(FleetTest, AFleetWhoseTunnelsFailKeepsItsLeases) {
  size_t token = invite("fleet.eu");
  add_agents(Leases::kMaxPerInvite, token);
  std::vector<Backoff> tunnels(agents_.size());
  run_until(now_ + 10s);
  for (Duration elapsed{}; elapsed < 3min; elapsed += 1s) {
    for (size_t i = 0; i < agents_.size(); ++i) {
      if (agents_[i].next - now_ > Backoff::kCap) agents_[i].next = now_ + tunnels[i].next(random_);
    }
    run_until(now_ + 1s);
  }
  EXPECT_EQ(lost_, 0u);
  EXPECT_EQ(without_lease(token), 0u);
}

}  // namespace
}  // namespace culvert::hub
