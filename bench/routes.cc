// An edge whose routes change all the time, for `make bench`: what that costs the connections that it
// carries.
//
//   bench_routes IP PORT ORIGIN HOSTNAME ROUTES CHANGES_PER_SECOND
//
// An edge with one worker listens at IP and PORT (TCP and UDP) and forwards HOSTNAME, by passthrough, through
// an agent in this process to ORIGIN (host:port). It has ROUTES others. Prints "ready" and then, until a
// stop signal, replaces the targets of one of the others CHANGES_PER_SECOND times a second. The hub's API is
// left out: its handshakes would cost more than the changes.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "agent/counters.h"
#include "agent/stream_server.h"
#include "agent/udp_server.h"
#include "base/host_port.h"
#include "base/limits.h"
#include "base/random.h"
#include "base/version.h"
#include "edge/edge.h"
#include "endpoint/endpoint.h"
#include "net/signals.h"
#include "tunnel/control.h"
#include "tunnel/protocol.h"

namespace culvert {
namespace {

constexpr Duration kDeadline = std::chrono::seconds(10);

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "bench_routes: %s\n", what.c_str());
  std::exit(1);
}

template <class T>
T need(Result<T> result, const char* what) {
  if (!result) die(fmt::format("{}: {}", what, result.error().message));
  return std::move(*result);
}

void need(const Result<>& result, const char* what) {
  if (!result) die(fmt::format("{}: {}", what, result.error().message));
}

// The agent's side, on a thread of its own as in a process of its own.
class Agent {
 public:
  Agent(const SecretKey& key, agent::Config config, SocketAddr edge, EndpointId edge_id)
      : key_(key), config_(std::move(config)), edge_(edge), edge_id_(edge_id) {}

  void start(std::function<void()> welcomed) {
    thread_ = std::thread([this, done = std::move(welcomed)] {
      tasks_.spawn(run(done));
      loop_.run_until_stopped();
    });
  }
  void stop() {
    loop_.stop();
    thread_.join();
  }

 private:
  net::Task<> run(std::function<void()> welcomed) {
    endpoint_ = need(endpoint::Endpoint::bind(loop_, {.key = key_, .bind = edge_.with_port(0)}),
                     "the agent's socket");
    auto connected = co_await endpoint_->connect({.id = edge_id_, .relay_urls = {}, .ip_addrs = {edge_}},
                                                 tunnel::kTunnelAlpn, loop_.now() + kDeadline);
    const endpoint::ConnectionPtr connection = need(std::move(connected), "tunnel");
    auto opened = co_await connection->open_bidi();
    tunnel::ControlStream control(loop_, need(std::move(opened), "control stream"));
    need(control.send(tunnel::Hello{.agent_version = kVersion}), "hello");
    auto message = co_await control.receive(loop_.now() + kDeadline);
    if (!std::holds_alternative<tunnel::Welcome>(need(std::move(message), "welcome"))) die("no welcome");
    welcomed();
    const auto channels = std::make_shared<tunnel::UdpChannels>(connection, [] {});
    while (true) {
      auto stream = co_await connection->accept_bidi();
      if (!stream) co_return;
      tasks_.spawn(streams_.serve(std::move(*stream), channels, edge_id_, true));
    }
  }

  net::EventLoop loop_;
  const SecretKey key_;
  const agent::Config config_;
  const SocketAddr edge_;
  const EndpointId edge_id_;
  agent::AgentObserver observer_;
  agent::Counters counters_;
  agent::UdpServer udp_{loop_, config_, counters_, tasks_};
  agent::StreamServer streams_{loop_, config_, observer_, counters_, udp_};
  std::unique_ptr<endpoint::Endpoint> endpoint_;
  net::TaskGroup tasks_{loop_};
  std::thread thread_;
};

struct Options {
  SocketAddr address;
  HostPort origin;
  route::HostPattern hostname;
  size_t routes;
  double rate;  // changes a second
};

route::Route route_to(route::HostPattern match, const PublicKey& tenant, std::vector<route::Target> targets) {
  return {std::move(match), tenant, route::TlsMode::kPassthrough, std::move(targets)};
}

// Of the control thread.
class Changes {
 public:
  Changes(net::EventLoop& loop, edge::Edge& edge, const Options& options, const PublicKey& tenant,
          std::vector<route::Target> others)
      : loop_(loop),
        edge_(edge),
        rate_(options.rate),
        tenant_(tenant),
        others_(std::move(others)),
        timer_(loop) {
    for (size_t i = 0; i < options.routes; ++i)
      names_.push_back(need(route::HostPattern::parse(fmt::format("r{}.other.test", i)), "hostname"));
  }

