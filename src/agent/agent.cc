#include "agent/agent.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "agent/local_routes.h"
#include "agent/probe.h"
#include "agent/refusal.h"
#include "agent/services.h"
#include "agent/silent_edge.h"
#include "agent/stream_server.h"
#include "base/backoff.h"
#include "base/encoding.h"
#include "base/host_port.h"
#include "base/log.h"
#include "base/version.h"
#include "endpoint/endpoint.h"
#include "hubapi/hub_client.h"
#include "net/network_watch.h"
#include "net/resolver.h"
#include "tunnel/control.h"
#include "tunnel/protocol.h"

namespace culvert::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A node that was killed and started again answers the next packet with a stateless reset; asking every 2 s
// is what brings an agent back within 5 s of such a restart.
constexpr Duration kKeepAlive = seconds(2);

constexpr Duration kDialDeadline = seconds(10);
constexpr Duration kWelcomeDeadline = seconds(10);
constexpr Duration kProbeDeadline = seconds(5);
constexpr Duration kSilence = seconds(5);  // of a service, before the log names it
constexpr Duration kGoodbye = seconds(2);  // for open connections to end after stop()
// After stop(), for a stream whose origin has not taken the connection yet: a live origin does so within
// milliseconds, and one that cannot even be resolved must not delay the exit.
constexpr Duration kDialGoodbye = milliseconds(200);

std::vector<hubapi::HubUrl> hub_urls(const hubapi::InviteToken& token) {
  std::vector<hubapi::HubUrl> urls;
  for (const std::string& text : token.hub_urls) {
    auto url = hubapi::parse_hub_url(text);
    if (url) urls.push_back(std::move(*url));  // parse_invite_token has refused others
  }
  return urls;
}

std::string public_url(const Service& service, uint16_t port) {
  if (port == 443) return fmt::format("https://{}", service.hostname.text());
  return fmt::format("https://{}:{}", service.hostname.text(), port);
}

// Places that a change of the network matters for before any edge is known: the hubs that are given by
// address, and the default routes, by addresses that are reserved for documentation (RFC 5737, RFC 3849).
std::set<SocketAddr> first_destinations(const hubapi::InviteToken& token) {
  std::set<SocketAddr> out{*SocketAddr::parse("192.0.2.1:443"), *SocketAddr::parse("[2001:db8::1]:443")};
  for (const hubapi::HubUrl& url : hub_urls(token)) {
    auto address = SocketAddr::parse(fmt::format("{}:{}", url.host, url.port));
    if (!address) address = SocketAddr::parse(fmt::format("[{}]:{}", url.host, url.port));
    if (address) out.insert(*address);
  }
  return out;
}

// A name that the answer does not mention is not refused.
bool is_accepted(const hubapi::LeaseAnswer& lease, const Service& service) {
  return std::ranges::none_of(lease.services, [&service](const hubapi::ServiceVerdict& verdict) {
    return !verdict.accepted && verdict.hostname == service.hostname.text();
  });
}

}  // namespace

//  An edge's link:
//    dialling ──hello, welcome──▶ serving ──closed or drained──▶ (declare again) ──▶ dialling
//  Between failures it waits by its own backoff; it ends when the hub no longer names the edge, or at stop().
struct Agent::Impl {
  Impl(net::EventLoop& event_loop, Config given)
      : loop(event_loop),
        config(std::move(given)),
        key(SecretKey::generate(random)),
        hub(loop, hub_urls(config.token), config.token.hub_key),
        streams(loop, config),
        tasks(loop),
        lease_wanted(loop),
        lease_changed(loop),
        wake(loop),
        links_changed(loop),
        idle(loop) {
    streams.set_idle_callback([this] { idle.notify(); });
  }

  // One connection to an edge, from welcome to its end.
  struct Link {
    explicit Link(net::EventLoop& loop) : changed(loop) {}
    endpoint::ConnectionPtr connection;
    net::Notify changed;
    bool draining = false;
    std::optional<endpoint::CloseReason> closed;
  };
  using LinkPtr = std::shared_ptr<Link>;

  net::Task<Result<>> run();
  net::Task<> let_streams_end();
  void stop();

  // The lease
  net::Task<> keep_lease();
  void adopt(hubapi::LeaseAnswer answer, uint64_t declaration_number);
  void declaration_failed(const Error& error);
  void refused(ErrorCode code, std::string message);
  net::Task<bool> renew_lease();

