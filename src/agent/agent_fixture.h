#pragma once
#include <gtest/gtest.h>

#include <optional>

#include "agent/agent.h"
#include "endpoint/endpoint.h"
#include "http/date.h"
#include "http/server.h"
#include "net/resolver.h"
#include "net/tcp.h"
#include "net/testing.h"
#include "net/testing_dns.h"
#include "tls/tls.h"
#include "tunnel/control.h"
#include "tunnel/protocol.h"
#include "tunnel/stream_header.h"

// An agent between a hub, an edge and an origin of the test's own, over loopback.
namespace culvert::agent {

using namespace std::chrono_literals;
using net::Task;
using net::testing::addr;
using net::testing::run_task;
using net::testing::run_until;
using net::testing::soon;
using route::TlsMode;
using Events = std::vector<std::string>;

inline SecretKey key(uint8_t fill) { return SecretKey::from_seed(Bytes(32, fill)).value(); }

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
    hub_server_.close();
    edge_->close(tunnel::kCloseDraining, "test over");
    if (other_edge_) other_edge_->close(tunnel::kCloseDraining, "test over");
    run_until(loop_, [this] { return tasks_.size() == 0; });
  }

  // Serves "pass.test" by passthrough and "term.test" terminated, both from origin_.
  void start(size_t max_streams = 10) {
    uint16_t port = origin_->local_addr().port();
    std::string hub_url = fmt::format("https://{}:{}", hub_host_, hub_->local_addr().port());
    Config config{
        .token = {{hub_url}, key(9).public_key(), {}, {}, key(7)},
        .services = {{hubapi::DeclaredService{*route::HostPattern::parse("pass.test"), TlsMode::kPassthrough},
                      {HostPort{origin_host_, port}},
                      true},
                     {hubapi::DeclaredService{*route::HostPattern::parse("term.test"), TlsMode::kTerminate},
                      {HostPort{"127.0.0.1", port}},
                      false}},
        .options = {.max_streams = max_streams}};
    config.services.insert(config.services.end(), more_services_.begin(), more_services_.end());
    config.options.origin_timeout = origin_timeout_;
    config.options.share = share_;
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
  void suspended(bool is_suspended) override {
    suspensions_.push_back(is_suspended ? "suspended" : "resumed");
  }
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
      auto accepted = co_await hub_->accept();
      if (!accepted) co_return;
      tasks_.spawn(answer_declaration(std::move(*accepted)));
    }
  }
  Task<> answer_declaration(std::unique_ptr<net::ByteStream> transport) {
    auto stream = co_await tls::accept(std::move(transport), {}, identity_, {}, soon());
    if (stream) co_await hub_server_.serve(std::move(*stream));
  }
  Task<> respond(http::Exchange& exchange) {
    auto body = co_await exchange.read_all(64 * 1024);
    EXPECT_TRUE(body && hubapi::decode_declaration(exchange.request.body));
    events_.push_back("declared");
    while (hold_answers_) co_await net::sleep_for(loop_, 5ms);
    auto answer = refusal_ ? *refusal_ : http::Response{.status = 200, .headers = {}, .body = lease()};
    if (hub_time_) answer.headers.add("Date", http::format_date(*hub_time_));
    auto sent = co_await exchange.respond(std::move(answer));
    (void)sent;  // the agent may be gone
  }
  std::string lease() const {
    return encode(hubapi::LeaseAnswer{.tenant = key(7).public_key(),
                                      .granted = {"*.test"},
                                      .edges = edges_,
                                      .services = verdicts_,
                                      .public_port = 443,
                                      .internal_ca_pem = "",
                                      .renew_after = renew_after_,
                                      .is_suspended = is_suspended_,
                                      .ports = port_verdicts_});
  }

  std::unique_ptr<endpoint::Endpoint> bind_edge(uint8_t fill) {
    endpoint::Config config{
        .key = key(fill), .bind = addr("127.0.0.1:0"), .protocols = {{.alpn = tunnel::kTunnelAlpn}}};
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
      auto connection = co_await edge.accept(tunnel::kTunnelAlpn);
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
    if (hello) hellos_.push_back(std::get<tunnel::Hello>(*hello));
    events_.push_back("dialled");
    if (unwelcome_ > 0) {
      --unwelcome_;
      connection->close(tunnel::kCloseLimit, "not now");
      co_return;
    }
    // No program listens there: the services of these agents are never proven.
    EXPECT_TRUE(control->send(tunnel::Welcome{tunnel::kControlProtocol, "test", "127.0.0.1:1"}));
    links_.push_back({std::move(connection), control});
    while (true) {
      auto message = co_await control->receive(TimePoint::max());
      if (!message) co_return;
      if (const auto* health = std::get_if<tunnel::Health>(&*message)) health_.push_back(*health);
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
    Bytes head = encode(tunnel::StreamHeader{addr("198.51.100.2:1234"), addr("203.0.113.1:443"), host,
                                             tunnel::kind_of(mode), 1});
    return open(link, std::string(as_text(head)) + std::string(after));
  }
  void expect_refused(const endpoint::StreamPtr& stream, endpoint::AppCode code) {
    wait([&] { return stream->was_reset(); });
    EXPECT_EQ(stream->reset_code(), code);
  }
  std::unique_ptr<net::ByteStream> accept_at_origin() { return run_task(loop_, origin_->accept()).value(); }
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

  // Of the agent, besides those of start().
  std::vector<Service> more_services_;
  Duration origin_timeout_ = 10s;
  route::Share share_;

  // What hub and edge answer.
  std::vector<hubapi::EdgeInfo> edges_;
  std::vector<hubapi::ServiceVerdict> verdicts_{{"pass.test", true, ""}, {"term.test", true, ""}};
  std::vector<hubapi::PortVerdict> port_verdicts_;
  std::optional<http::Response> refusal_;
  http::Server hub_server_{loop_, {}, [this](http::Exchange& exchange) { return respond(exchange); }};
  std::optional<UnixTime> hub_time_;  // in its answers
  Duration renew_after_ = 30s;
  bool is_suspended_ = false;
  Events suspensions_;
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
  std::vector<tunnel::Hello> hellos_;
  std::vector<tunnel::Health> health_;  // as the edges were told
  std::optional<Agent> agent_;
  Result<> outcome_;  // of run()
  bool agent_ended_ = false;
  net::TaskGroup tasks_;
};

}  // namespace culvert::agent
