#include "agent/agent.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <ranges>

#include "agent/counters.h"
#include "agent/edge_link.h"
#include "agent/lease_keeper.h"
#include "agent/network_mover.h"
#include "agent/readiness.h"
#include "agent/services.h"
#include "agent/stream_server.h"
#include "agent/udp_server.h"
#include "agent/verdict.h"
#include "base/version.h"
#include "endpoint/endpoint.h"
#include "net/bind.h"
#include "net/lifetime.h"
#include "net/resolver.h"
#include "origin/health_checks.h"
#include "quic/counters.h"
#include "tunnel/protocol.h"

namespace culvert::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A node that was killed and started again answers the next packet with a stateless reset; asking every 2 s
// is what brings an agent back within 5 s of such a restart.
constexpr Duration kKeepAlive = seconds(2);

// After stop(), for open connections to end, and for their last bytes to reach the clients of the edges.
constexpr Duration kGoodbye = seconds(2);
// For an edge to answer at all: a network that is gone must not delay the exit.
constexpr Duration kEdgeAnswer = milliseconds(500);
// After stop(), for a stream whose origin has not taken the connection yet: a live origin does so within
// milliseconds, and one that cannot even be resolved must not delay the exit.
constexpr Duration kDialGoodbye = milliseconds(200);

// Ports of one range whose faults are told one by one: a range that cannot be bound may have hundreds.
constexpr size_t kFaultsOfRange = 3;

// One turn of the socket brings no more of 1,200 bytes each; smaller ones share packets.
constexpr size_t kQueuedDatagrams = 4096;

}  // namespace

// Joins the parts: the lease names edges, each edge gets a link, links bring streams and readiness.
struct Agent::Impl {
  Impl(net::EventLoop& event_loop, Config given, AgentObserver& its_observer)
      : loop(event_loop),
        config(std::move(given)),
        observer(its_observer),
        key(SecretKey::generate(random)),
        lifetime(loop),
        leases(loop, config, key, lifetime, observer, random, counters),
        udp(loop, config, counters, tasks),
        streams(loop, config, observer, counters, udp),
        network(loop, config.token, lifetime),
        ended(loop),
        tasks(loop),
        readiness(loop, config, leases, streams, lifetime, observer, random, tasks),
        health(loop, config.services, lifetime, counters.health_checks, tasks) {
    leases.set_listener([this] { lease_changed(); });
    health.set_listener([this](const tunnel::Health& change) { tell(change); });
    streams.set_origin_callback([this](const Service& service, const std::optional<OriginFault>& fault) {
      health.observed(service, fault);
    });
    streams.set_ended_callback([this] { ended.notify(); });
    readiness.set_port_fault([this](const EndpointId& edge, const route::PublicPort& port) {
      const auto link = links.find(edge);
      const auto faults =
          link == links.end() ? std::vector<tunnel::PortState>() : link->second->port_faults(port);
      return faults.empty() ? std::nullopt : std::optional(faults.front());
    });
  }

  net::Task<Result<>> run();
  void stop();
  void set_services(std::vector<Service> services);
  Result<> bind();
  void lease_changed();
  void tell(const tunnel::Health& change);
  net::Task<> keep_link(std::shared_ptr<EdgeLink> link, EndpointId edge);
  net::Task<> drain();
  Duration patience() const;
  State state() const;
  void report(Metrics& metrics) const;
  std::vector<std::string> faults() const;
  std::vector<std::string> port_faults() const;
  std::vector<std::string> origin_faults() const;
  Status status() const;

  net::EventLoop& loop;
  Config config;
  std::vector<std::vector<Service>> former_services;  // connections that are open may name them
  AgentObserver& observer;
  Random& random = loop.random();
  SecretKey key;
  Counters counters;
  net::Lifetime lifetime;
  LeaseKeeper leases;
  UdpServer udp;
  StreamServer streams;
  NetworkMover network;
  std::unique_ptr<endpoint::Endpoint> endpoint;
  net::Notify ended;  // a stream, or after stop() all of a tunnel
  bool hurry = false;
  net::TaskGroup tasks;
  Readiness readiness;
  origin::HealthChecks health;
  std::map<EndpointId, std::shared_ptr<EdgeLink>> links;  // that run
};

net::Task<Result<>> Agent::Impl::run() {
  auto bound = bind();
  if (!bound) co_return std::unexpected(bound.error());
  network.start(*endpoint);
  tasks.spawn(leases.run());
  health.start();
  co_await lifetime.stopped();

  co_await drain();
  streams.stop();
  endpoint->close(tunnel::kCloseGoodbye, "the agent stops");
  tasks.cancel();
  co_await tasks.join();
  co_return Result<>();
}