  // Edges
  net::Task<> keep_edge(EndpointId edge);
  net::Task<Result<LinkPtr>> dial(EndpointId edge);
  net::Task<> watch_control(LinkPtr link, std::shared_ptr<tunnel::ControlStream> control);
  net::Task<> accept_streams(LinkPtr link);
  void link_up(const LinkPtr& link);
  void link_down(const LinkPtr& link);
  const hubapi::EdgeInfo* find_edge(const EndpointId& edge) const;

  // Readiness
  net::Task<> prove_ready();
  struct Answer {
    bool answered = false;
    bool origin_is_silent = false;  // the edge answered in its place
    std::string reason;
  };
  void begin_proof();
  net::Task<Answer> ask(const Service& service);
  void still_silent(const Service& service, const Answer& answer, TimePoint since);
  net::Task<> check_name(std::string hostname);

  net::Task<> pause(Duration wait);
  Result<> bind();
  void network_changed();
  void watch_routes();
  hubapi::Declaration declaration() const;

  net::EventLoop& loop;
  Config config;
  SystemRandom random;
  SecretKey key;
  hubapi::HubClient hub;
  StreamServer streams;
  std::unique_ptr<endpoint::Endpoint> endpoint;
  net::TaskGroup tasks;

  std::optional<hubapi::LeaseAnswer> lease;
  uint64_t declarations_begun = 0;
  uint64_t lease_number = 0;  // the declaration that the lease answers, counted by declarations_begun
  bool lease_is_wanted = false;
  net::Notify lease_wanted;
  net::Notify lease_changed;
  std::string last_refusal;

  std::set<EndpointId> kept_edges;  // with a keep_edge() task
  std::set<LinkPtr> links;          // that serve
  // Where each kept edge was last looked for.
  std::map<EndpointId, std::vector<SocketAddr>> dialled_addresses;
  LocalRoutes routes{net::source_address_for};  // to the hub and to all of these
  std::map<LinkPtr, SocketAddr> sources;        // the local address each link's packets left from last
  std::string public_host;  // where the public reaches the edge: from its welcome, or the hub's URL
  uint16_t public_port = 443;
  std::set<const Service*> told_silent;  // until ready
  bool proving = false;
  bool is_ready = false;

  net::Notify wake;  // ends every backoff: stop(), or a network from which another attempt may succeed
  net::Notify links_changed;
  net::Notify idle;  // a stream has ended
  bool stopping = false;
  bool hurry = false;
};

net::Task<Result<>> Agent::Impl::run() {
  auto bound = bind();
  if (!bound) co_return std::unexpected(bound.error());
  watch_routes();
  auto watch = net::NetworkWatch::start(loop, [this] { network_changed(); });
  if (!watch) log_debug("network_watch_unavailable", "reason={}", quoted(watch.error().message));

  tasks.spawn(keep_lease());
  while (!stopping) co_await wake.wait();

  co_await let_streams_end();
  streams.stop();
  endpoint->close(tunnel::kCloseGoodbye, "the agent stops");
  tasks.cancel();
  co_await tasks.join();
  co_return Result<>();
}

net::Task<> Agent::Impl::let_streams_end() {
  const TimePoint stopped_at = monotonic_now();
  while (streams.active() > 0 && !hurry) {
    const TimePoint last_call = stopped_at + (streams.connected() > 0 ? kGoodbye : kDialGoodbye);
    if (last_call <= monotonic_now()) co_return;
    co_await idle.wait_until(last_call);
  }
}

void Agent::Impl::stop() {
  hurry = stopping;
  stopping = true;
  wake.notify();
  lease_wanted.notify();
  lease_changed.notify();
  links_changed.notify();
  idle.notify();
  for (const LinkPtr& link : links) link->changed.notify();
}

Result<> Agent::Impl::bind() {
  endpoint::Config endpoint_config{
      .key = key, .bind = SocketAddr::v6({}, 0), .accept_alpns = {}, .limits = {}};
  endpoint_config.limits.keep_alive = kKeepAlive;
  // One more than we serve, so that the one too many is told why instead of waiting.
  endpoint_config.limits.max_streams_bidi = config.options.max_streams + 1;
  endpoint_config.limits.max_streams_uni = 0;
  endpoint_config.limits.datagrams = false;
  auto made = endpoint::Endpoint::bind(loop, endpoint_config);
  if (!made) {
    endpoint_config.bind = SocketAddr::v4({0, 0, 0, 0}, 0);  // a host without IPv6
    made = endpoint::Endpoint::bind(loop, endpoint_config);
  }
  if (!made) return std::unexpected(made.error());
  endpoint = std::move(*made);
  return {};
}

