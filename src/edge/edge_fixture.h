#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "edge/edge.h"
#include "edge/testing.h"
#include "net/tcp.h"
#include "route/testing.h"
#include "wire/client_hello.h"

// For tests of edge: a whole edge, its workers on their threads, over loopback; clients and agents on the
// test's own loop.
namespace culvert::edge::testing {

using namespace std::chrono_literals;
using net::testing::read_all;
using net::testing::run_task;

inline const Bytes kUnrecognizedName = tls::alert_record(tls::Alert::kUnrecognizedName);
inline const Bytes kInternalError = tls::alert_record(tls::Alert::kInternalError);

class EdgeFixture : public ::testing::Test {
 public:
  EdgeFixture() : tasks_(loop_) {}
  ~EdgeFixture() override {
    edge_.reset();
    for (auto& socket : sockets_) socket->close();
    run_until(loop_, [this] { return tasks_.size() == 0; });
  }

  void start(Config config) {
    auto pem = tls::InternalCa::create("test root", unix_now());
    root_ = pem.certificate;
    certificates_ = std::make_shared<tls::Certificates>(tls::InternalCa::load(pem).value(), unix_now);
    edge_ = Edge::bind(std::move(config), certificates_).value();
    edge_->set_names({"hub.test"}, "hub.test:443");
    edge_->start({.serve_hub =
                      [this](PublicConnection connection) {
                        std::lock_guard lock(mutex_);
                        if (refuse_for_hub_) return false;
                        to_hub_.push_back(std::move(connection));
                        return true;
                      },
                  .agent_left =
                      [this](EndpointId agent) {
                        std::lock_guard lock(mutex_);
                        left_.push_back(agent);
                      },
                  .agents_heard =
                      [this](std::vector<route::AgentHeard> agents) {
                        std::lock_guard lock(mutex_);
                        reports_.push_back(std::move(agents));
                      },
                  .tunnel_closed =
                      [this](EndpointId agent) {
                        std::lock_guard lock(mutex_);
                        closed_.push_back(agent);
                      },
                  .stopped = [this] { stopped_ = true; }});
  }
  static Config config() {
    return {.key = key(9),
            .options = {.tcp_listen = SocketAddr::v4({127, 0, 0, 1}, 0), .drain_timeout = 5s},
            .hub_names = {},
            .public_addr = {},
            .version = "test"};
  }

  static route::Route route(std::string_view host, route::TlsMode mode,
                            const std::vector<EndpointId>& agents) {
    return route::testing::route(host, agents, mode);
  }
  // Both return when every worker has the routes: a client that connects later is served by them.
  void set_routes(std::vector<route::Route> routes) {
    edge_->replace_routes(route::Snapshot::of(std::move(routes), ++version_));
    wait_for_workers();
  }
  void apply_routes(const route::Delta& changes) {
    ASSERT_TRUE(edge_->apply_routes(changes));
    version_ = changes.to;
    wait_for_workers();
  }
  // Until every worker has run what was posted to it before.
  void wait_for_workers() {
    auto left = std::make_shared<unsigned>(edge_->workers());
    edge_->ask_workers([this, left](unsigned, const Metrics&) { loop_.post([left] { --*left; }); });
    wait([&] { return *left == 0; });
  }
  void dial(FakeAgent& agent) { agent.dial(edge_->udp_addr(), key(9).public_key()); }
  void connect(FakeAgent& agent) {
    dial(agent);
    run_until(loop_, [&] { return agent.welcome(); });
  }
  // One agent that serves "pass.test" by passthrough, "*.w.test" and "term.test" terminated.
  void start_with(FakeAgent& agent) {
    start(config());
    set_usual_routes(agent);
    connect(agent);
  }
  void set_usual_routes(FakeAgent& agent) {
    set_routes({route("pass.test", route::TlsMode::kPassthrough, {agent.id()}),
                route("term.test", route::TlsMode::kTerminate, {agent.id()}),
                route("*.w.test", route::TlsMode::kTerminate, {agent.id()})});
  }