// The edges were asked for no more streams. An edge knows best when all is over: it still has bytes for
// clients that this side no longer has, and it opened streams that have not arrived.
net::Task<> Agent::Impl::drain() {
  const TimePoint stopped_at = loop.now();
  while (!hurry) {
    const bool drained =
        std::ranges::all_of(links, [](const auto& entry) { return entry.second->is_drained(); });
    if (drained && streams.active() == 0) co_return;
    const TimePoint last_call = stopped_at + patience();
    if (last_call <= loop.now()) co_return;
    co_await ended.wait_until(last_call);
  }
}

Duration Agent::Impl::patience() const {
  if (streams.connected() > 0) return kGoodbye;
  if (streams.active() > 0) return kDialGoodbye;
  const bool answered = std::ranges::any_of(links, [](const auto& entry) { return entry.second->answers(); });
  return answered ? kGoodbye : kEdgeAnswer;
}

void Agent::Impl::stop() {
  hurry = lifetime.is_stopping();
  lifetime.stop();
  leases.stop();
  ended.notify();
  for (const auto& [edge, link] : links) link->stop();
}

// A vector that is moved keeps its elements where they are.
void Agent::Impl::set_services(std::vector<Service> services) {
  former_services.push_back(std::exchange(config.services, std::move(services)));
  streams.services_changed();
  udp.services_changed();
  health.services_changed();
  readiness.services_changed();
  leases.declare_again();
}

Result<> Agent::Impl::bind() {
  endpoint::Config endpoint_config{.key = key, .bind = net::every_address(0), .limits = {}};
  endpoint_config.limits.keep_alive = kKeepAlive;
  // One more than we serve, so that the one too many is told why instead of waiting.
  // And the channels of UDP services.
  endpoint_config.limits.max_streams_bidi = config.options.max_streams + 1 + hubapi::kMaxServices;
  endpoint_config.limits.max_streams_uni = 0;
  endpoint_config.limits.max_queued_datagrams = kQueuedDatagrams;
  auto made = endpoint::Endpoint::bind(loop, endpoint_config);
  if (!made) return std::unexpected(made.error());
  endpoint = std::move(*made);
  return {};
}

void Agent::Impl::lease_changed() {
  const hubapi::LeaseAnswer& lease = *leases.lease();
  for (const auto& [edge, link] : links) link->lease_changed();
  // With nothing granted there is nothing to serve: an edge would refuse us.
  const bool serves = std::ranges::any_of(verdicts(lease), &Verdict::is_accepted);
  for (const hubapi::EdgeInfo& edge : lease.edges) {
    if (!serves || links.contains(edge.id)) continue;
    auto link = std::make_shared<EdgeLink>(
        EdgeLink::Parts{loop, config, *endpoint, lifetime, leases, streams, readiness, health, observer,
                        network, random, tasks, ended, counters},
        edge.id);
    links.emplace(edge.id, link);
    tasks.spawn(keep_link(link, edge.id));
  }
  readiness.lease_changed();
}

void Agent::Impl::tell(const tunnel::Health& change) {
  for (const auto& [edge, link] : links) link->tell(change);
}

net::Task<> Agent::Impl::keep_link(std::shared_ptr<EdgeLink> link, EndpointId edge) {
  co_await link->run();
  if (!lifetime.is_stopping()) links.erase(edge);  // otherwise drain() looks at it
}

State Agent::Impl::state() const {
  State now{.has_lease = !leases.fault(), .streams = streams.active(), .udp_flows = udp.flows()};
  for (const Service& service : config.services) {
    const bool is_accepted = now.has_lease && leases.is_accepted(service);
    ++(is_accepted ? now.services_accepted : now.services_refused);
    if (health.fault(service)) ++now.services_unhealthy;
  }
  if (leases.lease()) now.edges_named = leases.lease()->edges.size();
  now.edges_connected = static_cast<size_t>(
      std::ranges::count_if(links, [](const auto& entry) { return entry.second->is_connected(); }));
  return now;
}

void Agent::Impl::report(Metrics& metrics) const {
  agent::report(counters, metrics);
  agent::report(state(), metrics);
  net::report(net::resolver_counters(loop), metrics);
  if (endpoint) endpoint->report(metrics);
}

std::vector<std::string> Agent::Impl::faults() const {
  std::vector<std::string> faults;
  if (lifetime.is_stopping()) faults.emplace_back("the agent is stopping");
  if (auto fault = leases.fault()) {
    faults.push_back(std::move(*fault));
  } else {
    for (const Verdict& verdict : verdicts(*leases.lease())) {
      if (!verdict.is_accepted)
        faults.push_back(fmt::format("the hub does not accept {}: {}", verdict.service, verdict.reason));
    }
  }
  if (state().edges_connected == 0) faults.emplace_back("no edge is connected");
  std::ranges::move(port_faults(), std::back_inserter(faults));
  std::ranges::move(origin_faults(), std::back_inserter(faults));
  return faults;
}