net::Task<> Agent::Impl::pause(Duration wait) {
  if (stopping) co_return;
  co_await wake.wait_until(monotonic_now() + wait);
}

// ---- The lease

hubapi::Declaration Agent::Impl::declaration() const {
  hubapi::Declaration out{config.token.invite_id, config.token.invite_secret, key.public_key(), {}};
  for (const Service& service : config.services) out.services.push_back({service.hostname, service.tls_mode});
  return out;
}

net::Task<> Agent::Impl::keep_lease() {
  Backoff backoff;
  RetryCap cap;
  while (!stopping) {
    lease_is_wanted = false;
    uint64_t number = ++declarations_begun;
    auto answer = co_await hub.declare(config.token, declaration());
    if (stopping) break;
    if (!answer) {
      declaration_failed(answer.error());
      co_await pause(backoff.next(random, cap.after(answer.error())));
      continue;
    }
    backoff.reset();
    cap.reset();
    TimePoint renew_at = monotonic_now() + answer->renew_after;
    adopt(std::move(*answer), number);
    while (!stopping && !lease_is_wanted && monotonic_now() < renew_at)
      co_await lease_wanted.wait_until(renew_at);
  }
}

// Asks for a declaration that begins after now, and waits for its success. False at stop(). The answer to one
// that is on its way may tell the state before the loss that made the caller ask.
net::Task<bool> Agent::Impl::renew_lease() {
  uint64_t latest = declarations_begun;
  lease_is_wanted = true;
  lease_wanted.notify();
  while (!stopping && lease_number <= latest) co_await lease_changed.wait();
  co_return !stopping;
}

void Agent::Impl::adopt(hubapi::LeaseAnswer answer, uint64_t declaration_number) {
  std::string refusals;
  for (const hubapi::ServiceVerdict& verdict : answer.services) {
    if (verdict.accepted) continue;
    refusals += fmt::format("{}the hub does not accept {}: {}", refusals.empty() ? "" : "; ",
                            verdict.hostname, verdict.reason);
  }
  if (refusals.empty()) {
    last_refusal.clear();
  } else {
    refused(ErrorCode::kConflict, std::move(refusals));
  }
  if (!lease) {
    auto accepted = std::ranges::count(answer.services, true, &hubapi::ServiceVerdict::accepted);
    log_info("lease_granted", "tenant={} accepted={} declared={} edges={}", answer.tenant.short_text(),
             accepted, config.services.size(), answer.edges.size());
  }
  public_port = answer.public_port;
  lease = std::move(answer);
  lease_number = declaration_number;
  if (config.on_lease) config.on_lease(*lease);
  lease_changed.notify();
  if (lease->edges.empty()) {
    refused(ErrorCode::kUnavailable, "the hub names no edge to connect to; set edge-addr on the node");
  }
  // With nothing granted there is nothing to serve: an edge would refuse us.
  bool serves = std::ranges::any_of(lease->services, &hubapi::ServiceVerdict::accepted);
  for (const hubapi::EdgeInfo& edge : lease->edges) {
    if (serves && kept_edges.insert(edge.id).second) tasks.spawn(keep_edge(edge.id));
  }
  for (const LinkPtr& link : links) {
    if (find_edge(*link->connection->remote_id()) == nullptr)
      link->connection->close(tunnel::kCloseWithdrawn, "the hub no longer names this edge");
  }
  if (!links.empty()) begin_proof();  // a service may have been accepted after all
}

void Agent::Impl::declaration_failed(const Error& error) {
  if (is_refusal(error)) return refused(error.code, error.message);
  if (error.message == last_refusal) return;
  last_refusal = error.message;
  log_warn("hub_unreachable", "reason={}", quoted(error.message));
}

// Said once until something else happens: the agent goes on asking, slowly.
void Agent::Impl::refused(ErrorCode code, std::string message) {
  if (message == last_refusal) return;
  last_refusal = message;
  if (config.on_refused) {
    config.on_refused(Error{code, std::move(message)});
  } else {
    log_error("refused", "code={} reason={}", to_string(code), quoted(message));
  }
}

