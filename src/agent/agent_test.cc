// An agent between a hub, an edge and an origin of the test's own, over loopback.
#include "agent/agent.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <optional>

#include "base/backoff.h"
#include "endpoint/endpoint.h"
#include "http/date.h"
#include "http/parser.h"
#include "net/resolver.h"
#include "net/testing.h"
#include "net/testing_dns.h"
#include "tls/tls.h"
#include "tunnel/control.h"
#include "tunnel/protocol.h"
#include "tunnel/stream_header.h"
#include "wire/proxy_protocol.h"

namespace culvert::agent {
namespace {

using namespace std::chrono_literals;
using net::Task;
using net::testing::addr;
using net::testing::run_task;
using net::testing::run_until;
using net::testing::soon;
using route::TlsMode;
using Events = std::vector<std::string>;

SecretKey key(uint8_t fill) { return SecretKey::from_seed(Bytes(32, fill)).value(); }

class AgentTest : public ::testing::Test, public AgentObserver {
 public:
  // As the edge sees a tunnel.
  struct Link {
    endpoint::ConnectionPtr connection;
    std::shared_ptr<tunnel::ControlStream> control;
  };

  AgentTest() : tasks_(loop_) {
    hub_ = net::TcpListener::listen(loop_, addr("127.0.0.1:0"), {}).value();
    origin_ = net::TcpListener::listen(loop_, addr("127.0.0.1:0"), {}).value();
    identity_ = tls::self_signed_identity(key(9), key(9).public_key().tls_name(), unix_now()).value();
    edge_ = bind_edge(8);
    edges_ = {{edge_->id(), {edge_->local_addr().to_string()}}};
    tasks_.spawn(serve_hub());
    tasks_.spawn(serve_edge(*edge_));
  }
  ~AgentTest() override {
    for (int i = 0; i < 2 && agent_; ++i) agent_->stop();  // again: open streams are not waited for
    run_until(loop_, [this] { return !agent_ || agent_ended_; });
    hub_->close();
    edge_->close(tunnel::kCloseDraining, "test over");
    if (other_edge_) other_edge_->close(tunnel::kCloseDraining, "test over");
    run_until(loop_, [this] { return tasks_.size() == 0; });
  }

  // Serves "pass.test" by passthrough and "term.test" terminated, both from origin_.
  void start(size_t max_streams = 10) {
    uint16_t port = origin_->local_addr().port();
    std::string hub_url = fmt::format("https://{}:{}", hub_host_, hub_->local_addr().port());
    Config config{.token = {{hub_url}, key(9).public_key(), {}, {}, key(7)},
                  .services = {{*route::HostPattern::parse("pass.test"), origin_host_, port,
                                TlsMode::kPassthrough, true},
                               {*route::HostPattern::parse("term.test"), "127.0.0.1", port,
                                TlsMode::kTerminate, false}},
                  .options = {.max_streams = max_streams}};
    agent_.emplace(loop_, std::move(config), *this);
    tasks_.spawn(run_agent());
  }
  void start_and_link(size_t max_streams = 10) {
    start(max_streams);
    wait([&] { return links_.size() == 1; });
  }

  void refused(const HubRefusal& refusal) override {
    refusals_.push_back(refusal.error.message);
    refusal_is_temporary_ = refusal.is_temporary;
  }
  void hub_unreachable(const Error&, Duration) override { ++unreachable_; }
  void hub_reached(Duration) override { ++reached_; }
  void clock_differs(const std::string& message) override { clock_messages_.push_back(message); }
  void shared(const std::string& hostname, size_t others) override {
    shared_.push_back(fmt::format("{} {}", hostname, others));
  }

  Task<> run_agent() {
    outcome_ = co_await agent_->run();
    agent_ended_ = true;
  }
  Task<> serve_hub() {
    while (true) {
      auto fd = co_await hub_->accept();
      if (!fd) co_return;
      tasks_.spawn(answer_declaration(*fd));
    }
  }
  Task<> answer_declaration(int fd) {
    auto stream = co_await tls::accept(net::make_tcp_stream(loop_, fd), {}, identity_, {}, soon());
    if (!stream) co_return;
    net::Reader reader(**stream);
    http::RequestParser parser;
    auto request = co_await http::read_request(reader, parser, soon(), 10s);
    if (!request || !*request) co_return;
    EXPECT_TRUE(hubapi::decode_declaration((*request)->body));
    events_.push_back("declared");
    while (hold_answers_) co_await net::sleep_for(loop_, 5ms);
    auto answer = refusal_ ? *refusal_ : http::Response{.status = 200, .headers = {}, .body = lease()};
    if (hub_time_) answer.headers.add("Date", http::format_date(*hub_time_));
    auto written = co_await http::write_response(**stream, std::move(answer), false, soon());
    EXPECT_TRUE(written);
    auto finished = co_await net::finish(**stream, soon());
    (void)finished;
    (*stream)->close();
  }
  std::string lease() const {
    return encode(hubapi::LeaseAnswer{.tenant = key(7).public_key(),
                                      .granted = {"*.test"},
                                      .edges = edges_,
                                      .services = verdicts_,
                                      .public_port = 443,
                                      .internal_ca_pem = "",
                                      .renew_after = renew_after_});
  }

