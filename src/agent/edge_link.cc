#include "agent/edge_link.h"

#include <algorithm>

#include "agent/silent_edge.h"
#include "base/backoff.h"
#include "base/host_port.h"
#include "base/log.h"
#include "base/version.h"
#include "net/resolver.h"
#include "tunnel/protocol.h"

namespace culvert::agent {
namespace {

constexpr Duration kDialDeadline = std::chrono::seconds(10);
constexpr Duration kWelcomeDeadline = std::chrono::seconds(10);
// A tunnel that drains sooner may do so again and again.
constexpr Duration kSteady = std::chrono::seconds(1);
// Of the waits then: an edge that hands over to another process expects its agents, and clients wait for
// them.
constexpr Duration kMoveCap = std::chrono::milliseconds(500);
// What an edge says of ports is kept for so many: a tenant with the highest quotas has no more.
constexpr size_t kMaxPortFaults = 2048;

}  // namespace

net::Task<> EdgeLink::run() {
  Backoff backoff;
  RateLimit failure_lines(3, std::chrono::seconds(30));
  while (!agent_.lifetime.is_stopping() && is_named()) {
    Duration cap = Backoff::kCap;
    auto dialled = co_await dial();
    joining_ = nullptr;
    if (agent_.lifetime.is_stopping()) {
      if (dialled && !(*dialled)->closed && tunnels_.insert(*dialled).second) drain(**dialled);
      agent_.drained.notify();
      break;
    }
    if (dialled) {
      const TimePoint began = agent_.loop.now();
      const TunnelPtr tunnel = std::move(*dialled);
      co_await serve(tunnel);
      if (agent_.lifetime.is_stopping() || !is_named()) break;
      if (tunnel->is_draining) cap = kMoveCap;
      if (tunnel->is_draining && agent_.loop.now() - began >= kSteady) backoff.reset();
      // A tunnel that did not last is a failure as well: an edge that welcomes and then closes must not be
      // hammered.
      if (agent_.loop.now() - began >= Backoff::kCap) backoff.reset();
    } else if (++agent_.counters.dials_failed; failure_lines.allow(agent_.loop.now())) {
      log_warn("edge_unreachable", "edge={} reason={}", edge_.short_text(), quoted(dialled.error().message));
    }
    co_await agent_.lifetime.pause(backoff.next(agent_.random, cap));
    const bool goes_on = co_await agent_.leases.renew();
    if (!goes_on) break;
  }
  agent_.network.forget(edge_);
}

// Until the tunnel closes or drains: then a successor is needed.
net::Task<> EdgeLink::serve(TunnelPtr tunnel) {
  up(tunnel);
  while (!agent_.lifetime.is_stopping() && !tunnel->closed && !tunnel->is_draining) co_await changed_.wait();
  if (agent_.lifetime.is_stopping()) co_return;
  if (tunnel->closed) {
    log_info("edge_disconnected", "edge={} code={} reason={}", edge_.short_text(), tunnel->closed->code,
             quoted(tunnel->closed->message));
  } else {
    log_info("edge_draining", "edge={}", edge_.short_text());
  }
}

void EdgeLink::lease_changed() {
  if (is_named()) return;
  const std::set<TunnelPtr> open = tunnels_;
  for (const TunnelPtr& tunnel : open)
    tunnel->connection->close(tunnel::kCloseWithdrawn, "the hub no longer names this edge");
}

void EdgeLink::stop() {
  changed_.notify();
  if (stopped_at_ != TimePoint::max()) return;
  stopped_at_ = agent_.loop.now();
  for (const TunnelPtr& tunnel : tunnels_) drain(*tunnel);
}

// An edge that does not take the message gives the service its clients as before.
void EdgeLink::tell(const tunnel::Health& health) {
  if (joining_) (void)joining_->control.send(health);
  for (const TunnelPtr& tunnel : tunnels_) (void)tunnel->control.send(health);
}

// A tunnel on which the message does not fit ends by its agent's goodbye.
void EdgeLink::drain(Tunnel& tunnel) { (void)tunnel.control.send(tunnel::Drain{}); }

bool EdgeLink::is_drained() const {
  return !joining_ &&
         std::ranges::all_of(tunnels_, [](const TunnelPtr& tunnel) { return tunnel->is_drained; });
}

bool EdgeLink::answers() const {
  const auto heard = [this](const endpoint::Connection& connection) {
    return connection.last_heard() > stopped_at_;
  };
  return (joining_ && heard(*joining_->connection)) ||
         std::ranges::any_of(tunnels_, [&](const TunnelPtr& tunnel) { return heard(*tunnel->connection); });
}

net::Task<Result<endpoint::EndpointAddr>> EdgeLink::locate() {
  const hubapi::EdgeInfo* info = agent_.leases.find_edge(edge_);
  if (info == nullptr) co_return fail(ErrorCode::kNotFound, "the hub no longer names this edge");
  endpoint::EndpointAddr target{.id = edge_, .relay_urls = {}, .ip_addrs = {}};
  std::string reasons;
  std::vector<HostPort> places;
  for (const std::string& address : info->addresses) {
    auto place = parse_host_port(address);
    if (place) {
      places.push_back(std::move(*place));
    } else {
      reasons += fmt::format("; address {}", place.error().message);
    }
  }
  auto results = co_await net::resolve_all(agent_.loop, std::move(places), agent_.loop.now() + kDialDeadline);
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
  co_return target;
}

net::Task<Result<endpoint::ConnectionPtr>> EdgeLink::connect() {
  auto target = co_await locate();
  if (!target) co_return std::unexpected(target.error());
  agent_.network.look_for(edge_, target->ip_addrs);
  auto connection =
      co_await agent_.endpoint.connect(*target, tunnel::kTunnelAlpn, agent_.loop.now() + kDialDeadline);
  if (connection || connection.error().code != ErrorCode::kTimeout) co_return connection;
  const hubapi::EdgeInfo* info = agent_.leases.find_edge(edge_);
  co_return fail(
      ErrorCode::kTimeout, "{}",
      silent_edge(agent_.loop, info ? info->addresses : std::vector<std::string>(), target->ip_addrs));
}

net::Task<Result<EdgeLink::TunnelPtr>> EdgeLink::dial() {
  auto connected = co_await connect();
  if (!connected) co_return std::unexpected(connected.error());
  endpoint::ConnectionPtr connection = std::move(*connected);
  auto stream = co_await connection->open_bidi();
  if (!stream) co_return std::unexpected(stream.error());
  if (agent_.lifetime.is_stopping()) co_return fail(ErrorCode::kClosed, "the agent stops");
  auto tunnel = std::make_shared<Tunnel>(
      connection, tunnel::ControlStream(agent_.loop, *stream),
      std::make_shared<tunnel::UdpChannels>(
          connection, [&counters = agent_.counters] { ++counters.udp_dropped_malformed; }),
      HostPort{});
  auto sent =
      tunnel->control.send(tunnel::Hello{.agent_version = kVersion, .share = agent_.config.options.share});
  if (!sent) co_return std::unexpected(sent.error());
  // Behind the hello, so that the edge knows before it gives the first client.
  for (const tunnel::Health& health : agent_.health.unhealthy()) (void)tunnel->control.send(health);
  joining_ = tunnel;
  auto message = co_await tunnel->control.receive(agent_.loop.now() + kWelcomeDeadline);
  if (!message) {
    if (connection->is_open()) {
      connection->close(tunnel::kCloseProtocol, "no welcome");
      co_return std::unexpected(message.error());
    }
    auto reason = co_await connection->closed();
    co_return fail(ErrorCode::kClosed, "the edge closed the tunnel: {} (code {})", reason.message,
                   reason.code);
  }
  const auto* welcome = std::get_if<tunnel::Welcome>(&*message);
  if (welcome == nullptr) {
    connection->close(tunnel::kCloseProtocol, "a welcome was due");
    co_return fail(ErrorCode::kInvalid, "the edge did not begin with a welcome");
  }
  auto same = tunnel::check_protocol(welcome->protocol, "the edge", welcome->edge_version);
  if (!same) {
    connection->close(tunnel::kCloseProtocol, same.error().message);
    co_return std::unexpected(same.error());
  }
  tunnel->place = place_of(*welcome);
  agent_.tasks.spawn(watch_control(tunnel));
  agent_.tasks.spawn(accept_streams(tunnel));
  co_return tunnel;
}

HostPort EdgeLink::place_of(const tunnel::Welcome& welcome) const {
  auto reached = parse_host_port(welcome.public_addr);
  if (reached) return std::move(*reached);
  return {hubapi::parse_hub_urls(agent_.config.token.hub_urls).front().host,
          agent_.leases.lease()->public_port};
}

net::Task<> EdgeLink::watch_control(TunnelPtr tunnel) {
  auto keep = shared_from_this();
  while (true) {
    auto message = co_await tunnel->control.receive(TimePoint::max());
    if (!message) {
      // Its end means nothing: the connection's own end says more, and accept_streams() sees it.
      if (message.error().code == ErrorCode::kInvalid) {
        tunnel->connection->close(tunnel::kCloseProtocol, message.error().message);
      }
      co_return;
    }
    if (std::holds_alternative<tunnel::Drain>(*message)) {
      tunnel->is_draining = true;
      changed_.notify();
    } else if (std::holds_alternative<tunnel::Drained>(*message)) {
      tunnel->is_drained = true;
      agent_.drained.notify();
    } else if (const auto* again = std::get_if<tunnel::DeclareAgain>(&*message)) {
      agent_.leases.renew_within(again->spread);
    } else if (const auto* state = std::get_if<tunnel::PortState>(&*message)) {
      take(*tunnel, *state);
    }
  }
}

void EdgeLink::take(Tunnel& tunnel, const tunnel::PortState& state) {
  // More than an agent can have: an edge of ours tells of no others.
  const bool is_full = tunnel.port_faults.size() >= kMaxPortFaults;
  if (state.is_bound) {
    tunnel.port_faults.erase(state.port);
  } else if (!is_full || tunnel.port_faults.contains(state.port)) {
    tunnel.port_faults.insert_or_assign(state.port, state.reason);
  }
  agent_.observer.port_changed(edge_, state);
}

std::optional<endpoint::PathStats> EdgeLink::path() const {
  const Tunnel* best = nullptr;
  for (const TunnelPtr& tunnel : tunnels_) {
    if (tunnel->connection->is_open() && (best == nullptr || best->is_draining)) best = tunnel.get();
  }
  return best == nullptr ? std::nullopt : std::optional(best->connection->path_stats());
}

std::vector<tunnel::PortState> EdgeLink::port_faults(const route::PublicPort& ports) const {
  std::vector<tunnel::PortState> found;
  for (const TunnelPtr& tunnel : tunnels_) {
    if (tunnel->is_draining || !found.empty()) continue;
    const auto end = tunnel->port_faults.upper_bound(ports.at(ports.more));
    for (auto fault = tunnel->port_faults.lower_bound(ports.at(0)); fault != end; ++fault)
      found.push_back({fault->first, false, fault->second});
  }
  return found;
}

net::Task<> EdgeLink::accept_streams(TunnelPtr tunnel) {
  auto keep = shared_from_this();
  while (true) {
    auto stream = co_await tunnel->connection->accept_bidi();
    if (!stream) break;
    agent_.tasks.spawn(agent_.streams.serve(std::move(*stream), tunnel->udp, edge_, is_named()));
  }
  auto reason = co_await tunnel->connection->closed();
  tunnel->closed = std::move(reason);
  down(tunnel);
  changed_.notify();
  agent_.drained.notify();
}

void EdgeLink::up(const TunnelPtr& tunnel) {
  if (tunnel->closed) return;
  tunnels_.insert(tunnel);
  ++agent_.counters.tunnels_opened;
  agent_.network.add(tunnel->connection);
  log_info("edge_connected", "edge={} address={}", edge_.short_text(),
           tunnel->connection->path_stats().remote.to_string());
  agent_.readiness.up(edge_, tunnel->place);
}

void EdgeLink::down(const TunnelPtr& tunnel) {
  if (tunnels_.erase(tunnel) > 0 && !agent_.lifetime.is_stopping()) ++agent_.counters.tunnels_lost;
  agent_.network.remove(tunnel->connection);
  if (tunnels_.empty()) agent_.readiness.down(edge_);
}

}  // namespace culvert::agent