// ---- Edges

const hubapi::EdgeInfo* Agent::Impl::find_edge(const EndpointId& edge) const {
  if (!lease) return nullptr;
  auto found = std::ranges::find(lease->edges, edge, &hubapi::EdgeInfo::id);
  return found == lease->edges.end() ? nullptr : &*found;
}

net::Task<> Agent::Impl::keep_edge(EndpointId edge) {
  Backoff backoff;
  RateLimit failure_lines(3, seconds(30));
  while (!stopping && find_edge(edge) != nullptr) {
    auto dialled = co_await dial(edge);
    if (stopping) break;
    if (!dialled) {
      if (failure_lines.allow(monotonic_now())) {
        log_warn("edge_unreachable", "edge={} reason={}", edge.short_text(), quoted(dialled.error().message));
      }
      co_await pause(backoff.next(random));
      bool renewed = co_await renew_lease();
      if (!renewed) break;
      continue;
    }
    LinkPtr link = std::move(*dialled);
    TimePoint began = monotonic_now();
    link_up(link);
    while (!stopping && !link->closed && !link->draining) co_await link->changed.wait();
    if (stopping) break;
    if (link->draining && !link->closed) {
      log_info("edge_draining", "edge={}", edge.short_text());
    } else {
      log_info("edge_disconnected", "edge={} code={} reason={}", edge.short_text(), link->closed->code,
               quoted(link->closed->message));
    }
    if (find_edge(edge) == nullptr) break;  // withdrawn
    // A link that did not last is a failure as well: an edge that welcomes and then closes must not be
    // hammered.
    if (monotonic_now() - began >= Backoff::kCap) backoff.reset();
    co_await pause(backoff.next(random));
    bool renewed = co_await renew_lease();
    if (!renewed) break;
  }
  kept_edges.erase(edge);
  dialled_addresses.erase(edge);
  watch_routes();
}

net::Task<Result<Agent::Impl::LinkPtr>> Agent::Impl::dial(EndpointId edge) {
  const hubapi::EdgeInfo* info = find_edge(edge);
  if (info == nullptr) co_return fail(ErrorCode::kNotFound, "the hub no longer names this edge");
  std::vector<std::string> addresses = info->addresses;
  TimePoint deadline = monotonic_now() + kDialDeadline;
  endpoint::EndpointAddr target{.id = edge, .relay_urls = {}, .ip_addrs = {}};
  std::string reasons;
  std::vector<HostPort> places;
  for (const std::string& address : addresses) {
    auto place = parse_host_port(address);
    if (place) {
      places.push_back(std::move(*place));
    } else {
      reasons += fmt::format("; address {}", place.error().message);
    }
  }
  auto results = co_await net::resolve_all(loop, std::move(places), deadline);
  for (const auto& resolved : results) {
    if (!resolved) {
      reasons += fmt::format("; {}", resolved.error().message);
      continue;
    }
    for (const SocketAddr& found : *resolved) {
      if (std::ranges::find(target.ip_addrs, found) == target.ip_addrs.end())
        target.ip_addrs.push_back(found);
    }
  }
  if (target.ip_addrs.empty())
    co_return fail(ErrorCode::kUnavailable, "edge has no usable address{}", reasons);
  dialled_addresses[edge] = target.ip_addrs;
  watch_routes();
  auto connection = co_await endpoint->connect(target, tunnel::kTunnelAlpn, deadline);
  if (!connection) {
    if (connection.error().code != ErrorCode::kTimeout) co_return std::unexpected(connection.error());
    co_return fail(ErrorCode::kTimeout, "{}", silent_edge(addresses, target.ip_addrs));
  }

  auto stream = co_await (*connection)->open_bidi();
  if (!stream) co_return std::unexpected(stream.error());
  auto control = std::make_shared<tunnel::ControlStream>(loop, *stream);
  auto sent = control->send(tunnel::Hello{.agent_version = kVersion});
  if (!sent) co_return std::unexpected(sent.error());
  auto message = co_await control->receive(monotonic_now() + kWelcomeDeadline);
  if (!message) {
    if ((*connection)->is_open()) {
      (*connection)->close(tunnel::kCloseProtocol, "no welcome");
      co_return std::unexpected(message.error());
    }
    auto reason = co_await (*connection)->closed();
    co_return fail(ErrorCode::kClosed, "the edge closed the tunnel: {} (code {})", reason.message,
                   reason.code);
  }
  const auto* welcome = std::get_if<tunnel::Welcome>(&*message);
  if (welcome == nullptr) {
    (*connection)->close(tunnel::kCloseProtocol, "a welcome was due");
    co_return fail(ErrorCode::kInvalid, "the edge did not begin with a welcome");
  }
  auto same = tunnel::check_protocol(welcome->protocol, "the edge", welcome->edge_version);
  if (!same) {
    (*connection)->close(tunnel::kCloseProtocol, same.error().message);
    co_return std::unexpected(same.error());
  }
  auto reached = parse_host_port(welcome->public_addr);
  public_host = reached ? reached->host : hub_urls(config.token).front().host;
  if (reached) public_port = reached->port;

  auto link = std::make_shared<Link>(loop);
  link->connection = std::move(*connection);
  tasks.spawn(watch_control(link, std::move(control)));
  tasks.spawn(accept_streams(link));
  co_return link;
}

