#include "agent/readiness.h"

#include <algorithm>
#include <array>
#include <utility>

#include "agent/probe.h"
#include "agent/services.h"
#include "agent/verdict.h"
#include "base/backoff.h"
#include "base/encoding.h"
#include "base/log.h"
#include "net/resolver.h"
#include "net/tcp.h"

namespace culvert::agent {
namespace {

constexpr Duration kProbeDeadline = std::chrono::seconds(5);

// How often a look is taken whether a connection has come through.
constexpr Duration kLook = std::chrono::milliseconds(20);

// A hostname that a client may ask for; nullopt: no one name stands for a wildcard, and a port has none.
std::optional<std::string> name_of(const Service& service) {
  const auto* web = service.web();
  if (web == nullptr || web->hostname.is_wildcard()) return std::nullopt;
  return web->hostname.text();
}

}  // namespace

Readiness::Readiness(net::EventLoop& loop, const Config& config, const LeaseKeeper& leases,
                     StreamServer& streams, net::Lifetime& lifetime, AgentObserver& observer, Random& random,
                     net::TaskGroup& tasks)
    : loop_(loop),
      config_(config),
      leases_(leases),
      streams_(streams),
      lifetime_(lifetime),
      observer_(observer),
      random_(random),
      tasks_(tasks) {
  std::array<uint8_t, 8> nonce;
  random_.fill(nonce);
  target_ = fmt::format("/?culvert-readiness={}", to_hex(nonce));
  streams_.ignore_target(target_);
}

void Readiness::up(const EndpointId& edge, HostPort place) {
  Edge& state = edges_[edge];
  state.place = std::move(place);
  state.is_up = true;
  begin(edge);
}

void Readiness::down(const EndpointId& edge) {
  auto found = edges_.find(edge);
  if (found == edges_.end()) return;
  found->second.is_up = false;
  found->second.proven.clear();
  if (!found->second.is_proving) edges_.erase(found);
  if (any_up() || ready_.empty() || lifetime_.is_stopping()) return;
  ready_.clear();
  observer_.lost();
}

void Readiness::services_changed() {
  for (auto& [edge, state] : edges_) state.proven.clear();
  reported_.clear();
  ready_.clear();
}

void Readiness::lease_changed() {
  for (const auto& [edge, state] : edges_) {
    if (state.is_up) begin(edge);
  }
}

bool Readiness::is_up(const EndpointId& edge) const {
  auto found = edges_.find(edge);
  return found != edges_.end() && found->second.is_up;
}

bool Readiness::any_up() const {
  return std::ranges::any_of(edges_, [](const auto& entry) { return entry.second.is_up; });
}

std::vector<const Service*> Readiness::accepted() const {
  std::vector<const Service*> services;
  if (leases_.is_suspended()) return services;
  for (const Service& service : config_.services) {
    if (leases_.is_accepted(service)) services.push_back(&service);
  }
  return services;
}

std::vector<const Service*> Readiness::unproven(const Edge& edge) const {
  std::vector<const Service*> services = accepted();
  std::erase_if(services, [&](const Service* service) { return edge.proven.contains(service); });
  return services;
}

void Readiness::begin(const EndpointId& edge) {
  Edge& state = edges_.at(edge);
  if (state.is_proving || unproven(state).empty()) return;
  state.is_proving = true;
  tasks_.spawn(prove(edge));
}

net::Task<> Readiness::prove(EndpointId edge) {
  const TimePoint began = loop_.now();
  Backoff backoff;
  while (!lifetime_.is_stopping() && is_up(edge)) {
    const std::vector<const Service*> left = unproven(edges_.at(edge));
    if (left.empty()) break;
    const bool all_answered = co_await ask_all(edge, left, began);
    if (!all_answered) co_await lifetime_.pause(backoff.next(random_));
  }
  edges_.at(edge).is_proving = false;
  if (!is_up(edge)) {
    edges_.erase(edge);  // up() begins again
  } else if (!lifetime_.is_stopping()) {
    tell(edges_.at(edge), began);
  }
}

net::Task<bool> Readiness::ask_all(EndpointId edge, std::vector<const Service*> services, TimePoint began) {
  bool all_answered = true;
  for (const Service* service : services) {
    // The edge has no route to it any more, or refuses its clients.
    if (!leases_.is_accepted(*service) || leases_.is_suspended()) continue;
    if (service->port() != nullptr || name_of(*service)) {
      auto answer = co_await ask(edge, edges_.at(edge).place, *service);
      if (lifetime_.is_stopping() || !is_up(edge)) co_return false;
      if (!answer.answered) {
        all_answered = false;
        silent(*service, std::move(answer), began);
        continue;
      }
    }
    edges_.at(edge).proven.insert(service);
  }
  co_return all_answered;
}

route::PublicPort Readiness::public_ports(const Service& service) const {
  const auto verdict = verdict_of(*leases_.lease(), service);
  const route::PortProtocol protocol = service.port()->protocol;
  return verdict ? route::PublicPort{protocol, verdict->listen_port, verdict->more_ports}
                 : route::PublicPort{protocol, 0};
}

std::string Readiness::public_url(const Service& service, const HostPort& place) const {
  if (service.port() != nullptr) {
    const route::PublicPort ports = public_ports(service);
    const std::string first = fmt::format("{}://{}", route::to_string(ports.protocol),
                                          HostPort{place.host, ports.number}.to_string());
    return ports.is_range() ? fmt::format("{}-{}", first, ports.last()) : first;
  }
  const std::string& hostname = service.web()->hostname.text();
  return place.port == 443 ? fmt::format("https://{}", hostname)
                           : fmt::format("https://{}:{}", hostname, place.port);
}

net::Task<Readiness::Answer> Readiness::ask(EndpointId edge, HostPort place, const Service& service) {
  if (service.kind() == tunnel::StreamKind::kUdpPort) co_return ask_udp_port(edge, service);
  if (service.port() != nullptr) co_return co_await ask_port(std::move(place), service);
  co_return co_await ask_web(std::move(place), service);
}

// A datagram to a service whose protocol is not known proves nothing: that the edge listens has to do.
Readiness::Answer Readiness::ask_udp_port(const EndpointId& edge, const Service& service) const {
  const auto fault = port_fault_(edge, public_ports(service));
  if (!fault) return {.answered = true, .reason = {}};
  return {.reason = fmt::format("the edge does not listen on {}: {}", fault->port.text(), fault->reason)};
}

// Nothing is said: what the service speaks is not known. It is asked as by a client that leaves at once.
net::Task<Readiness::Answer> Readiness::ask_port(HostPort place, const Service& service) {
  const TimePoint deadline = loop_.now() + kProbeDeadline;
  const uint64_t reached_before = streams_.reached(service);
  auto socket = co_await net::tcp_connect(loop_, place.host, public_ports(service).number, deadline);
  if (!socket) co_return Answer{.reason = socket.error().message};
  while (streams_.reached(service) == reached_before) {
    if ((*socket)->peer_has_ended() || loop_.now() >= deadline) {
      co_return Answer{
          .origin_is_silent = true,
          .reason = fmt::format("no connection reached its origin {}", service.origin.to_string())};
    }
    co_await net::sleep_for(loop_, kLook);
  }
  co_return Answer{.answered = true, .reason = {}};
}

net::Task<Readiness::Answer> Readiness::ask_web(HostPort place, const Service& service) {
  ProbeTarget target{.host = place.host,
                     .port = place.port,
                     .hostname = service.web()->hostname.text(),
                     .tls_mode = service.web()->tls_mode,
                     .root_pem = leases_.lease()->internal_ca_pem,
                     .target = target_};
  const uint64_t answered_before = streams_.answered(service);
  auto status = co_await probe(loop_, target, loop_.now() + kProbeDeadline);
  if (!status) co_return Answer{.reason = status.error().message};
  // These two are also what the edge itself says when the origin does not answer.
  const bool may_be_the_edge = *status == 502 || *status == 504;
  if (!may_be_the_edge || streams_.answered(service) > answered_before)
    co_return Answer{.answered = true, .reason = {}};
  co_return Answer{.origin_is_silent = true,
                   .reason = fmt::format("its origin {} does not answer", service.origin.to_string())};
}

void Readiness::silent(const Service& service, Answer answer, TimePoint since) {
  log_debug("probe_failed", "service={} reason={}", quoted(service.name()), quoted(answer.reason));
  if (reported_.contains(&service)) return;
  const bool reported = observer_.service_silent(
      {service, std::move(answer.reason), answer.origin_is_silent, loop_.now() - since});
  if (reported) reported_.insert(&service);
}

// Only what was asked for and answered is ready.
void Readiness::tell(const Edge& edge, TimePoint began) {
  const std::vector<const Service*> served = accepted();
  if (served.empty()) return;  // refused in the meantime: lease_changed() begins again
  reported_.clear();
  log_info("ready", "services={} declared={} took_ms={}", served.size(), config_.services.size(),
           std::chrono::duration_cast<std::chrono::milliseconds>(loop_.now() - began).count());
  const std::set<const Service*> before = std::exchange(ready_, {served.begin(), served.end()});
  if (ready_ == before) return;  // told of another edge
  std::vector<std::string> urls;
  for (const Service* service : served) urls.push_back(public_url(*service, edge.place));
  observer_.ready(urls);
  for (const Service* service : served) {
    if (auto name = name_of(*service); name && !before.contains(service))
      tasks_.spawn(check_name(edge.place, std::move(*name)));
  }
}

// The edge has answered; whether the world finds the edge under this name is for DNS to say.
net::Task<> Readiness::check_name(HostPort place, std::string hostname) {
  if (hostname.ends_with(".localhost")) co_return;
  const TimePoint deadline = loop_.now() + kProbeDeadline;
  auto resolved = co_await net::resolve(loop_, hostname, place.port, deadline);
  auto expected = co_await net::resolve(loop_, place.host, place.port, deadline);
  if (lifetime_.is_stopping()) co_return;
  std::string elsewhere;
  if (resolved) {
    // A balancer or a NAT may stand between: where we cannot compare, nothing is said.
    if (!expected || std::ranges::find_first_of(*resolved, *expected) != resolved->end()) co_return;
    elsewhere = resolved->front().ip_text();
  }
  observer_.misdirected(hostname, elsewhere, place.host);
}

}  // namespace culvert::agent
