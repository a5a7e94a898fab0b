// A hub alone and edges on hosts of their own, with agents, origins and visitors, in simulated time.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <list>
#include <vector>

#include "acme/fake_ca_fixture.h"
#include "base/log.h"
#include "sim/product/agent_process.h"
#include "sim/product/node_process.h"
#include "sim/product/operator.h"
#include "sim/product/seeded_openssl.h"
#include "sim/product/visitor.h"

namespace culvert::sim {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// A node, and what it is started with.
struct Place {
  NodeIdentity identity;
  std::shared_ptr<Machine> machine;
  std::unique_ptr<NodeProcess> process = nullptr;
};

struct Service {
  std::string hostname;
  route::TlsMode mode;
  SecretKey origin_key;
  std::optional<hubapi::InviteToken> token = {};
  std::shared_ptr<Machine> machine = nullptr;
  std::unique_ptr<AgentProcess> agent = nullptr;
};

class EdgesSim : public testing::TestWithParam<uint64_t> {
 protected:
  EdgesSim()
      : openssl_(GetParam()),
        simulation_(GetParam()),
        outside_(machine(SocketAddr::v4({10, 0, 0, 2}, 0))),
        loop_(*outside_),
        ca_(tls::InternalCa::create("simulated", outside_->unix_now())),
        tasks_(loop_) {
    set_log_level(std::getenv("CULVERT_SIM_SEED") == nullptr ? LogLevel::kError : LogLevel::kDebug);
    std::string name = (fs::temp_directory_path() / "culvert-edges-sim-XXXXXX").native();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
    simulation_.set_default_wire({.delay = 5ms, .jitter = 2ms, .loss = 0.005});
    hub_.identity.is_edge = false;
    start(hub_);
    operator_.emplace(loop_, "https://10.0.0.1", hub_.identity.key.public_key(), kOperatorKey);
  }
  ~EdgesSim() override {
    for (Service& service : services_) stop(service);
    for (Place& edge : edges_) stop(edge, false);
    stop(hub_, false);
    EXPECT_TRUE(run_until([this] { return all_ended(); }, 60s)) << "a process does not end";
    EXPECT_TRUE(run_until([this] { return tasks_.size() == 0; }, 60s));
    if (public_ca_) public_ca_->stop();
    ending_.clear();
    ending_agents_.clear();
    const auto closed = [this] {
      return std::ranges::all_of(machines_, [](const auto& each) { return each->open_sockets() == 0; });
    };
    EXPECT_TRUE(run_until(closed, 180s)) << "a socket is left";
    fs::remove_all(directory_);
  }

  NodeIdentity identity(uint8_t host) {
    return {.key = SecretKey::generate(simulation_.random()),
            .operator_key = SecretString(kOperatorKey),
            .ca = ca_,
            .address = SocketAddr::v4({10, 0, 0, host}, 443),
            .workers = static_cast<unsigned>(1 + simulation_.random().below(2)),
            .disk = std::make_shared<Disk>()};
  }
  Place place(uint8_t host) {
    Place made{.identity = identity(host), .machine = nullptr};
    made.machine = machine(made.identity.address);
    return made;
  }
  std::shared_ptr<Machine> machine(const SocketAddr& address) {
    return machines_.emplace_back(std::make_shared<Machine>(simulation_, address));
  }

  void start(Place& place) { place.process = std::make_unique<NodeProcess>(place.machine, place.identity); }
  void stop(Place& place, bool is_killed) {
    if (!place.process) return;
    if (is_killed) {
      place.process->kill();
      place.machine = machine(place.identity.address);
    } else {
      place.process->stop();
    }
    ending_.push_back(std::move(place.process));
  }
  void stop(Service& service) {
    if (!service.agent) return;
    service.agent->stop();
    ending_agents_.push_back(std::move(service.agent));
  }
  bool all_ended() const {
    return std::ranges::all_of(ending_, [](const auto& node) { return node->has_ended(); }) &&
           std::ranges::all_of(ending_agents_, [](const auto& agent) { return agent->has_ended(); });
  }

  Place& add_edge() {
    const auto host = static_cast<uint8_t>(10 + edges_.size());
    std::optional<hubapi::EdgeToken> token;
    tasks_.spawn(operator_->make_edge(fmt::format("edge{}", edges_.size()), token));
    EXPECT_TRUE(run_until([&] { return token.has_value(); }, 20s));
    Place& edge = edges_.emplace_back(place(host));
    edge.identity.key = token->edge_key;
    edge.identity.token = std::move(*token);
    edge.identity.route_file = directory_ / fmt::format("routes{}", host);
    edge.identity.hub_certificates = directory_ / fmt::format("certificates{}", host);
    start(edge);
    return edge;
  }
  void add_service(const std::string& hostname, route::TlsMode mode) {
    Service& service = services_.emplace_back(
        Service{.hostname = hostname, .mode = mode, .origin_key = SecretKey::generate(simulation_.random())});
    tasks_.spawn(operator_->invite(hostname, std::nullopt, service.token));
    EXPECT_TRUE(run_until([&] { return service.token.has_value(); }, 20s));
    start_agent(service);
  }
  void start_agent(Service& service) {
    service.machine = machine(SocketAddr::v4({10, 0, 1, static_cast<uint8_t>(++agents_started_)}, 0));
    service.agent = std::make_unique<AgentProcess>(service.machine, *service.token, service.hostname,
                                                   service.mode, service.origin_key);
  }
  // Two edges and two services, and all of them are well.
  void begin(Duration limit = 20s) {
    add_edge();
    add_edge();
    add_service("pass.localhost", route::TlsMode::kPassthrough);
    add_service("term.localhost", route::TlsMode::kTerminate);
    ASSERT_TRUE(everywhere(limit));
  }

