#include "edge/worker.h"

#include <algorithm>

#include "base/check.h"
#include "base/log.h"
#include "edge/answers.h"
#include "tunnel/protocol.h"

namespace culvert::edge {
namespace {

// Enough for a pump to fill many packets with one read; one for each worker, not for each connection.
constexpr size_t kScratch = 64 * 1024;
// How often the registry learns when agents were heard. route::Picker::kSilence leaves a second for it.
constexpr Duration kSilenceLook = std::chrono::milliseconds(250);
// How often a drain looks whether everything has ended.
constexpr Duration kDrainLook = std::chrono::milliseconds(50);
// After everything was closed: for coroutines to notice.
constexpr Duration kLastWait = std::chrono::seconds(2);
// What a peer may send before it is welcomed: four of the largest control messages.
constexpr uint64_t kUnwelcomedWindow = 4 * tunnel::kMaxControlMessage;

}  // namespace

Result<std::unique_ptr<Worker>> Worker::bind(Shared& shared, unsigned index) {
  std::unique_ptr<Worker> worker(new Worker(shared, index));
  const Config& config = shared.config;
  const unsigned workers = config.options.workers;
  net::ListenOptions options;
  if (workers > 1) options.share = index == 0 ? net::PortShare::kFirst : net::PortShare::kSibling;
  auto listener = net::TcpListener::listen(worker->loop_, *config.options.tcp_listen, options);
  if (!listener) return std::unexpected(listener.error());
  worker->listener_ = std::move(*listener);

  quic::Limits limits;
  // An agent opens one stream, for control, and sends no datagrams: strangers get no more to fill.
  limits.max_streams_bidi = 4;
  limits.max_streams_uni = 0;
  limits.datagrams = false;
  limits.watch_silence = true;
  // Until it is welcomed: anybody with a key gets so far.
  limits.unadmitted_window = kUnwelcomedWindow;
  auto endpoint =
      endpoint::Endpoint::bind(worker->loop_, {.key = config.key,
                                               .bind = *config.options.udp_listen,
                                               .protocols = {{.alpn = tunnel::kTunnelAlpn, .limits = limits}},
                                               .worker = index,
                                               .workers = workers});
  if (!endpoint) return std::unexpected(endpoint.error());
  worker->endpoint_ = std::move(*endpoint);
  return worker;
}

Worker::Worker(Shared& shared, unsigned index)
    : shared_(shared),
      index_(index),
      scratch_(kScratch),
      routes_changed_(loop_),
      drain_skipped_(loop_),
      last_wait_(loop_),
      silence_timer_(loop_),
      report_timer_(loop_),
      unknown_hostname_lines_(5, std::chrono::seconds(2)),
      no_agent_lines_(5, std::chrono::seconds(2)),
      tasks_(loop_),
      closing_(loop_) {}

Worker::~Worker() = default;

void Worker::run() {
  tasks_.spawn(accept_public());
  tasks_.spawn(accept_tunnels());
  look_for_silent_sessions();
  report_heard();
  loop_.run();
}

net::Task<> Worker::accept_public() {
  const Unserved::Limits limits = shared_.unserved.limits();
  while (true) {
    auto fd = co_await listener_->accept();
    if (!fd) {
      if (!draining_)
        log_error("accept_failed", "worker={} reason={}", index_, culvert::quoted(fd.error().message));
      co_return;
    }
    count(shared_.counters.connections_accepted);
    auto socket = net::make_tcp_stream(loop_, *fd);
    auto slot = ConnectionSlot::take(shared_.counters, shared_.config.options.max_connections);
    if (!slot) {
      refused(shared_.counters.refused_max_connections, connections_full_lines_, "connections_full",
              shared_.config.options.max_connections);
      socket->reset();
      continue;
    }
    auto admitted = shared_.unserved.admit(socket->remote_addr(), index_);
    if (admitted.dropped) {
      refused(shared_.counters.dropped_source_full, source_full_lines_, "source_full", limits.per_source);
      shared_.workers[admitted.dropped->worker]->drop_unserved(admitted.dropped->id);
    }
    if (!admitted.place) {
      refused(shared_.counters.refused_max_hellos, hellos_full_lines_, "hellos_full", limits.total);
      socket->reset();
      continue;
    }
    tasks_.spawn(serve_public(*this, std::move(socket), std::move(*slot), std::move(*admitted.place)));
  }
}

net::Task<> Worker::accept_tunnels() {
  while (true) {
    auto connection = co_await endpoint_->accept(tunnel::kTunnelAlpn);
    if (!connection) {
      if (!draining_)
        log_error("tunnel_accept_failed", "reason={}", culvert::quoted(connection.error().message));
      co_return;
    }
    if (draining_) {
      (*connection)->close(tunnel::kCloseDraining, "the edge is shutting down");
    } else if (static_cast<size_t>(unwelcomed_.use_count()) > shared_.config.max_unwelcomed) {
      refused(shared_.counters.refused_tunnel_limit, tunnels_full_lines_, "tunnels_full",
              shared_.config.max_unwelcomed);
      (*connection)->close(tunnel::kCloseLimit, "too many tunnels are being opened at once; try again");
    } else {
      tasks_.spawn(serve_tunnel(*this, std::move(*connection), unwelcomed_));
    }
  }
}

void Worker::update_routes(RouteUpdate update) {
  loop_.post([this, update = std::move(update)]() mutable { take_routes(std::move(update)); });
}

void Worker::take_routes(RouteUpdate update) {
  CHECK(update.number == route_update_ + 1);
  const route::SnapshotPtr before = std::exchange(routes_, std::move(update.routes));
  route_update_ = update.number;
  routes_changed_.notify();
  const auto close_unserved = [&](const route::RouteId& id) {
    const route::Route* old = before->find(id);
    if (old == nullptr) return;
    for (const auto& [agent] : old->targets) {
      auto place = sessions_.find(agent);
      if (place == sessions_.end() || routes_->serves(agent)) continue;
      const SessionPtr session = place->second;  // closing it may change the map
      session->close(tunnel::kCloseRevoked,
                     "no route names this agent any more: its lease ended or was revoked");
    }
  };
  for (const route::RouteId& removed : update.changes->removals) close_unserved(removed);
  for (const route::Route& changed : update.changes->upserts) close_unserved(changed.id());
  if (--*update.workers_left == 0) shared_.tunnels.forget(*update.changes);
  const uint64_t rechecked = carried_.rechecked();
  const std::vector<uint64_t> unrouted = carried_.recheck(*routes_, *update.changes);
  count(shared_.counters.connections_rechecked, carried_.rechecked() - rechecked);
  for (const uint64_t id : unrouted) {
    // Cutting one ends it, and may end others.
    const CarriedConnection* connection = carried_.find(id);
    if (connection == nullptr) continue;
    const std::shared_ptr<tunnel::Pump> pump = connection->pump;
    pump->cut(tunnel::kStreamUnknownService);
  }
}

net::Task<> Worker::wait_for_route_update(uint64_t number) {
  while (route_update_ < number) co_await routes_changed_.wait();
}

// A killed agent's tunnel would keep its clients waiting for QUIC's idle timeout. One that has nobody in its
// place is given that long: its network may come back.
void Worker::look_for_silent_sessions() {
  silence_timer_.after(kSilenceLook, [this] { look_for_silent_sessions(); });
  const TimePoint silent_since = loop_.now() - route::Picker::kSilence;
  std::vector<SessionPtr> superseded;
  std::vector<SessionPtr> silent;
  for (const auto& [agent, session] : sessions_) {
    shared_.tunnels.set_heard(agent, session->generation, session->last_heard());
    if (session->last_heard() < silent_since && is_superseded(*session)) superseded.push_back(session);
    if (session->silence == endpoint::Silence::kDead) silent.push_back(session);
  }
  for (const SessionPtr& session : superseded) {
    session->close(tunnel::kCloseReplaced, "nothing was heard from this agent since another took its place");
  }
  for (const SessionPtr& session : silent) close_silent(session);
}

void Worker::on_silence(const SessionPtr& session, endpoint::Silence silence) {
  if (session->silence == endpoint::Silence::kNone) count(shared_.counters.tunnels_suspected);
  session->silence = silence;
  log_debug("agent_silence", "agent={} silence={}", session->agent().short_text(), quic::to_string(silence));
  shared_.tunnels.set_suspect(session->agent(), session->generation, silence != endpoint::Silence::kNone);
  if (silence == endpoint::Silence::kDead) close_silent(session);
}

// As above: where no other tunnel could take its connections, QUIC's idle timeout decides.
void Worker::close_silent(const SessionPtr& session) {
  if (!session->is_open() || !has_substitute(*session)) return;
  count(shared_.counters.tunnels_closed_silent);
  session->close(tunnel::kCloseReplaced,
                 "this agent did not answer data and probes; another takes its connections");
}

bool Worker::has_substitute(const Session& session) const {
  return std::ranges::any_of(routes_->routes_of(session.agent()), [&](const route::Route* route) {
    return shared_.tunnels.has_substitute(*route, session.generation);
  });
}

// What a live tunnel proves renews its agent's lease: one report for all, whatever their number and traffic.
void Worker::report_heard() {
  report_timer_.after(kReportInterval, [this] { report_heard(); });
  const TimePoint since = std::exchange(reported_, loop_.now());
  std::vector<route::AgentHeard> heard;
  for (const auto& [agent, session] : sessions_) {
    if (session->is_open() && session->last_heard() >= since) heard.push_back({agent, session->last_heard()});
  }
  if (!heard.empty()) shared_.control.agents_heard(std::move(heard));
}

bool Worker::is_superseded(const Session& session) const {
  return std::ranges::any_of(routes_->routes_of(session.agent()), [&](const route::Route* route) {
    return shared_.tunnels.has_successor(*route, session.generation, session.last_heard());
  });
}

void Worker::adopt(MovedConnection connection) {
  loop_.post([this, moved = std::move(connection)]() mutable {
    tasks_.spawn(serve_moved(*this, std::move(moved)));
  });
}

void Worker::drop_unserved(uint64_t id) {
  loop_.post([this, id] {
    auto socket = unserved_->find(id);
    if (socket != unserved_->end()) socket->second->reset();
  });
}

void Worker::shutdown() {
  loop_.post([this] {
    if (draining_) return;
    draining_ = true;
    closing_.spawn(shut_down());
  });
}

void Worker::skip_drain() {
  loop_.post([this] {
    skip_drain_ = true;
    drain_skipped_.notify();
  });
}

net::Task<> Worker::shut_down() {
  const TimePoint deadline = loop_.now() + shared_.config.options.drain_timeout;
  listener_->close();
  for (const auto& [agent, session] : sessions_) {
    // One that does not take the message learns from the close.
    (void)session->control().send(tunnel::Drain{});
  }
  while ((connections() > 0 || !unserved_->empty()) && !skip_drain_ && loop_.now() < deadline) {
    co_await drain_skipped_.wait_until(std::min(deadline, loop_.now() + kDrainLook));
  }
  for (const auto& [id, socket] : *unserved_) socket->reset();
  endpoint_->close(tunnel::kCloseDraining, "the edge has shut down");
  last_wait_.after(kLastWait, [this] { loop_.stop(); });
  co_await tasks_.join();
  loop_.stop();
}

Metrics Worker::report() const {
  Metrics metrics;
  endpoint_->report(metrics);
  return metrics;
}

SessionPtr Worker::open_session(const EndpointId& agent) const {
  auto place = sessions_.find(agent);
  return place == sessions_.end() || !place->second->is_open() ? nullptr : place->second;
}

void Worker::add_session(const SessionPtr& session) {
  session->generation = shared_.tunnels.add(session->agent(), index_, loop_.now());
  session->connection().set_on_silence([this, weak = std::weak_ptr(session)](endpoint::Silence silence) {
    if (SessionPtr heard = weak.lock()) on_silence(heard, silence);
  });
  SessionPtr old = std::exchange(sessions_[session->agent()], session);
  if (old) old->close(tunnel::kCloseReplaced, "the same agent opened another tunnel");
}

std::optional<size_t> Worker::remove_session(const Session& session) {
  auto place = sessions_.find(session.agent());
  if (place != sessions_.end() && place->second.get() == &session) sessions_.erase(place);
  return shared_.tunnels.remove(session.agent(), session.generation);
}

net::Task<bool> Worker::wait_until_served(EndpointId agent, TimePoint deadline) {
  while (!routes_->serves(agent)) {
    bool changed = co_await routes_changed_.wait_until(deadline);
    if (!changed) co_return false;
  }
  co_return true;
}

void Worker::serve_again(std::unique_ptr<net::ByteStream> socket, Bytes received,
                         CarriedConnection connection) {
  if (draining_) return socket->reset();
  tasks_.spawn(serve_unanswered(*this, {.socket = std::move(socket),
                                        .received = std::move(received),
                                        .host = std::move(connection.host),
                                        .id = connection.id,
                                        .accepted = connection.accepted,
                                        .slot = std::move(connection.slot),
                                        .tls_mode = connection.tls_mode}));
}

void Worker::say_and_close(std::unique_ptr<net::ByteStream> socket, Bytes message, ConnectionSlot slot) {
  tasks_.spawn([](std::unique_ptr<net::ByteStream> s, Bytes m, ConnectionSlot) -> net::Task<> {
    co_await edge::say_and_close(std::move(s), std::move(m));
  }(std::move(socket), std::move(message), std::move(slot)));
}

void Worker::log_unknown_hostname(std::string_view host, const SocketAddr& client) {
  if (!unknown_hostname_lines_.allow(loop_.now())) return;
  log_info("unknown_hostname", "host={} client={} suppressed={}", culvert::quoted(host), client.to_string(),
           unknown_hostname_lines_.take_refused());
}

void Worker::refused(Counters::Count& counter, RateLimit& lines, std::string_view event, size_t cap) {
  count(counter);
  if (!lines.allow(loop_.now())) return;
  log_warn(event, "cap={} refused={}", cap, counter.load(std::memory_order_relaxed));
}

void Worker::log_no_agent(std::string_view host, const SocketAddr& client) {
  if (!no_agent_lines_.allow(loop_.now())) return;
  log_info("no_agent", "host={} client={} suppressed={}", culvert::quoted(host), client.to_string(),
           no_agent_lines_.take_refused());
}

void Worker::log_plain_http(const SocketAddr& client) {
  if (!plain_http_lines_.allow(loop_.now())) return;
  log_info("plain_http", "client={} suppressed={} reason={}", client.to_string(),
           plain_http_lines_.take_refused(),
           culvert::quoted("an HTTP request without TLS came to the HTTPS port; answered with status 400"));
}

void Worker::certificate_failed(std::string_view host, const Error& error) {
  count(shared_.counters.refused_certificate);
  if (!certificate_lines_.allow(loop_.now())) return;
  log_error("certificate_failed", "host={} refused={} reason={}", culvert::quoted(host),
            shared_.counters.refused_certificate.load(std::memory_order_relaxed),
            culvert::quoted(error.message));
}

void Worker::tenant_is_full(std::string_view host) {
  count(shared_.counters.refused_tenant_full);
  if (!tenant_full_lines_.allow(loop_.now())) return;
  log_warn("tenant_full", "host={} cap={} refused={}", culvert::quoted(host), shared_.tenants.limit(),
           shared_.counters.refused_tenant_full.load(std::memory_order_relaxed));
}

void Worker::log_stalled_client(std::string_view host, const SocketAddr& client) {
  count(shared_.counters.stalled_clients_cut);
  if (!stalled_client_lines_.allow(loop_.now())) return;
  log_warn("stalled_client_cut", "host={} client={} suppressed={} reason={}", culvert::quoted(host),
           client.to_string(), stalled_client_lines_.take_refused(),
           culvert::quoted("too much waits for clients that do not read; this one had read nothing for the "
                           "longest time"));
}

size_t Worker::connections() const {
  size_t total = 0;
  for (const auto& [agent, session] : sessions_) total += session->connections();
  return total;
}

}  // namespace culvert::edge