  std::unique_ptr<endpoint::Endpoint> bind_edge(uint8_t fill) {
    endpoint::Config config{
        .key = key(fill), .bind = addr("127.0.0.1:0"), .accept_alpns = {tunnel::kTunnelAlpn}, .limits = {}};
    return endpoint::Endpoint::bind(loop_, std::move(config)).value();
  }
  // The next lease names it as well.
  void add_other_edge() {
    other_edge_ = bind_edge(6);
    edges_.push_back({other_edge_->id(), {other_edge_->local_addr().to_string()}});
    tasks_.spawn(serve_edge(*other_edge_));
  }
  Task<> serve_edge(endpoint::Endpoint& edge) {
    while (true) {
      auto connection = co_await edge.accept();
      if (!connection) co_return;
      tasks_.spawn(welcome(*connection));
    }
  }
  Task<> welcome(endpoint::ConnectionPtr connection) {
    auto stream = co_await connection->accept_bidi();
    if (!stream) co_return;
    auto control = std::make_shared<tunnel::ControlStream>(loop_, *stream);
    auto hello = co_await control->receive(soon());
    EXPECT_TRUE(hello && std::holds_alternative<tunnel::Hello>(*hello));
    events_.push_back("dialled");
    if (unwelcome_ > 0) {
      --unwelcome_;
      connection->close(tunnel::kCloseLimit, "not now");
      co_return;
    }
    // Nobody listens there: these agents never get ready.
    EXPECT_TRUE(control->send(tunnel::Welcome{tunnel::kControlProtocol, "test", "127.0.0.1:1"}));
    links_.push_back({std::move(connection), control});
    while (true) {
      auto message = co_await control->receive(TimePoint::max());
      if (!message) co_return;
      if (!std::holds_alternative<tunnel::Drain>(*message)) continue;
      events_.push_back("drains");
      if (answers_drain_) (void)control->send(tunnel::Drained{});
    }
  }

  // A stream as the edge opens one for a public connection.
  endpoint::StreamPtr open(const Link& link, std::string_view first_words) {
    auto stream = run_task(loop_, link.connection->open_bidi()).value();
    EXPECT_EQ(stream->write(as_bytes(first_words)), first_words.size());
    return stream;
  }
  endpoint::StreamPtr open(const Link& link, std::string host, TlsMode mode, std::string_view after = "") {
    Bytes head =
        encode(tunnel::StreamHeader{addr("198.51.100.2:1234"), addr("203.0.113.1:443"), host, mode, 1});
    return open(link, std::string(as_text(head)) + std::string(after));
  }
  void expect_refused(const endpoint::StreamPtr& stream, endpoint::AppCode code) {
    wait([&] { return stream->was_reset(); });
    EXPECT_EQ(stream->reset_code(), code);
  }
  std::unique_ptr<net::ByteStream> accept_at_origin() {
    return net::make_tcp_stream(loop_, run_task(loop_, origin_->accept()).value());
  }
  std::string read(net::ByteStream& socket) {
    Bytes chunk(4096);
    chunk.resize(run_task(loop_, net::read_some(socket, chunk, soon())).value());
    return std::string(as_text(chunk));
  }
  void write(net::ByteStream& socket, std::string_view text) {
    EXPECT_TRUE(run_task(loop_, net::write_all(socket, as_bytes(text), soon())));
  }
  void wait(auto condition) { run_until(loop_, condition); }

  net::EventLoop loop_;
  std::unique_ptr<net::TcpListener> hub_;
  std::unique_ptr<net::TcpListener> origin_;
  tls::IdentityPtr identity_;
  std::unique_ptr<endpoint::Endpoint> edge_;
  std::unique_ptr<endpoint::Endpoint> other_edge_;

  // What the agent is told; the hub and the origin listen on 127.0.0.1.
  std::string hub_host_ = "127.0.0.1";
  std::string origin_host_ = "127.0.0.1";
  std::optional<net::testing::FakeDns> dns_;
  // A name server that is silent about "dead.test", and finds every other name at 127.0.0.1.
  void serve_names() {
    dns_.emplace(loop_, [](const std::string& name, uint16_t type) -> net::testing::DnsReply {
      if (name == "dead.test") return {.is_silent = true};
      if (type != net::testing::kTypeA) return {};
      return {.records = {net::testing::dns_address(name, "127.0.0.1")}};
    });
    net::configure_resolver(loop_,
                            {.servers = dns_->address(), .resolv_conf = "/dev/null", .hosts = "/dev/null"});
  }
  // Stops the agent once and expects it to end long before any deadline of a name, a hub or an origin.
  void expect_prompt_end() {
    const TimePoint stopped = monotonic_now();
    agent_->stop();
    wait([this] { return agent_ended_; });
    EXPECT_LT(monotonic_now() - stopped, 1500ms);
  }

  // What hub and edge answer.
  std::vector<hubapi::EdgeInfo> edges_;
  std::vector<hubapi::ServiceVerdict> verdicts_{{"pass.test", true, ""}, {"term.test", true, ""}};
  std::optional<http::Response> refusal_;
  std::optional<UnixTime> hub_time_;  // in its answers
  Duration renew_after_ = 30s;
  bool hold_answers_ = false;  // declarations are taken and not answered
  bool answers_drain_ = true;  // as soon as it is asked
  int unwelcome_ = 0;          // tunnels that the edge closes at once

  // What happened.
  Events events_;
  Events refusals_;
  bool refusal_is_temporary_ = false;
  int unreachable_ = 0, reached_ = 0;
  Events clock_messages_;
  Events shared_;
  std::vector<Link> links_;
  std::optional<Agent> agent_;
  Result<> outcome_;  // of run()
  bool agent_ended_ = false;
  net::TaskGroup tasks_;
};

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

TEST_F(AgentTest, ALostLinkIsDeclaredAnewBeforeItIsDialled) {
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
  EXPECT_NE(refusals_[0].find("edge-addr"), std::string::npos) << refusals_[0];
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
