// What an agent tells operators: its series, and why it is not ready.
#include <gmock/gmock.h>

#include "agent/agent_fixture.h"
#include "agent/counters.h"
#include "base/metrics_testing.h"

namespace culvert::agent {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class AgentMetrics : public AgentTest {
 public:
  Exposition scrape() const {
    Metrics metrics;
    agent_->report(metrics);
    return Exposition(metrics.to_text());
  }
  double value(const std::string& series) const { return scrape().value("culvert_agent_" + series).value(); }
  void wait_for(const std::string& series, double expected) {
    wait([&] { return value(series) == expected; });
  }
};

TEST_F(AgentMetrics, AnAgentIsReadyOnceAnEdgeHasWelcomedIt) {
  hold_answers_ = true;
  start();
  wait([&] { return !events_.empty(); });
  EXPECT_THAT(agent_->faults(), ElementsAre("the hub has not answered yet", "no edge is connected"));
  EXPECT_EQ(value("lease"), 0);
  EXPECT_EQ(value("services{state=\"refused\"}"), 2);
  hold_answers_ = false;
  wait([&] { return agent_->faults().empty(); });
  const Exposition scraped = scrape();
  EXPECT_THAT(scraped.faults(), IsEmpty());
  Metrics described;
  describe_metrics(described);
  EXPECT_EQ(scraped.types(), Exposition(described.to_text()).types());
  EXPECT_EQ(value("lease"), 1);
  EXPECT_EQ(value("services{state=\"accepted\"}"), 2);
  EXPECT_EQ(value("edges{state=\"named\"}"), 1);
  EXPECT_EQ(value("edges{state=\"connected\"}"), 1);
  EXPECT_EQ(value("declarations_total{result=\"granted\"}"), 1);
  EXPECT_EQ(value("tunnels_total"), 1);
  agent_->stop();
  EXPECT_THAT(agent_->faults(), Contains("the agent is stopping"));
}

TEST_F(AgentMetrics, TheStatusNamesEachServiceWithItsVerdict) {
  hold_answers_ = true;
  start();
  wait([&] { return !events_.empty(); });
  Status before = agent_->status();
  ASSERT_EQ(before.services.size(), 2u);
  EXPECT_EQ(before.services[0].state, "waiting");
  EXPECT_EQ(before.tenant_id, "");
  EXPECT_FALSE(before.faults.empty());
  verdicts_ = {{"pass.test", true, ""}, {"term.test", false, "not granted"}};
  hold_answers_ = false;
  wait([&] { return links_.size() == 1 && !agent_->status().edges.empty(); });
  wait([&] { return agent_->status().edges[0].is_connected; });
  const Status after = agent_->status();
  EXPECT_EQ(after.tenant_id, key(7).public_key().to_string());
  EXPECT_EQ(after.services[0].service, "pass.test");
  EXPECT_EQ(after.services[0].state, "accepted");
  EXPECT_EQ(after.services[1].state, "refused");
  EXPECT_EQ(after.services[1].reason, "not granted");
  EXPECT_EQ(after.edges[0].id, edge_->id().to_string());
  const std::string json = to_json(after);
  EXPECT_THAT(json, HasSubstr(R"("status":"degraded")"));
  EXPECT_THAT(json, HasSubstr(R"("status":"refused","reason":"not granted")"));
}

TEST_F(AgentMetrics, ALostEdgeIsAFaultUntilAnotherTunnelIsWelcomed) {
  start_and_link();
  wait([&] { return agent_->faults().empty(); });
  unwelcome_ = 2;
  links_[0].connection->close(tunnel::kCloseDraining, "test");
  wait_for("lost_tunnels_total", 1);
  EXPECT_THAT(agent_->faults(), ElementsAre("no edge is connected"));
  EXPECT_EQ(value("edges{state=\"connected\"}"), 0);
  wait([&] { return agent_->faults().empty(); });
  EXPECT_EQ(value("failed_dials_total"), 2);
  EXPECT_EQ(value("tunnels_total"), 2);
}

TEST_F(AgentMetrics, ARevokedAgentHoldsNoLease) {
  start_and_link();
  wait([&] { return agent_->faults().empty(); });
  refusal_ =
      http::Response{.status = 401,
                     .headers = {},
                     .body = R"({"error":{"code":"invite_revoked","message":"the invite was revoked"}})"};
  links_[0].connection->close(tunnel::kCloseRevoked, "test");
  wait_for("declarations_total{result=\"refused\"}", 1);
  EXPECT_THAT(agent_->faults(),
              ElementsAre("the hub refuses the declaration: the invite was revoked", "no edge is connected"));
  EXPECT_EQ(value("lease"), 0);
  EXPECT_EQ(value("services{state=\"accepted\"}"), 0);
}

TEST_F(AgentMetrics, AHubThatDoesNotAnswerIsCountedAndEndsNoLease) {
  renew_after_ = 1s;
  start_and_link();
  wait([&] { return agent_->faults().empty(); });
  hub_->close();
  wait([&] { return value("declarations_total{result=\"unanswered\"}") > 0; });
  EXPECT_THAT(agent_->faults(), IsEmpty());
  EXPECT_EQ(value("lease"), 1);
}

TEST_F(AgentMetrics, ServicesThatTheHubRefusesAreFaults) {
  verdicts_ = {{"pass.test", true, ""}, {"term.test", false, "another invite holds it"}};
  start_and_link();
  wait_for("edges{state=\"connected\"}", 1);
  EXPECT_THAT(agent_->faults(), ElementsAre("the hub does not accept term.test: another invite holds it"));
  EXPECT_EQ(value("services{state=\"accepted\"}"), 1);
  EXPECT_EQ(value("services{state=\"refused\"}"), 1);
}

TEST_F(AgentMetrics, AnAgentWithoutAnAcceptedServiceHoldsNoLease) {
  verdicts_ = {{"pass.test", false, "no"}, {"term.test", false, "no"}};
  start();
  wait_for("declarations_total{result=\"granted\"}", 1);
  EXPECT_THAT(agent_->faults(),
              ElementsAre("the hub accepts none of the services: no", "no edge is connected"));
  EXPECT_EQ(value("lease"), 0);
}

TEST_F(AgentMetrics, StreamsAreCountedByTheirEnd) {
  start_and_link();
  wait([&] { return agent_->faults().empty(); });
  expect_refused(open(links_[0], "other.test", TlsMode::kTerminate), tunnel::kStreamUnknownService);
  expect_refused(open(links_[0], "no PROXY header, whatever else it is"), tunnel::kStreamBadHeader);
  auto stream = open(links_[0], "term.test", TlsMode::kTerminate, "GET /");
  auto origin = accept_at_origin();
  EXPECT_EQ(read(*origin), "GET /");
  EXPECT_EQ(value("streams"), 1);
  stream->finish();
  EXPECT_EQ(read(*origin), "");
  write(*origin, "answer");
  EXPECT_TRUE(run_task(loop_, net::finish(*origin, soon())));
  wait([&] { return stream->readable().size() == 6; });
  stream->consume(6);
  wait_for("finished_streams_total", 1);
  EXPECT_EQ(value("streams"), 0);
  EXPECT_EQ(value("streams_total"), 3);
  EXPECT_EQ(value("failed_streams_total{reason=\"unknown_service\"}"), 1);
  EXPECT_EQ(value("failed_streams_total{reason=\"bad_header\"}"), 1);
  EXPECT_EQ(value("bytes_total{direction=\"to_origin\"}"), 5) << "the first bytes, that came with the header";
  EXPECT_EQ(value("bytes_total{direction=\"to_edge\"}"), 6);
}

TEST_F(AgentMetrics, BytesAreCountedWhileADownloadRuns) {
  start_and_link();
  auto stream = open(links_[0], "term.test", TlsMode::kTerminate, "GET /");
  auto origin = accept_at_origin();
  EXPECT_EQ(read(*origin), "GET /");
  write(*origin, std::string(10'000, 'x'));
  wait_for("bytes_total{direction=\"to_edge\"}", 10'000);
  stream->write(as_bytes("more"));
  wait_for("bytes_total{direction=\"to_origin\"}", 5 + 4);
  EXPECT_EQ(value("streams"), 1) << "it still runs";
  write(*origin, std::string(5'000, 'x'));
  wait_for("bytes_total{direction=\"to_edge\"}", 15'000);
  stream->reset(tunnel::kStreamClientGone);
  stream->stop(tunnel::kStreamClientGone);
  wait_for("streams", 0);
  EXPECT_EQ(value("bytes_total{direction=\"to_edge\"}"), 15'000) << "the end adds nothing";
}

TEST_F(AgentMetrics, AnOriginThatCannotBeReachedIsAFaultUntilItCan) {
  start_and_link();
  wait([&] { return agent_->faults().empty(); });
  const SocketAddr address = origin_->local_addr();
  origin_->close();
  expect_refused(open(links_[0], "term.test", TlsMode::kTerminate), tunnel::kStreamOriginUnreachable);
  EXPECT_EQ(value("failed_streams_total{reason=\"origin_unreachable\"}"), 1);
  EXPECT_THAT(agent_->faults(), ElementsAre(HasSubstr(fmt::format(
                                    "the origin {} of term.test cannot be reached", address.to_string()))));
  origin_ = net::TcpListener::listen(loop_, address, {}).value();
  auto stream = open(links_[0], "term.test", TlsMode::kTerminate, "GET /");
  EXPECT_EQ(read(*accept_at_origin()), "GET /");
  EXPECT_THAT(agent_->faults(), IsEmpty());
}

}  // namespace
}  // namespace culvert::agent
