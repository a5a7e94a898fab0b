// The tunnels of many agents, for `make bench`: each has a key and a lease of its own, and carries nothing.
//
//   bench_tunnels COUNT INVITES_FILE
//
// Each line of the file is a hostname and a token that grants it; an invite takes 64 agents. Prints
// "open COUNT" when all tunnels are welcomed, or the first error, and holds them until a stop signal.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/host_port.h"
#include "base/limits.h"
#include "base/random.h"
#include "endpoint/endpoint.h"
#include "hubapi/hub_client.h"
#include "net/bind.h"
#include "net/signals.h"
#include "tunnel/control.h"
#include "tunnel/protocol.h"

namespace culvert {
namespace {

constexpr size_t kAgentsOfAnInvite = 64;
constexpr size_t kAtOnce = 32;
constexpr Duration kDeadline = std::chrono::seconds(30);
// As of our agent: what an idle tunnel costs includes its keep-alives.
constexpr Duration kKeepAlive = std::chrono::seconds(2);

struct Invite {
  route::HostPattern hostname;
  hubapi::InviteToken token;
};

// One agent as far as an idle tunnel needs it.
struct Agent {
  std::unique_ptr<endpoint::Endpoint> endpoint;
  endpoint::ConnectionPtr connection;
  std::shared_ptr<tunnel::ControlStream> control;
};

struct Load {
  net::EventLoop loop;
  std::vector<Invite> invites;
  std::vector<Agent> agents;
  size_t begun = 0;
  size_t opened = 0;
  net::TaskGroup tasks{loop};
};

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "bench_tunnels: %s\n", what.c_str());
  std::exit(1);
}

template <class T>
T need(Result<T> result, const char* what) {
  if (!result) die(fmt::format("{}: {}", what, result.error().message));
  return std::move(*result);
}

net::Task<> open_tunnel(Load& load, Agent& agent, const Invite& invite) {
  SystemRandom random;
  const SecretKey key = SecretKey::generate(random);
  hubapi::HubClient hub(load.loop, hubapi::parse_hub_urls(invite.token.hub_urls), invite.token.hub_key);
  hubapi::Declaration declaration{invite.token.invite_id,
                                  invite.token.invite_secret,
                                  key.public_key(),
                                  {{invite.hostname, route::TlsMode::kPassthrough}}};
  auto declared = co_await hub.declare(invite.token, std::move(declaration), key);
  const hubapi::LeaseAnswer lease = need(std::move(declared), "declaration");
  if (lease.edges.empty() || !lease.services.front().accepted) die("the hub accepts no service");

  endpoint::Config config{.key = key, .bind = net::every_address(0)};
  config.limits.keep_alive = kKeepAlive;
  config.limits.max_streams_uni = 0;
  config.limits.datagrams = false;
  agent.endpoint = need(endpoint::Endpoint::bind(load.loop, std::move(config)), "socket");
  const HostPort place = need(parse_host_port(lease.edges.front().addresses.front()), "the edge's address");
  const auto address = parse_ip(place.host, place.port);
  if (!address) die("the edge's address is a name");
  endpoint::EndpointAddr edge{.id = lease.edges.front().id, .relay_urls = {}, .ip_addrs = {*address}};
  auto connected =
      co_await agent.endpoint->connect(std::move(edge), tunnel::kTunnelAlpn, load.loop.now() + kDeadline);
  agent.connection = need(std::move(connected), "edge");
  auto stream = co_await agent.connection->open_bidi();
  agent.control =
      std::make_shared<tunnel::ControlStream>(load.loop, need(std::move(stream), "control stream"));
  if (!agent.control->send(tunnel::Hello{.agent_version = "bench"})) die("the hello does not fit");
  auto welcome = co_await agent.control->receive(load.loop.now() + kDeadline);
  if (!std::holds_alternative<tunnel::Welcome>(need(std::move(welcome), "welcome"))) die("no welcome");
}

net::Task<> open_tunnels(Load& load) {
  while (load.begun < load.agents.size()) {
    const size_t index = load.begun++;
    co_await open_tunnel(load, load.agents[index], load.invites[index / kAgentsOfAnInvite]);
    if (++load.opened < load.agents.size()) continue;
    std::printf("open %zu\n", load.opened);
    std::fflush(stdout);
  }
}

net::Task<> stop_at_signal(Load& load) {
  net::StopSignals signals(load.loop);
  co_await signals.next();
  for (Agent& agent : load.agents) {
    if (agent.endpoint) agent.endpoint->close(tunnel::kCloseGoodbye, "the load ends");
  }
  load.loop.stop();
}

int run(size_t count, const char* file) {
  (void)raise_descriptor_limit();
  Load load;
  std::ifstream lines(file);
  for (std::string hostname, token; lines >> hostname >> token;) {
    load.invites.push_back({need(route::HostPattern::parse(hostname), "hostname"),
                            need(hubapi::parse_invite_token(token), "token")});
  }
  if (load.invites.size() * kAgentsOfAnInvite < count) die("there are too few invites");
  load.agents.resize(count);
  load.tasks.spawn(stop_at_signal(load));
  for (size_t i = 0; i < std::min(kAtOnce, count); ++i) load.tasks.spawn(open_tunnels(load));
  load.loop.run();
  return 0;
}

}  // namespace
}  // namespace culvert

int main(int argc, char** argv) {
  const long count = argc == 3 ? std::atol(argv[1]) : 0;
  if (count < 1) {
    std::fputs("usage: see the head of bench/tunnels.cc\n", stderr);
    return 2;
  }
  return culvert::run(static_cast<size_t>(count), argv[2]);
}