std::vector<std::string> Agent::Impl::origin_faults() const {
  std::vector<std::string> faults;
  for (const Service& service : config.services) {
    const auto unhealthy = health.fault(service);
    const auto fault = unhealthy ? unhealthy : streams.origin_fault(service);
    if (!fault) continue;
    const char* state = "cannot be reached";
    if (fault->kind == OriginFault::Kind::kNotTrusted) state = "is not trusted";
    if (fault->kind == OriginFault::Kind::kBadAnswer) state = "does not pass its health check";
    faults.push_back(fmt::format("the origin {} of {} {}: {}; {}", service.origin.to_string(), service.name(),
                                 state, fault->reason, fault->hint));
  }
  return faults;
}

// Of the ports that the agent has now.
std::vector<std::string> Agent::Impl::port_faults() const {
  std::vector<std::string> faults;
  if (!leases.lease()) return faults;
  for (const hubapi::PortVerdict& verdict : leases.lease()->ports) {
    if (!verdict.accepted) continue;
    for (const auto& [edge, link] : links) {
      const auto of_edge = link->port_faults(verdict.ports());
      for (const auto& fault : of_edge | std::views::take(kFaultsOfRange)) {
        faults.push_back(fmt::format("edge {} does not listen on port {} of {}: {}", edge.short_text(),
                                     fault.port.text(), verdict.name, fault.reason));
      }
      if (of_edge.size() > kFaultsOfRange) {
        faults.push_back(fmt::format("edge {} does not listen on {} further ports of {}", edge.short_text(),
                                     of_edge.size() - kFaultsOfRange, verdict.name));
      }
    }
  }
  return faults;
}

Status Agent::Impl::status() const {
  Status out{.version = kVersion,
             .agent_id = key.public_key().to_string(),
             .is_suspended = leases.is_suspended(),
             .services = {},
             .faults = faults()};
  const auto& lease = leases.lease();
  if (lease) out.tenant_id = lease->tenant.to_string();
  for (const Service& service : config.services) {
    Status::Service each{.service = service.name(),
                         .tls_mode = service.web() ? route::to_string(service.web()->tls_mode) : "",
                         .origin = service.origin.to_string(),
                         .state = "waiting"};
    const auto unhealthy = health.fault(service);
    if (unhealthy) each.health_reason = unhealthy->reason;
    if (unhealthy || service.health) each.health = unhealthy ? "unhealthy" : "healthy";
    if (lease) {
      each.state = "accepted";
      if (const auto verdict = verdict_of(*lease, service)) {
        if (!verdict->is_accepted) each.state = "refused";
        each.reason = verdict->reason;
        each.others = verdict->others;
        each.listen_port = verdict->listen_port;
        if (verdict->more_ports > 0)
          each.last_port = static_cast<uint16_t>(verdict->listen_port + verdict->more_ports);
      }
    }
    each.connections = streams.open(service);
    each.begun = streams.reached(service);
    const tunnel::PumpCounters moved = streams.moved(service);
    each.bytes_in = moved.to_socket;
    each.bytes_out = moved.to_stream;
    out.services.push_back(std::move(each));
  }
  if (lease) {
    for (const hubapi::EdgeInfo& edge : lease->edges) {
      const auto link = links.find(edge.id);
      Status::Edge each{.id = edge.id.to_string(),
                        .addresses = edge.addresses,
                        .is_connected = link != links.end() && link->second->is_connected()};
      const auto path = link == links.end() ? std::nullopt : link->second->path();
      if (path) {
        each.remote = path->remote.to_string();
        each.rtt = std::chrono::duration_cast<std::chrono::microseconds>(path->smoothed_rtt);
      }
      out.edges.push_back(std::move(each));
    }
  }
  return out;
}

Agent::Agent(net::EventLoop& loop, Config config, AgentObserver& observer)
    : impl_(std::make_unique<Impl>(loop, std::move(config), observer)) {}
Agent::~Agent() = default;
net::Task<Result<>> Agent::run() { return impl_->run(); }
void Agent::stop() { impl_->stop(); }
void Agent::set_services(std::vector<Service> services) { impl_->set_services(std::move(services)); }
size_t Agent::open_connections() const { return impl_->streams.connected(); }
void Agent::report(Metrics& metrics) const { impl_->report(metrics); }
std::vector<std::string> Agent::faults() const { return impl_->faults(); }
Status Agent::status() const { return impl_->status(); }

void describe_metrics(Metrics& metrics) {
  report(Counters{}, metrics);
  report(State{}, metrics);
  net::report(net::ResolverCounters{}, metrics);
  quic::report(quic::EngineCounters{}, metrics);
}

}  // namespace culvert::agent
