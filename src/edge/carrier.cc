#include "edge/carrier.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "edge/answers.h"
#include "edge/first_request.h"
#include "tls/tls.h"
#include "tunnel/protocol.h"
#include "tunnel/stream_header.h"

namespace culvert::edge {
namespace {

// A client that is to be told of a failure by an HTTP answer is first given this long to ask.
constexpr Duration kRequestTimeout = std::chrono::seconds(10);
// From worker to worker, and from agent to agent that does not answer.
constexpr unsigned kMaxMoves = 16;
constexpr size_t kMaxTries = 16;

// For a connection's first bytes to be acknowledged, before another agent gets them: two probe timeouts. The
// least is what a short stall of a busy agent takes, the most leaves time for another try within 3 s.
constexpr int kOpenPtos = 2;
constexpr Duration kLeastOpen = std::chrono::milliseconds(200);
constexpr Duration kMostOpen = std::chrono::seconds(2);
// So many agents are tried at that pace, then it halves each time: where all of them are slow, more streams
// would make it worse.
constexpr size_t kQuickTries = 3;
// How often a connection without another agent looks whether there is one now.
constexpr Duration kLookAgain = std::chrono::milliseconds(250);

Duration open_timeout(const Session& session, size_t tries) {
  const Duration base = std::clamp(kOpenPtos * session.probe_timeout(), kLeastOpen, kMostOpen);
  return tries <= kQuickTries ? base : base * (1 << std::min<size_t>(tries - kQuickTries, 8));
}

// The agent did not reach its origin.
bool is_fault_of_origin(const tunnel::PumpResult& result) {
  if (result.end != tunnel::PumpEnd::kStreamReset || result.given_up) return false;
  return result.code == tunnel::kStreamOriginUnreachable || result.code == tunnel::kStreamOriginTimeout ||
         result.code == tunnel::kStreamOriginUntrusted;
}

// A page before the request would be an answer to nothing: waits for the request's first bytes.
net::Task<> answer_request(PublicConnection connection, Bytes answer, TimePoint deadline) {
  if (connection.received.empty()) {
    std::array<uint8_t, 2048> request;
    auto got = co_await net::read_some(*connection.socket, request, deadline);
    if (!got || *got == 0) co_return;
  }
  co_await refuse(std::move(connection), std::move(answer));
}

}  // namespace

// nullptr: there is none that carries, or none in this way.
const route::Route* Carrier::route_of(const PublicConnection& connection) const {
  const route::Route* route = connection.find_route(context_.routes.current());
  const bool carries = route != nullptr && !route->is_suspended && takes(*route, connection.kind);
  if (!carries) return nullptr;
  const bool is_told = context_.shared.hub_is_heard.load(std::memory_order_relaxed);
  return is_told || !route->is_over(context_.loop.unix_now()) ? route : nullptr;
}

bool Carrier::has_other_agent(const PublicConnection& connection) const {
  const route::Route* route = route_of(connection);
  return route != nullptr && connection.tried.size() < kMaxTries &&
         context_.shared.tunnels.can_pick(*route, context_.loop.now(), connection.tried);
}

// Than one that does not answer: slow is better than an origin that does not work, for a while.
bool Carrier::has_better_agent(const PublicConnection& connection) const {
  if (!has_other_agent(connection)) return false;
  const TimePoint now = context_.loop.now();
  return now >= *connection.opened + context_.shared.config.open_patience / 2 ||
         context_.shared.tunnels.has_healthy(*route_of(connection), now, connection.tried);
}

void Carrier::count_refused(const PublicConnection& connection) {
  if (connection.route) context_.traffic.refused(*connection.route, *connection.tenant, context_.loop.now());
}

net::Task<> Carrier::refuse_known(PublicConnection connection, Bytes answer) {
  count_refused(connection);
  switch (connection.kind) {
    case tunnel::StreamKind::kTerminate:
    case tunnel::StreamKind::kChallenge: {
      const TimePoint deadline = context_.loop.now() + kRequestTimeout;
      co_return co_await answer_request(std::move(connection), std::move(answer), deadline);
    }
    case tunnel::StreamKind::kPassthrough:
      co_return co_await refuse(std::move(connection), tls::alert_record(tls::Alert::kInternalError));
    case tunnel::StreamKind::kTcpPort:
    case tunnel::StreamKind::kUdpPort:
      co_return connection.socket->reset();  // no protocol is known in which to tell why
  }
}

net::Task<> Carrier::refuse_unanswered(PublicConnection connection) {
  if (const route::Route* known = connection.find_route(context_.routes.current()))
    connection.belongs_to(*known);
  if (connection.refused) {
    connection.end_as(reason_of(connection.refused->code));
    count(context_.shared.counters.refused_by_agent);
    const OriginRefusal& refused = *connection.refused;
    Bytes answer = refused.is_local ? local_refusal_answer(connection.kind, refused.code, refused.reason)
                                    : refusal_answer(connection.kind, refused.code, refused.reason);
    co_return co_await refuse_known(std::move(connection), std::move(answer));
  }
  if (connection.limited) {
    connection.end_as(CloseReason::kStreamLimit);
    count(context_.shared.counters.refused_stream_limit);
    co_return co_await refuse_known(std::move(connection), stream_limit_answer());
  }
  const route::Route* route = connection.find_route(context_.routes.current());
  if (route != nullptr && route->is_suspended) {
    connection.end_as(CloseReason::kSuspended);
    context_.refusals.suspended(connection.name(), connection.client);
    co_return co_await refuse_known(std::move(connection), suspended_answer());
  }
  connection.end_as(connection.attempts > 0 ? CloseReason::kAgentSilent : CloseReason::kNoAgent);
  context_.refusals.no_agent(connection.name(), connection.client);
  co_await refuse_known(std::move(connection), no_agent_answer());
}

// Until when; nullopt: it is refused. After a hand-over the agents of the route are on their way.
std::optional<TimePoint> Carrier::waits_for_agents(const PublicConnection& connection) const {
  const Shared& shared = context_.shared;
  const TimePoint now = context_.loop.now();
  if (!shared.expects_agents(now) || context_.draining || !connection.tried.empty()) return std::nullopt;
  const route::Route* route = route_of(connection);
  if (route == nullptr || route->is_suspended || route->targets.empty()) return std::nullopt;
  const TimePoint until =
      std::min(shared.agents_expected_until, connection.accepted + shared.options.get()->hello_timeout);
  return now < until ? std::optional(until) : std::nullopt;
}

// There is one pick for a connection as long as agents answer, so that turns are even, and it fails only when
// no agent of the route has an open tunnel, on whichever worker, or none of them answers.
net::Task<> Carrier::give_to_agent(PublicConnection connection) {
  Shared& shared = context_.shared;
  while (true) {
    const TimePoint now = context_.loop.now();
    const route::Route* route = route_of(connection);
    const bool patient = !connection.opened || now < *connection.opened + shared.config.open_patience;
    auto& pick = connection.pick;
    pick.reset();  // it counts as load
    if (route != nullptr && patient && connection.moves < kMaxMoves && connection.tried.size() < kMaxTries)
      pick = shared.tunnels.pick(*route, context_.index, now, connection.tried);
    // Every agent that was left to try is at its limit, or its origin does not work: asking once more would
    // not change that.
    if (pick && (connection.limited || connection.refused) &&
        std::ranges::find(connection.tried, pick->generation) != connection.tried.end())
      pick.reset();
    const auto agents_due = pick ? std::nullopt : waits_for_agents(connection);
    if (agents_due) {
      const WaitingClient waiting(shared.waiting_clients);
      const bool one_came = co_await context_.tunnel_came.wait_until(*agents_due);
      (void)one_came;
      continue;
    }
    if (!pick) co_return co_await refuse_unanswered(std::move(connection));
    if (!take_tenant(connection, *route))
      co_return co_await refuse_known(std::move(connection), tenant_limit_answer());
    if (pick->worker != context_.index) co_return move_to_worker(std::move(connection));
    if (pick->origin) {
      auto unreached = co_await try_origin(std::move(connection));
      if (!unreached) co_return;
      connection = std::move(*unreached);
      continue;
    }
    SessionPtr session = tunnels_.open_session(pick->agent());
    if (!session) {
      shared.tunnels.set_closed(pick->agent(), pick->generation);
      continue;
    }
    auto unanswered = co_await try_agent(std::move(connection), std::move(session));
    if (!unanswered) co_return;
    connection = std::move(*unanswered);
  }
}

// False: the tenant has as many as it may, or began too many.
bool Carrier::take_tenant(PublicConnection& connection, const route::Route& route) {
  Shared& shared = context_.shared;
  const TenantPlaces::Terms terms{.own = own_connections(route.own_limits),
                                  .equal_part_of = shared.scarce_connections()};
  connection.belongs_to(route);
  const auto refusal = connection.slot->take_tenant(shared.tenants, route.tenant, context_.loop.now(), terms);
  if (!refusal) return true;
  connection.end_as(*refusal == TenantPlaces::Refusal::kRate ? CloseReason::kTenantRate
                                                             : CloseReason::kTenantFull);
  if (*refusal == TenantPlaces::Refusal::kRate) {
    context_.refusals.tenant_rate(connection.name(), shared.tenants.limits_for(terms.own).per_second);
  } else {
    context_.refusals.tenant_full(connection.name(), shared.tenants.limits_for(terms.own).open,
                                  shared.overload.state());
  }
  return false;
}

// The connection, for another agent or to be refused; nullopt: it is carried, or gone.
net::Task<std::optional<PublicConnection>> Carrier::try_agent(PublicConnection connection,
                                                              SessionPtr session) {
  Shared& shared = context_.shared;
  connection.tried.push_back(session->generation());
  connection.limited = false;
  auto stream = session->connection().try_open_bidi();
  if (!stream) {
    connection.limited = session->is_open();
    co_return std::move(connection);
  }
  connection.use.emplace(session);
  connection.agent = session->agent();
  connection.origin = {};
  ++connection.attempts;
  connection.pending.reset();
  if (std::exchange(connection.retried, true)) count(shared.counters.streams_retried);
  if (!connection.opened) connection.opened = context_.loop.now();
  const TimePoint last = *connection.opened + shared.config.open_patience;
  const route::Route* picked_by = route_of(connection);
  CHECK(picked_by != nullptr);
  const std::string& authority = connection.port ? picked_by->service : connection.host;
  const tunnel::StreamHeader header{connection.client, connection.public_addr, authority,
                                    connection.kind,   connection.id,          connection.proxy_tlvs};
  Opening opening(*connection.socket, std::move(stream), tunnel::encode(header), connection.received,
                  connection.kind, !has_other_agent(connection), scratch_);
  TimePoint deadline = context_.loop.now() + open_timeout(*session, connection.tried.size());
  while (true) {
    auto result = co_await opening.wait(deadline);
    connection.received = opening.received();
    if (result == Opening::Result::kClientGone) {
      connection.end_as(CloseReason::kClientGone);
      co_return std::nullopt;
    }
    if (result == Opening::Result::kAnswered) break;
    const TimePoint now = context_.loop.now();
    const bool is_over = result == Opening::Result::kLost || now >= last;
    if (is_over || (opening.is_repeatable() && has_better_agent(connection)))
      co_return take_back(std::move(connection), opening);
    deadline = std::min(last, now + kLookAgain);
  }
  // Changes of routes that came meanwhile cut what is carried, and this is not yet.
  const route::Route* route = route_of(connection);
  if (route == nullptr || !route->leads_to(session->agent()))
    co_return take_back(std::move(connection), opening);
  carry(std::move(connection), *route, opening.take());
  co_return std::nullopt;
}

// The connection, for another target or to be refused; nullopt: it is carried.
net::Task<std::optional<PublicConnection>> Carrier::try_origin(PublicConnection connection) {
  const bool has_other = has_other_agent(connection);
  connection.agent.reset();
  connection.origin = connection.pick->target.text();
  ++connection.attempts;
  if (connection.kind == tunnel::StreamKind::kChallenge)
    co_return co_await answer_challenge(std::move(connection));
  auto attempt = co_await origins_.reach(std::move(connection), has_other);
  if (!attempt.origin) co_return std::move(attempt.connection);
  // Changes of routes that came meanwhile cut what is carried, and this is not yet.
  const route::Route* route = route_of(attempt.connection);
  if (route == nullptr || !route->leads_to(attempt.connection.pick->target))
    co_return std::move(attempt.connection);
  const uint64_t id = attempt.connection.id;
  attempt.connection.received = {};
  attempt.connection.belongs_to(*route);
  attempt.connection.taken = context_.loop.now();
  auto traffic = context_.traffic.begin(*route, attempt.connection.pick->target, context_.loop.now());
  auto pump = origins_.make_pump(attempt, {&moved_, &traffic.moved()},
                                 [this, id](tunnel::PumpResult result) { ended(id, std::move(result)); });
  local_.insert(id);
  carried_.add({std::move(attempt.connection), route->id(), route->tenant, attempt.header_size, pump,
                std::move(traffic)});
  count(context_.shared.counters.streams_carried);
  pump->start();  // may end it, and its entry, at once
  co_return std::nullopt;
}

// The same for a challenge of an origin beside the edge.
net::Task<std::optional<PublicConnection>> Carrier::answer_challenge(PublicConnection connection) {
  auto answer = co_await origins_.ask(std::move(connection));
  connection = std::move(answer.connection);
  const route::Route* route = route_of(connection);
  if (!answer.response || route == nullptr) co_return std::move(connection);
  connection.belongs_to(*route);
  connection.taken = context_.loop.now();
  connection.bytes_in = connection.received.size();
  connection.bytes_out = answer.response->size();
  connection.end_as(CloseReason::kFinished);
  co_await refuse(std::move(connection), std::move(*answer.response));
  co_return std::nullopt;
}

void Carrier::cut_local() {
  while (!local_.empty()) {
    const std::shared_ptr<tunnel::AnyPump> pump = carried_.find(*local_.begin())->pump;
    pump->cut(tunnel::kStreamOk);
  }
}

// nullopt: the agent may have got bytes that must not be sent twice, so that no other gets the connection.
std::optional<PublicConnection> Carrier::take_back(PublicConnection connection, const Opening& opening) {
  connection.use.reset();
  if (opening.is_repeatable()) return connection;
  connection.end_as(CloseReason::kAgentSilent);
  context_.refusals.no_agent(connection.name(), connection.client);
  connection.socket->reset();
  return std::nullopt;
}

void Carrier::move_to_worker(PublicConnection connection) {
  count(context_.shared.counters.connections_moved);
  ++connection.moves;
  connection.route_update = context_.routes.number();
  connection.detach();
  Peer& worker = *context_.shared.workers[connection.pick->worker];
  worker.adopt(std::move(connection));
}

net::Task<> Carrier::adopt(PublicConnection connection) {
  connection.attach(context_.loop);
  if (connection.pending) connection.pending->attach(admission_, *connection.socket);
  // A worker that does not have the routes of the other yet would refuse.
  co_await context_.routes.wait_for(connection.route_update);
  // What was picked may have changed on the way; an agent that drains since then was told of the last stream.
  const EndpointId agent = connection.pick->agent();
  SessionPtr session = tunnels_.open_session(agent);
  if (!session) context_.shared.tunnels.set_closed(agent, connection.pick->generation);
  const route::Route* route = route_of(connection);
  if (session && !session->is_draining() && route != nullptr && route->leads_to(agent)) {
    auto unanswered = co_await try_agent(std::move(connection), std::move(session));
    if (!unanswered) co_return;
    connection = std::move(*unanswered);
  }
  co_await give_to_agent(std::move(connection));
}

void Carrier::carry(PublicConnection connection, const route::Route& route, Opening::Taken opened) {
  tunnel::Pump::Config config;
  config.socket = std::move(connection.socket);
  config.stream = std::move(opened.stream);
  config.scratch = scratch_;
  config.abort_code = tunnel::kStreamClientGone;
  config.initial = std::move(opened.initial);
  config.initial_sent = opened.sent;
  config.return_refused_socket = true;
  config.limits = context_.shared.config.options.pump;
  config.return_unanswered = opened.is_repeatable;
  if (connection.kind == tunnel::StreamKind::kTerminate && config.initial.size() == opened.header_size)
    config.may_repeat = may_be_repeated;
  auto traffic = context_.traffic.begin(route, connection.pick->target, context_.loop.now());
  config.moved = {&moved_, &traffic.moved()};
  config.budgets = connection.slot->budgets(context_.shared.bandwidth);
  config.on_done = [this, id = connection.id](tunnel::PumpResult result) { ended(id, std::move(result)); };
  connection.received = {};
  connection.belongs_to(route);
  if (!connection.taken) connection.taken = context_.loop.now();
  auto pump = tunnel::Pump::create(std::move(config));
  carried_.add(
      {std::move(connection), route.id(), route.tenant, opened.header_size, pump, std::move(traffic)});
  count(context_.shared.counters.streams_carried);
  pump->start();  // may end it, and its entry, at once
}

void Carrier::ended(uint64_t id, tunnel::PumpResult result) {
  CarriedConnection carried = carried_.remove(id);
  const bool is_local = local_.erase(id) > 0;
  const bool fails_over = may_fail_over(carried.connection, result);
  const bool goes_on = fails_over || (result.unanswered_socket != nullptr && !context_.draining);
  PublicConnection connection = std::move(carried.connection);
  connection.end_as(reason_of(result, context_.draining));
  // What the edge wrote itself is not the client's.
  connection.bytes_in =
      result.bytes.to_stream - std::min<uint64_t>(carried.header_size, result.bytes.to_stream);
  connection.bytes_out = result.bytes.to_socket;
  Counters& counters = context_.shared.counters;
  const auto duration =
      std::chrono::duration_cast<std::chrono::milliseconds>(context_.loop.now() - connection.accepted);
  log_debug("connection_closed",
            "id={:x} host={} client={} agent={} bytes_in={} bytes_out={} reason={} code={} duration_ms={}",
            connection.id, culvert::quoted(connection.name()), connection.client.to_string(),
            connection.pick->target.text(), result.bytes.to_stream, result.bytes.to_socket,
            tunnel::to_string(result.end), tunnel::stream_code_name(result.code), duration.count());
  if (is_fault_of_origin(result)) connection.refused = refusal_of(connection, result.code);
  connection.use.reset();
  connection.pick.reset();
  if (result.given_up) context_.refusals.stalled_client(connection.name(), connection.client);
  if (goes_on) {
    connection.socket = std::move(fails_over ? result.refused_socket : result.unanswered_socket);
    connection.received = to_bytes(ByteView(result.initial).subspan(carried.header_size));
    connection.opened.reset();
    connection.moves = 0;
    // Its agent was lost after it had the first bytes and before it answered: any other may get the same.
    if (fails_over) {
      connection.retried = false;  // it answered
      count(counters.origins_failed);
    } else {
      connection.tried.clear();
    }
    context_.tasks.spawn(give_to_agent(std::move(connection)));
  } else if (result.unanswered_socket) {
    result.unanswered_socket->reset();
  } else if (result.refused_socket) {
    connection.socket = std::move(result.refused_socket);
    count_refused(connection);
    if (!connection.port || !result.given_up) count(counters.refused_by_agent);
    if (connection.port) return connection.socket->reset();
    const std::string reason = connection.refused ? connection.refused->reason : std::string();
    Bytes answer = is_local ? local_refusal_answer(connection.kind, result.code, reason)
                            : refusal_answer(connection.kind, result.code, reason);
    context_.tasks.spawn(refuse(std::move(connection), std::move(answer)));
  }
}

// No origin got anything of it: an agent that was not tried may.
bool Carrier::may_fail_over(const PublicConnection& connection, const tunnel::PumpResult& result) const {
  if (!result.refused_socket || result.initial.empty() || !is_fault_of_origin(result) || context_.draining)
    return false;
  const route::Route* route = route_of(connection);
  return route != nullptr && connection.tried.size() < kMaxTries &&
         context_.shared.tunnels.has_untried(*route, context_.loop.now(), connection.tried);
}

OriginRefusal Carrier::refusal_of(const PublicConnection& connection, endpoint::AppCode code) const {
  const route::Route* route = route_of(connection);
  const auto& pick = connection.pick;
  if (route == nullptr || !pick || pick->origin) return {code, {}};
  return {code, context_.shared.tunnels.fault_of_origin(pick->agent(), pick->generation, *route)};
}

void Carrier::recheck(const route::Delta& changes) {
  const uint64_t before = carried_.rechecked();
  const std::vector<uint64_t> unrouted = carried_.recheck(context_.routes.current(), changes);
  count(context_.shared.counters.connections_rechecked, carried_.rechecked() - before);
  for (const uint64_t id : unrouted) {
    // Cutting one ends it, and may end others.
    const CarriedConnection* carried = carried_.find(id);
    if (carried == nullptr) continue;
    const std::shared_ptr<tunnel::AnyPump> pump = carried->pump;
    pump->cut(tunnel::kStreamUnknownService);
  }
}

}  // namespace culvert::edge