  // `carried` and all the others, as one change.
  void add_all(route::Route carried) {
    route::Delta all{.from = version_, .to = version_ + 1, .upserts = {std::move(carried)}, .removals = {}};
    for (const route::HostPattern& name : names_)
      all.upserts.push_back(route_to(name, tenant_, {others_[0]}));
    apply(all);
  }
  void start() {
    began_ = loop_.now();
    if (rate_ > 0 && !names_.empty()) tick();
  }
  uint64_t made() const { return made_; }

 private:
  void tick() {
    const double elapsed = std::chrono::duration<double>(loop_.now() - began_).count();
    for (; static_cast<double>(made_) < elapsed * rate_; ++made_) {
      std::vector<route::Target> targets{others_[made_ % 2]};
      apply({.from = version_,
             .to = version_ + 1,
             .upserts = {route_to(names_[made_ * 7919 % names_.size()], tenant_, std::move(targets))},
             .removals = {}});
    }
    timer_.after(std::chrono::milliseconds(1), [this] { tick(); });
  }
  void apply(const route::Delta& delta) {
    need(edge_.apply_routes(delta), "routes");
    version_ = delta.to;
  }

  net::EventLoop& loop_;
  edge::Edge& edge_;
  const double rate_;
  const PublicKey tenant_;
  const std::vector<route::Target> others_;
  std::vector<route::HostPattern> names_;
  net::Timer timer_;
  TimePoint began_;
  uint64_t made_ = 0;
  uint64_t version_ = 0;
};

net::Task<> stop_at_signal(net::EventLoop& loop) {
  net::StopSignals signals(loop);
  co_await signals.next();
  loop.stop();
}

int run(const Options& options) {
  (void)raise_descriptor_limit();
  SystemRandom random;
  net::EventLoop loop;
  const SecretKey edge_key = SecretKey::generate(random), agent_key = SecretKey::generate(random);
  const PublicKey tenant = SecretKey::generate(random).public_key();
  auto ca = need(tls::InternalCa::load(tls::InternalCa::create("bench", loop.unix_now())), "CA");
  auto edge = need(edge::Edge::bind({.key = edge_key,
                                     .options = {.tcp_listen = options.address,
                                                 .workers = 1,
                                                 .drain_timeout = std::chrono::milliseconds(1)},
                                     .hub_names = {},
                                     .public_addr = options.address.to_string(),
                                     .version = kVersion},
                                    std::make_shared<tls::Certificates>(std::move(ca),
                                                                        [&loop] { return loop.unix_now(); })),
                   "edge");
  edge->start({.serve_hub = [](edge::PublicConnection) { return false; },
               .agent_left = [](EndpointId) {},
               .stopped = [] {}});
  std::vector<route::Target> others;
  for (int i = 0; i < 2; ++i) others.push_back({SecretKey::generate(random).public_key()});
  Changes changes(loop, *edge, options, tenant, std::move(others));
  changes.add_all(route_to(options.hostname, tenant, {{agent_key.public_key()}}));

  agent::Config config{.token = {{"https://bench.test"}, edge_key.public_key(), {}, {}, agent_key},
                       .services = {{hubapi::DeclaredService{options.hostname, route::TlsMode::kPassthrough},
                                     {options.origin},
                                     false}}};
  config.options.max_streams = 100'000;
  Agent agent(agent_key, std::move(config), options.address, edge_key.public_key());
  agent.start([&loop, &changes] {
    loop.post([&changes] {
      changes.start();
      std::puts("ready");
      std::fflush(stdout);
    });
  });
  net::TaskGroup tasks(loop);
  tasks.spawn(stop_at_signal(loop));
  loop.run_until_stopped();
  agent.stop();
  edge->stop();
  edge->stop();
  edge->join();
  std::printf("changes %llu\n", static_cast<unsigned long long>(changes.made()));
  return 0;
}

}  // namespace
}  // namespace culvert

int main(int argc, char** argv) {
  using namespace culvert;
  if (argc != 7) {
    std::fputs("usage: see the head of bench/routes.cc\n", stderr);
    return 2;
  }
  const auto address = parse_ip(argv[1], static_cast<uint16_t>(std::atoi(argv[2])));
  if (!address) die("IP is not an address");
  return run({*address, need(parse_host_port(argv[3]), "ORIGIN"),
              need(route::HostPattern::parse(argv[4]), "HOSTNAME"), static_cast<size_t>(std::atol(argv[5])),
              std::atof(argv[6])});
}