net::Task<> Agent::Impl::watch_control(LinkPtr link, std::shared_ptr<tunnel::ControlStream> control) {
  while (true) {
    auto message = co_await control->receive(TimePoint::max());
    if (!message) {
      // Its end means nothing: the connection's own end says more, and accept_streams() sees it.
      if (message.error().code == ErrorCode::kInvalid) {
        link->connection->close(tunnel::kCloseProtocol, message.error().message);
      }
      co_return;
    }
    if (std::holds_alternative<tunnel::Drain>(*message)) {
      link->draining = true;
      link->changed.notify();
    }
  }
}

net::Task<> Agent::Impl::accept_streams(LinkPtr link) {
  EndpointId edge = *link->connection->remote_id();
  while (true) {
    auto stream = co_await link->connection->accept_bidi();
    if (!stream) break;
    tasks.spawn(streams.serve(std::move(*stream), edge, find_edge(edge) != nullptr));
  }
  auto reason = co_await link->connection->closed();
  link->closed = reason;
  link_down(link);
  link->changed.notify();
}

void Agent::Impl::link_up(const LinkPtr& link) {
  if (link->closed) return;
  links.insert(link);
  SocketAddr remote = link->connection->path_stats().remote;
  auto source = net::source_address_for(remote);
  if (source) sources[link] = *source;
  log_info("edge_connected", "edge={} address={}", link->connection->remote_id()->short_text(),
           remote.to_string());
  begin_proof();
}

void Agent::Impl::link_down(const LinkPtr& link) {
  links.erase(link);
  sources.erase(link);
  links_changed.notify();
  if (!links.empty() || !is_ready || stopping) return;
  is_ready = false;
  if (config.on_ready) config.on_ready({});
}

// ---- The network under us

void Agent::Impl::watch_routes() {
  std::set<SocketAddr> destinations = first_destinations(config.token);
  for (const auto& [edge, addresses] : dialled_addresses)
    destinations.insert(addresses.begin(), addresses.end());
  routes.watch(destinations);
}

// Called for every change of any link, address or route: on a host of containers several times a second.
void Agent::Impl::network_changed() {
  if (routes.changed()) wake.notify();
  bool moved = false;
  for (auto& [link, source] : sources) {
    auto now = net::source_address_for(link->connection->path_stats().remote);
    if (!now || *now == source)
      continue;  // no route at the moment: the change that brings one comes here again
    source = *now;
    moved = true;
  }
  if (!moved) return;
  auto rebound = endpoint->rebind();
  if (rebound) {
    log_info("network_changed", "links={}", links.size());
  } else {
    log_warn("network_changed", "reason={}", quoted(rebound.error().message));
  }
}

// ---- Readiness

void Agent::Impl::begin_proof() {
  auto accepted = [this](const Service& service) { return is_accepted(*lease, service); };
  if (proving || is_ready || std::ranges::none_of(config.services, accepted)) return;
  proving = true;
  tasks.spawn(prove_ready());
}

