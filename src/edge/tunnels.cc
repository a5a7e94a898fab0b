#include "edge/tunnels.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "tunnel/protocol.h"

namespace culvert::edge {
namespace {

// How often the registry learns when agents were heard. route::Picker::kSilence leaves a second for it.
constexpr Duration kSilenceLook = std::chrono::milliseconds(250);
// An agent dials as soon as its declaration is answered; the routes that follow from it may be a moment
// behind.
constexpr Duration kLeaseGrace = std::chrono::seconds(1);

const char* to_string(endpoint::CloseReason::Kind kind) {
  using Kind = endpoint::CloseReason::Kind;
  switch (kind) {
    case Kind::kLocal:
      return "local";
    case Kind::kApplication:
      return "agent";
    case Kind::kTransport:
      return "transport";
    case Kind::kIdleTimeout:
      return "idle_timeout";
    case Kind::kStatelessReset:
      return "stateless_reset";
    case Kind::kHandshake:
      return "handshake";
  }
  return "unknown";
}

// What an agent begins with.
struct Greeting {
  tunnel::ControlStream control;
  route::Share share;
};

// The control stream, after a hello that speaks our protocol.
net::Task<Result<Greeting>> greet(net::EventLoop& loop, endpoint::ConnectionPtr connection,
                                  TimePoint deadline) {
  // accept_bidi has no deadline of its own: the end of the connection ends it.
  net::Timer impatience(loop);
  impatience.at(deadline, [connection] { connection->close(tunnel::kCloseProtocol, "no hello in time"); });
  auto stream = co_await connection->accept_bidi();
  impatience.cancel();
  if (!stream) co_return std::unexpected(stream.error());

  tunnel::ControlStream control(loop, *stream);
  auto message = co_await control.receive(deadline);
  if (!message) co_return std::unexpected(message.error());
  const auto* hello = std::get_if<tunnel::Hello>(&*message);
  if (hello == nullptr) co_return fail(ErrorCode::kInvalid, "the first message was no hello");
  auto same = tunnel::check_protocol(hello->protocol, "the agent", hello->agent_version);
  if (!same) co_return std::unexpected(same.error());
  co_return Greeting{std::move(control), hello->share};
}

}  // namespace

Tunnels::Tunnels(WorkerContext& context)
    : context_(context),
      reported_(context.loop.now()),
      silence_timer_(context.loop),
      report_timer_(context.loop) {}

net::Task<> Tunnels::accept(endpoint::Endpoint& endpoint) {
  const size_t cap = context_.shared.config.max_unwelcomed;
  while (true) {
    auto connection = co_await endpoint.accept(tunnel::kTunnelAlpn);
    if (!connection) {
      if (!context_.draining)
        log_error("tunnel_accept_failed", "reason={}", culvert::quoted(connection.error().message));
      co_return;
    }
    if (context_.draining) {
      (*connection)->close(tunnel::kCloseDraining, "the edge is shutting down");
    } else if (pending_ >= cap) {
      context_.refusals.tunnels_full(cap);
      (*connection)->close(tunnel::kCloseLimit, "too many tunnels are being opened at once; try again");
    } else {
      ++pending_;
      context_.tasks.spawn(serve(std::move(*connection)));
    }
  }
}

void Tunnels::watch() {
  look_for_silent();
  report_heard();
}

SessionPtr Tunnels::open_session(const EndpointId& agent) const {
  auto place = sessions_.find(agent);
  return place == sessions_.end() || !place->second->is_open() ? nullptr : place->second;
}

// The session of a tunnel that was let in; nullptr: it was refused.
net::Task<SessionPtr> Tunnels::let_in(endpoint::ConnectionPtr connection) {
  Shared& shared = context_.shared;
  if (!connection->remote_id()) {
    connection->close(tunnel::kCloseProtocol, "a tunnel is for endpoints with a key");
    co_return nullptr;
  }
  const EndpointId agent = *connection->remote_id();
  const std::string address = connection->path_stats().remote.to_string();
  auto greeting =
      co_await greet(context_.loop, connection, context_.loop.now() + shared.config.tunnel_hello_timeout);
  if (!greeting) {
    count(shared.counters.refused_tunnel_hello);
    log_debug("tunnel_refused", "agent={} addr={} reason={}", agent.short_text(), address,
              culvert::quoted(greeting.error().message));
    connection->close(tunnel::kCloseProtocol, greeting.error().message);
    co_return nullptr;
  }
  const bool leased = co_await context_.routes.wait_until_served(agent, context_.loop.now() + kLeaseGrace);
  if (!leased) {
    count(shared.counters.refused_tunnel_no_lease);
    log_debug("tunnel_refused", "agent={} addr={} reason=no_lease", agent.short_text(), address);
    connection->close(tunnel::kCloseNoLease, "this edge knows no lease of this agent; declare again");
    co_return nullptr;
  }
  if (context_.draining) {
    connection->close(tunnel::kCloseDraining, "the edge is shutting down");
    co_return nullptr;
  }
  auto session =
      std::make_shared<Session>(shared.tunnels, connection, std::move(greeting->control), greeting->share,
                                [&counters = shared.counters] { count(counters.udp_dropped_malformed); });
  auto welcomed = session->control().send(
      tunnel::Welcome{tunnel::kControlProtocol, shared.config.version, shared.config.public_addr});
  if (!welcomed) {
    session->close(tunnel::kCloseProtocol, welcomed.error().message);
    co_return nullptr;
  }
  connection->admit();
  co_return session;
}

// What an agent says after its hello must be well formed.
net::Task<> Tunnels::listen_to(SessionPtr session) {
  while (true) {
    auto message = co_await session->control().receive(TimePoint::max());
    if (!message) {
      if (message.error().code == ErrorCode::kInvalid)
        session->close(tunnel::kCloseProtocol, message.error().message);
      co_return;
    }
    if (std::holds_alternative<tunnel::Drain>(*message)) {
      session->drain();
      context_.shared.tunnel_changed(session->generation(), false);
    } else if (const auto* health = std::get_if<tunnel::Health>(&*message)) {
      take(*session, *health);
    }
  }
}

// Lines are limited for each tunnel: an agent whose origin flaps must not fill the log of an edge that many
// use.
void Tunnels::take(Session& session, const tunnel::Health& health) {
  using enum TunnelRegistry::HealthChange;
  Counters& counters = context_.shared.counters;
  switch (context_.shared.tunnels.set_health(session.agent(), session.generation(), health)) {
    case kNothing:
      return;
    case kFails:
      ++session.unhealthy_services();
      count(counters.services_unhealthy);
      count(counters.services_failed);
      break;
    case kWorks:
      --session.unhealthy_services();
      counters.services_unhealthy.fetch_sub(1, std::memory_order_relaxed);
      break;
    case kOtherReason:
      break;
  }
  if (!session.health_lines().allow(context_.loop.now())) return;
  if (health.is_healthy) {
    log_info("service_healthy", "agent={} service={}", session.agent().short_text(), quoted(health.service));
  } else {
    log_warn("service_unhealthy", "agent={} service={} reason={}", session.agent().short_text(),
             quoted(health.service), quoted(health.reason));
  }
}

// One tunnel, from its handshake to its end.
net::Task<> Tunnels::serve(endpoint::ConnectionPtr connection) {
  SessionPtr session = co_await let_in(connection);
  --pending_;
  if (!session) co_return;
  Shared& shared = context_.shared;
  const std::string agent = session->agent().short_text();
  const std::string address = connection->path_stats().remote.to_string();
  add(session);
  shared.tunnel_came();
  tell_of_ports(*session);
  count(shared.counters.tunnels_accepted);
  count(shared.counters.tunnels_active);
  log_info("agent_connected", "agent={} addr={}", agent, address);

  co_await listen_to(session);
  const endpoint::CloseReason reason = co_await connection->closed();
  const auto left = remove(*session);
  shared.tunnel_changed(session->generation(), true);
  shared.counters.services_unhealthy.fetch_sub(session->unhealthy_services(), std::memory_order_relaxed);
  shared.counters.tunnels_active.fetch_sub(1, std::memory_order_relaxed);
  log_info("agent_disconnected", "agent={} addr={} by={} code={} reason={}", agent, address,
           to_string(reason.kind), reason.code, culvert::quoted(reason.message));
  if (!left) co_return;  // it was replaced
  // Any other code leaves the lease alone: the agent may still serve through other edges.
  const bool goodbye =
      reason.kind == endpoint::CloseReason::Kind::kApplication && reason.code == tunnel::kCloseGoodbye;
  if (goodbye) {
    shared.control.agent_left(session->agent());
  } else if (*left == 0) {
    shared.control.tunnel_closed(session->agent());
  }
}

void Tunnels::add(const SessionPtr& session) {
  session->set_generation(
      context_.shared.tunnels.add(session->agent(), context_.index, context_.loop.now(), session->share()));
  session->connection().set_on_silence([this, weak = std::weak_ptr(session)](endpoint::Silence silence) {
    if (SessionPtr heard = weak.lock()) on_silence(heard, silence);
  });
  report_path(*session);
  SessionPtr old = std::exchange(sessions_[session->agent()], session);
  if (old) old->close(tunnel::kCloseReplaced, "the same agent opened another tunnel");
}

// How many tunnels the agent has left on any worker; nullopt: another took the place of this one.
std::optional<size_t> Tunnels::remove(const Session& session) {
  auto place = sessions_.find(session.agent());
  if (place != sessions_.end() && place->second.get() == &session) sessions_.erase(place);
  return context_.shared.tunnels.remove(session.agent(), session.generation());
}

void Tunnels::close_unserved(const route::Snapshot& before, const route::Delta& changes) {
  const auto close_those_of = [&](const route::RouteId& id) {
    const route::Route* old = before.find(id);
    if (old == nullptr) return;
    for (const route::Target& target : old->targets) {
      const EndpointId* agent = target.agent();
      const SessionPtr session = agent == nullptr ? nullptr : open_session(*agent);
      if (!session || context_.routes.current().serves(*agent)) continue;
      session->close(tunnel::kCloseRevoked,
                     "no route names this agent any more: its lease ended or was revoked");
    }
  };
  for (const route::RouteId& removed : changes.removals) close_those_of(removed);
  for (const route::Route& changed : changes.upserts) close_those_of(changed.id());
}

// An agent that does not take the message serves all the same.
void Tunnels::tell(const tunnel::PortState& state) {
  const route::Route* route = context_.routes.current().match(state.port);
  if (route == nullptr) return;
  for (const route::Target& target : route->targets) {
    const EndpointId* agent = target.agent();
    const SessionPtr session = agent == nullptr ? nullptr : open_session(*agent);
    if (session) (void)session->control().send(state);
  }
}

void Tunnels::tell_of_ports(const route::Delta& changes) {
  for (const route::Route& changed : changes.upserts) {
    const route::PublicPort* port = changed.match.port();
    if (port == nullptr) continue;
    for (const auto& [number, reason] : context_.shared.port_faults.of(*port)) tell({number, false, reason});
  }
}

void Tunnels::tell_of_ports(Session& session) {
  for (const route::Route* route : context_.routes.current().routes_of(session.agent())) {
    const route::PublicPort* port = route->match.port();
    if (port == nullptr) continue;
    for (const auto& [number, reason] : context_.shared.port_faults.of(*port))
      (void)session.control().send(tunnel::PortState{number, false, reason});
  }
}

size_t Tunnels::connections() const {
  size_t total = 0;
  for (const auto& [agent, session] : sessions_) total += session->connections();
  return total;
}

void Tunnels::send_drain() {
  for (const auto& [agent, session] : sessions_) {
    // One that does not take the message learns from the close.
    (void)session->control().send(tunnel::Drain{});
  }
}

void Tunnels::send_declare_again(Duration spread) {
  for (const auto& [agent, session] : sessions_) {
    // One that does not take the message declares when its lease is due.
    (void)session->control().send(tunnel::DeclareAgain{spread});
  }
}

// A killed agent's tunnel would keep its clients waiting for QUIC's idle timeout. One that has no other in
// its place is given that long: its network may come back.
void Tunnels::look_for_silent() {
  silence_timer_.after(kSilenceLook, [this] { look_for_silent(); });
  const TimePoint silent_since = context_.loop.now() - route::Picker::kSilence;
  TunnelRegistry& registry = context_.shared.tunnels;
  std::vector<SessionPtr> superseded;
  std::vector<SessionPtr> silent;
  for (const auto& [agent, session] : sessions_) {
    const TimePoint heard = session->last_heard();
    registry.set_heard(agent, session->generation(), heard);
    if (session->silence() == endpoint::Silence::kDead) silent.push_back(session);
    if (heard >= silent_since) continue;
    const auto routes = context_.routes.current().routes_of(agent);
    const bool has_successor = std::ranges::any_of(routes, [&](const route::Route* route) {
      return registry.has_successor(*route, session->generation(), heard);
    });
    if (has_successor) superseded.push_back(session);
  }
  for (const SessionPtr& session : superseded) {
    session->close(tunnel::kCloseReplaced, "nothing was heard from this agent since another took its place");
  }
  for (const SessionPtr& session : silent) close_silent(session);
}

void Tunnels::on_silence(const SessionPtr& session, endpoint::Silence silence) {
  if (session->set_silence(silence) == endpoint::Silence::kNone)
    count(context_.shared.counters.tunnels_suspected);
  log_debug("agent_silence", "agent={} silence={}", session->agent().short_text(), quic::to_string(silence));
  context_.shared.tunnels.set_suspect(session->agent(), session->generation(),
                                      silence != endpoint::Silence::kNone);
  if (silence == endpoint::Silence::kDead) close_silent(session);
}

// As above: where no other tunnel could take its connections, QUIC's idle timeout decides.
void Tunnels::close_silent(const SessionPtr& session) {
  if (!session->is_open()) return;
  const auto routes = context_.routes.current().routes_of(session->agent());
  const bool has_substitute = std::ranges::any_of(routes, [&](const route::Route* route) {
    return context_.shared.tunnels.has_substitute(*route, session->generation());
  });
  if (!has_substitute) return;
  count(context_.shared.counters.tunnels_closed_silent);
  session->close(tunnel::kCloseReplaced,
                 "this agent did not answer data and probes; another takes its connections");
}

// What a live tunnel proves renews its agent's lease: one report for all, whatever their number and traffic.
void Tunnels::report_heard() {
  report_timer_.after(kReportInterval, [this] { report_heard(); });
  const TimePoint since = std::exchange(reported_, context_.loop.now());
  std::vector<route::AgentHeard> heard;
  for (const auto& [agent, session] : sessions_) {
    if (!session->is_open() || session->last_heard() < since) continue;
    heard.push_back({agent, session->last_heard()});
    report_path(*session);
  }
  if (!heard.empty()) context_.shared.control.agents_heard(std::move(heard));
}

void Tunnels::report_path(Session& session) {
  const endpoint::PathStats path = session.connection().path_stats();
  context_.shared.tunnels.set_path(session.agent(), session.generation(), path.remote, path.smoothed_rtt);
}

}  // namespace culvert::edge
