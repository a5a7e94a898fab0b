#include "agent/agent_fixture.h"
#include "agent/stream_server.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>

#include "base/backoff.h"
#include "wire/proxy_protocol.h"

namespace culvert::agent {
namespace {

// ---- Streams

TEST_F(AgentTest, ATerminatedStreamReachesItsOriginAndBothEndsAreKept) {
  start_and_link();
  auto stream = open(links_[0], "term.test", TlsMode::kTerminate, "GET /");
  auto origin = accept_at_origin();
  EXPECT_EQ(read(*origin), "GET /");
  stream->finish();
  EXPECT_EQ(read(*origin), "");
  write(*origin, "an answer after your end");
  EXPECT_TRUE(run_task(loop_, net::finish(*origin, soon())));
  wait([&] { return stream->readable().size() == 24; });
  stream->consume(24);
  wait([&] { return stream->finished(); });
}

TEST_F(AgentTest, TheOriginIsToldOfTheClientInFrontOfItsFirstBytes) {
  start_and_link();
  auto stream = open(links_[0], "pass.test", TlsMode::kPassthrough, "hello");
  auto origin = accept_at_origin();
  auto expected =
      wire::encode_proxy_v2({.source = addr("198.51.100.2:1234"),
                             .destination = addr("203.0.113.1:443"),
                             .tlvs = {{wire::kProxyTlvAuthority, to_bytes(as_bytes("pass.test"))}}})
          .value();
  EXPECT_EQ(read(*origin), std::string(as_text(expected)) + "hello") << "as one segment";
}

TEST_F(AgentTest, TheOriginIsToldWhatAProxyBeforeTheEdgeSaid) {
  start_and_link();
  const wire::ProxyTlv id{0x05, {7}}, of_a_cloud{0xe0, {8}}, authority{wire::kProxyTlvAuthority, {'x'}};
  tunnel::StreamHeader header{.client = addr("198.51.100.2:1234"),
                              .public_addr = addr("203.0.113.1:443"),
                              .authority = "pass.test",
                              .kind = tunnel::StreamKind::kPassthrough,
                              .connection_id = 1,
                              .proxy_tlvs = {authority, id, of_a_cloud}};
  auto stream = open(links_[0], as_text(encode(header)));
  auto origin = accept_at_origin();
  const auto told = wire::decode_proxy(as_bytes(read(*origin)));
  ASSERT_TRUE(told && *told);
  EXPECT_EQ((*told)->header.tlvs,
            (std::vector<wire::ProxyTlv>{
                {wire::kProxyTlvAuthority, to_bytes(as_bytes("pass.test"))}, id, of_a_cloud}))
      << "the hostname is the client's own word";

  verdicts_ = {};
  port_verdicts_ = {{route::PortProtocol::kTcp, "ssh", 2222, true}};
  agent_->set_services({{hubapi::DeclaredPort{route::PortProtocol::kTcp, "ssh", 2222},
                         {HostPort{"127.0.0.1", origin_->local_addr().port()}},
                         true}});
  header.authority = "ssh";
  header.kind = tunnel::StreamKind::kTcpPort;
  auto at_port = open(links_[0], as_text(encode(header)));
  auto second = accept_at_origin();
  const auto told_of_port = wire::decode_proxy(as_bytes(read(*second)));
  ASSERT_TRUE(told_of_port && *told_of_port);
  EXPECT_EQ((*told_of_port)->header.tlvs, header.proxy_tlvs) << "a port has no hostname of its own";
}

TEST_F(AgentTest, APortsStreamsReachItsOriginAndAnEdgeTellsThatItIsNotOpen) {
  start_and_link();
  verdicts_ = {};
  port_verdicts_ = {{route::PortProtocol::kTcp, "ssh", 2222, true}};
  agent_->set_services({{hubapi::DeclaredPort{route::PortProtocol::kTcp, "ssh", 2222},
                         {HostPort{"127.0.0.1", origin_->local_addr().port()}},
                         false}});
  const tunnel::StreamHeader header{addr("198.51.100.2:1234"), addr("203.0.113.1:2222"), "ssh",
                                    tunnel::StreamKind::kTcpPort, 1};
  auto stream = open(links_[0], std::string(as_text(encode(header))) + "hello");
  auto origin = accept_at_origin();
  EXPECT_EQ(read(*origin), "hello");
  expect_refused(open(links_[0], "ssh", TlsMode::kPassthrough), tunnel::kStreamUnknownService);
  wait([&] { return agent_->status().services[0].state == "accepted"; });
  EXPECT_EQ(agent_->status().services[0].service, "tcp:ssh");
  EXPECT_EQ(agent_->status().services[0].listen_port, 2222);

  const route::PublicPort port{route::PortProtocol::kTcp, 2222};
  const auto has_fault = [&] {
    return std::ranges::any_of(agent_->faults(), [](const std::string& fault) {
      return fault.contains("does not listen on port tcp/2222 of ssh: it is in use");
    });
  };
  EXPECT_TRUE(links_[0].control->send(tunnel::PortState{port, false, "it is in use"}));
  wait(has_fault);
  EXPECT_TRUE(links_[0].control->send(tunnel::PortState{port, true, ""}));
  wait([&] { return !has_fault(); });
  // Of a port that is none of its own.
  EXPECT_TRUE(
      links_[0].control->send(tunnel::PortState{{route::PortProtocol::kTcp, 1}, false, "it is in use"}));
  EXPECT_FALSE(has_fault());
}

// As after a reload of its configuration: with the same key, lease and tunnels.
TEST_F(AgentTest, OtherServicesAreDeclaredAndServedAtOnceAndOpenStreamsGoOn) {
  start_and_link();
  auto before = open(links_[0], "term.test", TlsMode::kTerminate, "one");
  auto kept = accept_at_origin();
  EXPECT_EQ(read(*kept), "one");
  const auto declarations = std::ranges::count(events_, "declared");
  verdicts_ = {{"new.test", true, ""}};
  agent_->set_services({{hubapi::DeclaredService{*route::HostPattern::parse("new.test"), TlsMode::kTerminate},
                         {HostPort{"127.0.0.1", origin_->local_addr().port()}},
                         false}});
  expect_refused(open(links_[0], "term.test", TlsMode::kTerminate, "two"), tunnel::kStreamUnknownService);
  auto after = open(links_[0], "new.test", TlsMode::kTerminate, "three");
  auto fresh = accept_at_origin();
  EXPECT_EQ(read(*fresh), "three");
  write(*kept, "answer");
  wait([&] { return !before->readable().empty() || before->was_reset(); });
  EXPECT_FALSE(before->was_reset());
  wait([&] { return std::ranges::count(events_, "declared") > declarations; });
  EXPECT_EQ(std::ranges::count(events_, "dialled"), 1) << "the tunnel stays";
  wait([&] { return agent_->status().services[0].state == "accepted"; });
  EXPECT_EQ(agent_->status().services.size(), 1u);
}

TEST_F(AgentTest, AStreamItCannotServeIsRefusedWithTheReason) {
  start_and_link();
  expect_refused(open(links_[0], "other.test", TlsMode::kTerminate), tunnel::kStreamUnknownService);
  expect_refused(open(links_[0], "pass.test", TlsMode::kTerminate), tunnel::kStreamUnknownService);
  expect_refused(open(links_[0], "no PROXY header, whatever else it is"), tunnel::kStreamBadHeader);
  origin_->close();
  expect_refused(open(links_[0], "term.test", TlsMode::kTerminate), tunnel::kStreamOriginUnreachable);
}

TEST_F(AgentTest, AnOriginThatResetsIsNoEnd) {
  start_and_link();
  auto stream = open(links_[0], "term.test", TlsMode::kTerminate, "GET /");
  auto origin = accept_at_origin();
  EXPECT_EQ(read(*origin), "GET /");
  origin->reset();
  expect_refused(stream, tunnel::kStreamOriginReset);
}

TEST_F(AgentTest, WhatAnOriginSaysBeforeItResetsIsDelivered) {
  start_and_link();
  auto stream = open(links_[0], "term.test", TlsMode::kTerminate, "POST /");
  auto origin = accept_at_origin();
  write(*origin, "413 too large");
  origin->close();  // with the request unread: RST
  wait([&] { return stream->readable().size() == 13; });
  EXPECT_FALSE(stream->was_reset());
  expect_refused(stream, tunnel::kStreamOriginReset);
}

TEST_F(AgentTest, OneStreamTooManyIsToldAndTheNextOneFindsThePlaceAgain) {
  start_and_link(1);
  auto first = open(links_[0], "term.test", TlsMode::kTerminate, "first");
  auto origin = accept_at_origin();
  EXPECT_EQ(read(*origin), "first");
  expect_refused(open(links_[0], "term.test", TlsMode::kTerminate), tunnel::kStreamLimit);
  origin->reset();
  expect_refused(first, tunnel::kStreamOriginReset);
  auto next = open(links_[0], "term.test", TlsMode::kTerminate, "next");
  EXPECT_EQ(read(*accept_at_origin()), "next");
}

// ---- Links

TEST_F(AgentTest, ALostLinkIsDeclaredBeforeItIsDialledAgain) {
  start_and_link();
  for (endpoint::AppCode code : {tunnel::kCloseNoLease, tunnel::kCloseDraining, tunnel::kCloseReplaced}) {
    links_.back().connection->close(code, "gone");
    size_t before = links_.size();
    wait([&] { return links_.size() == before + 1; });
  }
  EXPECT_EQ(events_, (Events{"declared", "dialled", "declared", "dialled", "declared", "dialled", "declared",
                             "dialled"}));
  EXPECT_TRUE(refusals_.empty());
}

TEST_F(AgentTest, ADeclarationThatBeganBeforeTheLossDoesNotServeForIt) {
  renew_after_ = 1s;
  start_and_link();
  hold_answers_ = true;
  wait([&] { return events_.size() == 3; });  // the renewal is on its way
  renew_after_ = 30s;
  links_[0].connection->close(tunnel::kCloseNoLease, "gone");
  // Longer than the first back-off: the agent asks for a declaration in this time.
  run_task(loop_, [](net::EventLoop& loop) -> Task<bool> {
    co_await net::sleep_for(loop, 3 * Backoff::kFirst);
    co_return true;
  }(loop_));
  hold_answers_ = false;
  wait([&] { return links_.size() == 2; });
  EXPECT_EQ(events_, (Events{"declared", "dialled", "declared", "declared", "dialled"}));
}

TEST_F(AgentTest, AnEdgeThatClosesAtOnceIsTriedAgain) {
  unwelcome_ = 3;
  start_and_link();
  EXPECT_EQ(events_, (Events{"declared", "dialled", "declared", "dialled", "declared", "dialled", "declared",
                             "dialled"}));
}

TEST_F(AgentTest, ADrainingEdgeIsDialledAgainWhileItsStreamsGoOn) {
  start_and_link();
  auto stream = open(links_[0], "term.test", TlsMode::kTerminate, "before");
  auto origin = accept_at_origin();
  EXPECT_EQ(read(*origin), "before");
  EXPECT_TRUE(links_[0].control->send(tunnel::Drain{}));
  wait([&] { return links_.size() == 2; });
  stream->write(as_bytes("after"));
  EXPECT_EQ(read(*origin), "after");
}

TEST_F(AgentTest, ARefusalIsSaidOnceAndOutlived) {
  refusal_ = http::Response{
      .status = 401, .headers = {}, .body = R"({"error":{"code":"unauthorized","message":"no such right"}})"};
  start();
  wait([&] { return events_.size() >= 3; });
  EXPECT_EQ(refusals_, Events{"no such right"});
  EXPECT_TRUE(links_.empty());
  refusal_.reset();
  wait([&] { return links_.size() == 1; });
}

TEST_F(AgentTest, ARefusalThatMayPassIsTriedAgainWhenTheHubSays) {
  verdicts_ = {{"pass.test", false, "another mode", 1s}, {"term.test", false, "another mode", 2s}};
  start();
  wait([&] { return events_.size() == 2; });  // after one second, and not after thirty
  EXPECT_EQ(refusals_.size(), 1u);
  EXPECT_TRUE(refusal_is_temporary_);
  EXPECT_TRUE(links_.empty());
  verdicts_ = {{"pass.test", true, ""}, {"term.test", false, "not granted"}};
  wait([&] { return links_.size() == 1; });
  EXPECT_EQ(refusals_.size(), 2u);
  EXPECT_FALSE(refusal_is_temporary_);
}

TEST_F(AgentTest, AnotherAgentOfTheSameNameIsReportedOnce) {
  verdicts_ = {{"pass.test", true, "", {}, 2}, {"term.test", true, ""}};
  renew_after_ = 1s;
  start();
  wait([&] { return std::ranges::count(events_, std::string("declared")) == 3; });
  EXPECT_EQ(shared_, Events{"pass.test 2"});
}

TEST_F(AgentTest, ASuspensionIsToldOnceAndKeepsTheTunnel) {
  is_suspended_ = true;
  renew_after_ = 1s;
  start_and_link();
  wait([&] { return std::ranges::count(events_, std::string("declared")) == 3; });
  EXPECT_EQ(suspensions_, Events{"suspended"});
  EXPECT_EQ(agent_->faults(), Events{"the hub's operator has suspended this tenant"});
  is_suspended_ = false;
  wait([&] { return suspensions_.size() == 2; });
  EXPECT_EQ(suspensions_[1], "resumed");
  EXPECT_TRUE(agent_->faults().empty());
  EXPECT_EQ(links_.size(), 1u);
}

// The hub has withdrawn the edge since its stream came.
TEST_F(AgentTest, AStreamOfAnEdgeThatIsNotNamedAnyMoreIsRefused) {
  auto edge = bind_edge(4), agent = bind_edge(3);
  endpoint::EndpointAddr to_agent{.id = agent->id(), .relay_urls = {}, .ip_addrs = {agent->local_addr()}};
  std::optional<Result<endpoint::ConnectionPtr>> dialled;
  tasks_.spawn(net::testing::keep_result(edge->connect(to_agent, tunnel::kTunnelAlpn, soon()), dialled));
  auto accepted = run_task(loop_, agent->accept(tunnel::kTunnelAlpn)).value();
  wait([&] { return dialled.has_value(); });
  auto theirs = run_task(loop_, dialled->value()->open_bidi()).value();
  const tunnel::StreamHeader header{.client = addr("192.0.2.1:5"),
                                    .public_addr = addr("192.0.2.2:443"),
                                    .authority = "term.test",
                                    .kind = tunnel::StreamKind::kTerminate,
                                    .connection_id = 1};
  theirs->write(tunnel::encode(header));
  auto ours = run_task(loop_, accepted->accept_bidi()).value();
  const Config config{
      .token = {{}, key(9).public_key(), {}, {}, key(7)},
      .services = {{hubapi::DeclaredService{*route::HostPattern::parse("term.test"), TlsMode::kTerminate},
                    {HostPort{"127.0.0.1", origin_->local_addr().port()}},
                    false}},
      .options = {}};
  Counters counters;
  UdpServer udp(loop_, config, counters, tasks_);
  StreamServer streams(loop_, config, *this, counters, udp);
  tasks_.spawn(streams.serve(std::move(ours), nullptr, edge->id(), false));
  wait([&] { return counters.refused_edge == 1; });
  EXPECT_EQ(streams.active(), 0u);
  wait([&] { return theirs->was_reset(); });
  EXPECT_EQ(theirs->reset_code(), tunnel::kStreamUnknownService);
  edge->close(0, "");
  agent->close(0, "");
}

TEST_F(AgentTest, AClockThatDiffersFromTheHubsIsNamedOnce) {
  hub_time_ = unix_now() + 75s;
  renew_after_ = 1s;
  start();
  wait([&] { return std::ranges::count(events_, std::string("declared")) == 2; });
  ASSERT_EQ(clock_messages_.size(), 1u);
  EXPECT_TRUE(clock_messages_[0].starts_with("this machine's clock is 7")) << clock_messages_[0];
  EXPECT_TRUE(clock_messages_[0].ends_with("s behind the hub's")) << clock_messages_[0];
}

TEST_F(AgentTest, AHubThatIsBusyIsNoRefusal) {
  for (int status : {408, 429, 503}) {
    refusal_ = http::Response{.status = status, .headers = {}, .body = "{}"};
    if (!agent_) start();
    size_t before = events_.size();
    wait([&] { return events_.size() > before; });
  }
  refusal_.reset();
  wait([&] { return links_.size() == 1; });
  EXPECT_TRUE(refusals_.empty());
  EXPECT_EQ(unreachable_, 1) << "once, and after ten seconds again";
  EXPECT_EQ(reached_, 1);
}

TEST_F(AgentTest, AWithdrawnEdgeIsLeftWithoutAGoodbyeAndTheOthersAreKept) {
  renew_after_ = 1s;
  start_and_link();
  add_other_edge();
  wait([&] { return links_.size() == 2; });
  edges_.erase(edges_.begin());
  auto reason = run_task(loop_, links_[0].connection->closed());
  EXPECT_EQ(reason.kind, endpoint::CloseReason::Kind::kApplication);
  EXPECT_EQ(reason.code, tunnel::kCloseWithdrawn) << "a goodbye would end the lease for every edge";
  size_t before = events_.size();
  wait([&] { return events_.size() >= before + 2; });
  EXPECT_EQ(std::ranges::count(events_, std::string("dialled")), 2)
      << "the withdrawn edge is not dialled again";
  EXPECT_TRUE(links_[1].connection->is_open());
  EXPECT_TRUE(refusals_.empty());

  edges_.clear();
  reason = run_task(loop_, links_[1].connection->closed());
  EXPECT_EQ(reason.code, tunnel::kCloseWithdrawn) << "nor is the last one told goodbye: the agent goes on";
  wait([&] { return refusals_.size() == 1; });
  EXPECT_NE(refusals_[0].find("no edge now"), std::string::npos) << refusals_[0];
}

TEST_F(AgentTest, AnAddressThatIsNoneDoesNotSpoilTheOthers) {
  edges_[0].addresses.insert(edges_[0].addresses.begin(), "no-port");
  start_and_link();
}

TEST_F(AgentTest, StopSaysGoodbyeAfterTheOpenStreamsHaveEnded) {
  start_and_link();
  auto stream = open(links_[0], "term.test", TlsMode::kTerminate, "GET /");
  auto origin = accept_at_origin();
  EXPECT_EQ(read(*origin), "GET /");
  agent_->stop();
  write(*origin, "the whole answer");
  origin->close();
  stream->finish();
  auto reason = run_task(loop_, links_[0].connection->closed());
  EXPECT_EQ(reason.kind, endpoint::CloseReason::Kind::kApplication);
  EXPECT_EQ(reason.code, tunnel::kCloseGoodbye);
  EXPECT_EQ(as_text(stream->readable()), "the whole answer");
  wait([&] { return agent_ended_; });
}

TEST_F(AgentTest, StopAsksForNoMoreStreamsAndServesThoseThatCome) {
  answers_drain_ = false;
  start_and_link();
  agent_->stop();
  wait([&] { return events_.back() == "drains"; });
  // It was on its way: the edge opened it before it knew.
  auto stream = open(links_[0], "term.test", TlsMode::kTerminate, "GET /");
  auto origin = accept_at_origin();
  EXPECT_EQ(read(*origin), "GET /");
  write(*origin, "the answer");
  origin->close();
  stream->finish();
  wait([&] { return stream->readable().size() == 10; });
  // The edge is still busy with it, and says so by its silence.
  run_task(loop_, [](net::EventLoop& loop) -> Task<bool> {
    co_await net::sleep_for(loop, 700ms);
    co_return true;
  }(loop_));
  EXPECT_TRUE(links_[0].connection->is_open());
  EXPECT_TRUE(links_[0].control->send(tunnel::Drained{}));
  auto reason = run_task(loop_, links_[0].connection->closed());
  EXPECT_EQ(reason.code, tunnel::kCloseGoodbye);
  wait([&] { return agent_ended_; });
}

TEST_F(AgentTest, StopDoesNotWaitForAnEdgeThatNeverAnswers) {
  answers_drain_ = false;
  start_and_link();
  agent_->stop();
  auto reason = run_task(loop_, links_[0].connection->closed());
  EXPECT_EQ(reason.code, tunnel::kCloseGoodbye);
  wait([&] { return agent_ended_; });
}

TEST_F(AgentTest, EveryEdgeIsAskedAtAStop) {
  add_other_edge();
  start();
  wait([&] { return links_.size() == 2; });
  agent_->stop();
  wait([&] { return agent_ended_; });
  EXPECT_EQ(std::ranges::count(events_, std::string("drains")), 2);
}

// From here on this process gets no sockets.
void forbid_sockets() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_socket, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EMFILE),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog program{.len = static_cast<unsigned short>(std::size(filter)), .filter = filter};
  ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

TEST_F(AgentTest, OneThatCannotStartEndsWithTheReason) {
  auto start_without_sockets = [this] {
    forbid_sockets();
    start();
    wait([&] { return agent_ended_; });
    bool told = !outcome_ && !outcome_.error().message.empty();
    // A refusal is said of what is tried again.
    std::_Exit(told && refusals_.empty() && events_.empty() ? 0 : 1);
  };
  EXPECT_EXIT(start_without_sockets(), ::testing::ExitedWithCode(0), "");
}

TEST_F(AgentTest, OnlyAStopSaysGoodbye) {
  EXPECT_NE(tunnel::kCloseGoodbye, 0u) << "0 is what every dropped connection sends";
  // What an agent does that ends without stop(): its handles are dropped.
  auto dialler = bind_edge(5);
  endpoint::EndpointAddr target{.id = edge_->id(), .relay_urls = {}, .ip_addrs = {edge_->local_addr()}};
  auto dropped = run_task(loop_, dialler->connect(target, tunnel::kTunnelAlpn, soon())).value();
  auto stream = run_task(loop_, dropped->open_bidi()).value();
  tunnel::ControlStream control(loop_, stream);
  EXPECT_TRUE(control.send(tunnel::Hello{.agent_version = "test"}));
  wait([&] { return links_.size() == 1; });
  dropped.reset();
  auto reason = run_task(loop_, links_[0].connection->closed());
  EXPECT_EQ(reason.kind, endpoint::CloseReason::Kind::kApplication);
  EXPECT_NE(reason.code, tunnel::kCloseGoodbye);
}

TEST_F(AgentTest, HubAndOriginAreFoundByName) {
  serve_names();
  hub_host_ = "hub.test";
  origin_host_ = "origin.test";
  start_and_link();
  auto stream = open(links_[0], "pass.test", TlsMode::kPassthrough, "hello");
  auto origin = accept_at_origin();
  EXPECT_TRUE(read(*origin).ends_with("hello"));
}

TEST_F(AgentTest, StopsAtOnceWhileTheNameOfTheHubMeetsSilence) {
  serve_names();
  hub_host_ = "dead.test";
  start();
  wait([this] { return dns_->asked("dead.test", net::testing::kTypeA) > 0; });
  expect_prompt_end();
}

TEST_F(AgentTest, StopsAtOnceWhileTheHubDoesNotAnswer) {
  hold_answers_ = true;
  start();
  wait([this] { return !events_.empty(); });
  expect_prompt_end();
  hold_answers_ = false;
}

TEST_F(AgentTest, StopsAtOnceWhileTheNameOfAnOriginMeetsSilence) {
  serve_names();
  origin_host_ = "dead.test";
  start_and_link();
  auto stream = open(links_[0], "pass.test", TlsMode::kPassthrough);
  wait([this] { return dns_->asked("dead.test", net::testing::kTypeA) > 0; });
  EXPECT_EQ(agent_->open_connections(), 0u);
  expect_prompt_end();
}

}  // namespace
}  // namespace culvert::agent