  bool run_until(const std::function<bool()>& condition, Duration limit) {
    return simulation_.run_until(condition, limit);
  }
  VisitEnd visit(const Service& service, const Place& edge) {
    VisitResult result;
    tasks_.spawn(sim::visit(loop_,
                            {.host = service.hostname,
                             .mode = service.mode,
                             .edge = edge.identity.address,
                             .root_pem = root_pem_,
                             .origin_key = service.origin_key.public_key(),
                             .bytes = 3000,
                             .piece = 1000,
                             .pause = {}},
                            result));
    EXPECT_TRUE(run_until([&] { return result.is_over; }, 60s));
    return result.end;
  }
  // Every service answers at every edge that runs, within `limit`.
  bool everywhere(Duration limit) {
    const TimePoint end = simulation_.now() + limit;
    for (const Service& service : services_) {
      for (const Place& edge : edges_) {
        while (edge.process && visit(service, edge) != VisitEnd::kEchoed) {
          if (simulation_.now() >= end) return false;
          simulation_.run_for(200ms);
        }
      }
    }
    return true;
  }

  static constexpr const char* kOperatorKey = "the operator's key of the simulated hub";
  const SeededOpenssl openssl_;
  Simulation simulation_;
  std::list<std::shared_ptr<Machine>> machines_;
  std::shared_ptr<Machine> outside_;
  net::EventLoop loop_;
  tls::InternalCa::Pem ca_;
  std::string root_pem_ = ca_.certificate;  // that visitors trust
  net::TaskGroup tasks_;
  std::optional<acme::testing::FakeCa> public_ca_;
  fs::path directory_;
  Place hub_ = place(1);
  std::list<Place> edges_;
  std::list<Service> services_;
  std::list<std::unique_ptr<NodeProcess>> ending_;
  std::list<std::unique_ptr<AgentProcess>> ending_agents_;
  std::optional<Operator> operator_;
  size_t agents_started_ = 0;
};

TEST_P(EdgesSim, AgentsAreServedThroughEveryEdge) {
  begin();
  EXPECT_EQ(hub_.process->edges_following(), 2U);
  EXPECT_EQ(hub_.process->leases(), 2U);
  EXPECT_EQ(edges_.front().process->counters().tunnels_active.load(), 2U);
  simulation_.run_for(300s);  // leases go on: edges report that they hear the agents
  EXPECT_EQ(hub_.process->leases(), 2U);
  EXPECT_TRUE(everywhere(0s));
}

TEST_P(EdgesSim, AnEdgeThatJoinsIsDialledWithinSeconds) {
  begin();
  Place& third = add_edge();
  EXPECT_TRUE(run_until([&] { return third.process->counters().tunnels_active == 2; }, 8s));
  EXPECT_TRUE(everywhere(5s));
}

TEST_P(EdgesSim, AnEdgeThatLeavesIsNotDialledAnyMore) {
  begin();
  Place& first = edges_.front();
  stop(first, false);
  EXPECT_TRUE(run_until([this] { return all_ended(); }, 20s));
  EXPECT_TRUE(everywhere(3s));
  start(first);
  EXPECT_TRUE(run_until([&] { return first.process->counters().tunnels_active == 2; }, 10s));
  EXPECT_TRUE(everywhere(5s));
}

// Nobody can be told anything by the hub: edges go on with what they have, across their own restarts, and
// agents come back to the edges that they knew.
TEST_P(EdgesSim, TheHubIsAwayForAnHour) {
  begin();
  stop(hub_, true);
  for (int minute = 0; minute < 60; ++minute) {
    if (minute % 20 == 7) {
      Place& edge = minute % 40 == 7 ? edges_.front() : edges_.back();
      stop(edge, minute % 40 == 7);
      if (minute % 40 != 7) EXPECT_TRUE(run_until([this] { return all_ended(); }, 20s));
      start(edge);
      EXPECT_TRUE(everywhere(20s)) << "after the restart of an edge in minute " << minute;
    }
    simulation_.run_for(60s);
    EXPECT_TRUE(everywhere(0s)) << "minute " << minute;
  }
  start(hub_);
  EXPECT_TRUE(run_until([this] { return hub_.process->edges_following() == 2; }, 20s));
  simulation_.run_for(150s);
  EXPECT_EQ(hub_.process->leases(), 2U);
  EXPECT_TRUE(everywhere(0s));
}

TEST_P(EdgesSim, AKilledEdgeLeavesTheOtherUntouched) {
  begin();
  stop(edges_.front(), true);
  for (int i = 0; i < 30; ++i) {
    for (const Service& service : services_) EXPECT_EQ(visit(service, edges_.back()), VisitEnd::kEchoed) << i;
    simulation_.run_for(1s);
  }
  start(edges_.front());
  EXPECT_TRUE(everywhere(20s));
}

TEST_P(EdgesSim, ARevokedEdgeServesNobody) {
  begin();
  bool is_done = false;
  tasks_.spawn(operator_->revoke_edge("edge0", is_done));
  ASSERT_TRUE(run_until([&] { return is_done; }, 20s));
  const auto served = [&] { return visit(services_.front(), edges_.front()) == VisitEnd::kEchoed; };
  for (int i = 0; i < 40 && served(); ++i) simulation_.run_for(250ms);
  EXPECT_FALSE(served());
  EXPECT_EQ(visit(services_.front(), edges_.back()), VisitEnd::kEchoed);
  EXPECT_FALSE(fs::exists(edges_.front().identity.route_file));
}

TEST_P(EdgesSim, ARevokedInviteIsGoneAtEveryEdgeWithinASecond) {
  begin();
  Service& service = services_.front();
  std::optional<TimePoint> revoked;
  tasks_.spawn(operator_->revoke(*service.token, revoked));
  ASSERT_TRUE(run_until([&] { return revoked.has_value(); }, 20s));
  simulation_.run_for(1s);
  for (const Place& edge : edges_) EXPECT_EQ(visit(service, edge), VisitEnd::kRefused);
}

// An agent says goodbye to its edges only, and the hub learns of it from them.
TEST_P(EdgesSim, AGoodbyeEndsTheLeaseAtOnce) {
  begin();
  stop(services_.front());
  EXPECT_TRUE(run_until([this] { return hub_.process->leases() == 1; }, 5s));
}

INSTANTIATE_TEST_SUITE_P(Seeds, EdgesSim, testing::Values(1, 2, 3));

// The hub has a CA, and visitors trust nothing else.
class CertificatesSim : public EdgesSim {
 protected:
  CertificatesSim() {
    public_ca_.emplace(loop_, SocketAddr::v4({10, 0, 0, 2}, 14000));
    const fs::path root = directory_ / "ca.pem";
    std::ofstream(root) << public_ca_->ca().root_pem;
    stop(hub_, false);
    EXPECT_TRUE(run_until([this] { return all_ended(); }, 20s));
    hub_.identity.acme.first = {.directory = public_ca_->ca().directory, .root_file = root};
    start(hub_);
    root_pem_ = public_ca_->root_pem();
  }
};

TEST_P(CertificatesSim, OneCertificateIsServedAtEveryEdge) {
  begin();
  EXPECT_EQ(public_ca_->issued, 1U);
  add_edge();
  EXPECT_TRUE(everywhere(10s)) << "one that joins has it at once";
  EXPECT_EQ(public_ca_->issued, 1U);
}

TEST_P(CertificatesSim, EdgesServeWhatTheyHaveWhileTheHubIsAway) {
  begin();
  stop(hub_, true);
  simulation_.run_for(100s);
  stop(edges_.front(), true);
  start(edges_.front());
  EXPECT_TRUE(everywhere(20s));
  start(hub_);
  EXPECT_TRUE(run_until([this] { return hub_.process->edges_following() == 2; }, 20s));
  simulation_.run_for(60s);
  EXPECT_TRUE(everywhere(0s));
  EXPECT_EQ(public_ca_->issued, 1U) << "a restart orders nothing";
}

TEST_P(CertificatesSim, AnEdgeThatIsAwayDelaysAnOrderForSeconds) {
  begin();
  stop(edges_.front(), true);
  add_service("later.localhost", route::TlsMode::kTerminate);
  EXPECT_TRUE(everywhere(30s));
  start(edges_.front());
  EXPECT_TRUE(everywhere(20s));
  EXPECT_EQ(public_ca_->issued, 2U);
}

TEST_P(CertificatesSim, AHubThatIsKilledInAnOrderOrdersAgain) {
  begin();
  public_ca_->pending_polls = 1'000'000;
  add_service("later.localhost", route::TlsMode::kTerminate);
  EXPECT_TRUE(run_until([this] { return public_ca_->orders.size() == 2; }, 30s));
  stop(hub_, true);
  public_ca_->pending_polls = 1;
  simulation_.run_for(5s);
  start(hub_);
  EXPECT_TRUE(everywhere(60s));
  EXPECT_EQ(public_ca_->issued, 2U);
}

TEST_P(CertificatesSim, ASlowDatabaseMakesOrdersSlowAndNothingElse) {
  hub_.identity.disk->slowness = 2s;
  begin(90s);
  EXPECT_EQ(public_ca_->issued, 1U);
}

INSTANTIATE_TEST_SUITE_P(Seeds, CertificatesSim, testing::Values(1, 2));

}  // namespace
}  // namespace culvert::sim