net::Task<> Agent::Impl::prove_ready() {
  TimePoint began = monotonic_now();
  Backoff backoff;
  std::vector<const Service*> silent;
  for (const Service& service : config.services) {
    if (!service.hostname.is_wildcard()) silent.push_back(&service);  // no one name stands for a wildcard
  }
  while (!silent.empty() && !stopping && !links.empty()) {
    std::vector<const Service*> left;
    for (const Service* service : silent) {
      if (!is_accepted(*lease, *service)) continue;  // the edge has no route to it
      auto answer = co_await ask(*service);
      if (stopping || links.empty()) break;
      if (answer.answered) continue;
      left.push_back(service);
      still_silent(*service, answer, began);
    }
    silent = std::move(left);
    if (!silent.empty()) co_await pause(backoff.next(random));
  }
  proving = false;
  if (stopping || links.empty()) co_return;  // link_up() begins again
  std::vector<const Service*> served;
  std::vector<std::string> urls;
  for (const Service& service : config.services) {
    if (!is_accepted(*lease, service)) continue;
    served.push_back(&service);
    urls.push_back(public_url(service, public_port));
  }
  if (served.empty()) co_return;  // refused in the meantime: adopt() begins again
  is_ready = true;
  told_silent.clear();
  log_info("ready", "services={} declared={} took_ms={}", served.size(), config.services.size(),
           std::chrono::duration_cast<milliseconds>(monotonic_now() - began).count());
  if (config.on_ready) config.on_ready(urls);
  for (const Service* service : served) {
    if (!service->hostname.is_wildcard()) tasks.spawn(check_name(service->hostname.text()));
  }
}

void Agent::Impl::still_silent(const Service& service, const Answer& answer, TimePoint since) {
  log_debug("probe_failed", "service={} reason={}", service.hostname.text(), quoted(answer.reason));
  bool to_owner = config.on_silent_origin && answer.origin_is_silent;
  if (!to_owner && monotonic_now() - since < kSilence) return;
  if (!told_silent.insert(&service).second) return;
  if (to_owner) return config.on_silent_origin(service);
  log_warn("not_ready", "service={} reason={}", service.hostname.text(), quoted(answer.reason));
}

net::Task<Agent::Impl::Answer> Agent::Impl::ask(const Service& service) {
  std::array<uint8_t, 8> nonce;
  random.fill(nonce);
  ProbeTarget target{.host = public_host,
                     .port = public_port,
                     .hostname = service.hostname.text(),
                     .tls_mode = service.tls_mode,
                     .root_pem = lease->internal_ca_pem,
                     .target = fmt::format("/?culvert-readiness={}", to_hex(nonce))};
  streams.ignore_target(target.target);
  uint64_t answered_before = streams.answered(service);
  auto status = co_await probe(loop, target, monotonic_now() + kProbeDeadline);
  if (!status) co_return Answer{.reason = status.error().message};
  // These two are also what the edge itself says when the origin does not answer.
  bool may_be_the_edge = *status == 502 || *status == 504;
  if (!may_be_the_edge || streams.answered(service) > answered_before)
    co_return Answer{.answered = true, .reason = {}};
  co_return Answer{.origin_is_silent = true,
                   .reason = fmt::format("its origin {} does not answer", origin_text(service))};
}

// The edge has answered; whether the world finds the edge under this name is for DNS to say.
net::Task<> Agent::Impl::check_name(std::string hostname) {
  if (hostname.ends_with(".localhost")) co_return;
  TimePoint deadline = monotonic_now() + kProbeDeadline;
  auto resolved = co_await net::resolve(loop, hostname, public_port, deadline);
  auto expected = co_await net::resolve(loop, public_host, public_port, deadline);
  if (stopping) co_return;
  std::string elsewhere;
  if (resolved) {
    // A balancer or a NAT may stand between: where we cannot compare, nothing is said.
    if (!expected || std::ranges::find_first_of(*resolved, *expected) != resolved->end()) co_return;
    elsewhere = resolved->front().ip_text();
  }
  if (config.on_misdirected) co_return config.on_misdirected(hostname, elsewhere, public_host);
  if (elsewhere.empty()) {
    log_warn("hostname_not_in_dns", "service={} hint=\"add a DNS record that points it at {}\"", hostname,
             public_host);
  } else {
    log_warn("hostname_leads_elsewhere", "service={} address={} hint=\"its DNS record should point at {}\"",
             hostname, elsewhere, public_host);
  }
}

// ---- The public face

Agent::Agent(net::EventLoop& loop, Config config) : impl_(std::make_unique<Impl>(loop, std::move(config))) {}
Agent::~Agent() = default;
net::Task<Result<>> Agent::run() { return impl_->run(); }
void Agent::stop() { impl_->stop(); }
size_t Agent::open_connections() const { return impl_->streams.connected(); }

}  // namespace culvert::agent