  std::unique_ptr<net::ByteStream> tcp() {
    return run_task(loop_, net::tcp_connect(loop_, edge_->tcp_addr(), soon())).value();
  }
  Result<std::unique_ptr<net::ByteStream>> tls(std::string name) {
    tls::ClientTrust trust;
    trust.root_pem = root_;
    return run_task(loop_, tls::connect(tcp(), std::move(name), std::move(trust), soon()));
  }
  // A client that will speak HTTP/1.1, as browsers say it.
  net::ByteStream& https(std::string name) {
    tls::ClientOptions options{.roots = tls::load_roots(root_, unix_now()).value()};
    options.alpn = {"http/1.1"};
    auto done =
        run_task(loop_, tls::connect(tcp(), std::move(name), tls::make_client_context(options), soon()));
    return keep(std::move(done.stream).value());
  }
  // One that the edge answers in full, and then waits for the client.
  Bytes openssl_hello(std::string name) {
    net::testing::TcpPair pair(loop_);
    tasks_.spawn(
        [](std::unique_ptr<net::ByteStream> socket, std::string host, std::string root) -> net::Task<> {
          tls::ClientTrust trust;
          trust.root_pem = std::move(root);
          auto refused = co_await tls::connect(std::move(socket), std::move(host), std::move(trust), soon());
          EXPECT_FALSE(refused);
        }(std::move(pair.client), std::move(name), root_));
    Bytes hello(wire::ClientHelloReader::kMaxBytes);
    hello.resize(run_task(loop_, net::read_some(*pair.server, hello, soon())).value());
    return hello;
  }
  net::ByteStream& keep(std::unique_ptr<net::ByteStream> socket) {
    sockets_.push_back(std::move(socket));
    return *sockets_.back();
  }
  void send(net::ByteStream& socket, ByteView bytes) {
    Result<> sent = run_task(loop_, net::write_all(socket, bytes, soon()));
    EXPECT_TRUE(sent);
  }
  Received& read(net::ByteStream& socket) {
    received_.push_back(std::make_unique<Received>());
    tasks_.spawn(read_all(socket, *received_.back()));
    return *received_.back();
  }
  // A client of a passthrough route, whose ClientHello an agent has echoed.
  struct Client {
    net::ByteStream& socket;
    Received& answer;
  };
  Client open_client(std::string_view host) {
    net::ByteStream& socket = keep(tcp());
    const Bytes hello = client_hello(host);
    send(socket, hello);
    Received& answer = read(socket);
    wait([&] { return answer.bytes == hello; });
    return {socket, answer};
  }
  // What the edge answers to a hello, until it ends the connection.
  Received say_hello(std::string_view name) {
    net::ByteStream& socket = keep(tcp());
    send(socket, client_hello(name));
    Received& answer = read(socket);
    wait([&] { return answer.ended(); });
    return answer;
  }
  std::string get(std::string name) {
    auto stream = tls(std::move(name));
    EXPECT_TRUE(stream) << stream.error().message;
    if (!stream) return "";
    net::ByteStream& socket = keep(std::move(*stream));
    send(socket, as_bytes("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    Received& answer = read(socket);
    wait([&] { return answer.ended(); });
    EXPECT_TRUE(answer.clean);
    return answer.text();
  }
  void wait(auto condition) { run_until(loop_, condition); }
  void pause(Duration time) {
    const TimePoint end = loop_.now() + time;
    wait([&] { return loop_.now() >= end; });
  }
  // Until the edge has called the control plane: `calls` is a list that `mutex_` guards.
  void wait_for_call(const auto& calls) {
    wait([&] {
      std::lock_guard lock(mutex_);
      return !calls.empty();
    });
  }
  const Counters& counters() const { return edge_->counters(); }

  net::EventLoop loop_;
  std::string root_;
  std::shared_ptr<tls::Certificates> certificates_;
  std::unique_ptr<Edge> edge_;
  uint64_t version_ = 0;  // of the routes
  std::mutex mutex_;
  std::vector<PublicConnection> to_hub_;
  bool refuse_for_hub_ = false;
  std::vector<EndpointId> left_;
  std::vector<EndpointId> closed_;
  std::vector<std::vector<route::AgentHeard>> reports_;
  std::atomic<bool> stopped_ = false;
  std::vector<std::unique_ptr<Received>> received_;
  std::vector<std::unique_ptr<net::ByteStream>> sockets_;
  net::TaskGroup tasks_;
};

}  // namespace culvert::edge::testing
