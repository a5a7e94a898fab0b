#include "edge/public_connection.h"

#include <algorithm>
#include <array>

#include "base/log.h"
#include "edge/answers.h"
#include "edge/opening.h"
#include "edge/worker.h"
#include "tls/tls.h"
#include "tunnel/stream_header.h"
#include "wire/client_hello.h"

namespace culvert::edge {
namespace {

constexpr Duration kTlsHandshakeTimeout = std::chrono::seconds(10);
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
// How often one that has nobody else to go to looks whether that has changed.
constexpr Duration kLookAgain = std::chrono::milliseconds(250);
constexpr uint8_t kTlsHandshakeRecord = 22;  // RFC 8446, 5.1

// A client's connection before it is carried.
struct Client {
  std::unique_ptr<net::ByteStream> socket;
  Bytes received;
  std::string host;
  uint64_t id;
  TimePoint accepted;
  ConnectionSlot slot;
  std::unique_ptr<Worker::UnservedGuard> unserved;
  unsigned moves = 0;  // from worker to worker
  std::vector<uint64_t> tried = {};
  std::optional<TimePoint> opened = std::nullopt;
  bool limited = false;  // the last agent that was tried takes no more streams
  bool retried = false;  // an agent had a stream for it and did not answer
  std::optional<TunnelRegistry::Pick> pick = std::nullopt;  // what is to get it
};

CarriedConnection record_of(Client& client, const route::Route& route, size_t header_size) {
  return {client.host,
          route.id(),
          std::move(*client.pick),
          route.tls_mode,
          client.socket->remote_addr(),
          client.socket->local_addr(),
          client.id,
          client.accepted,
          std::move(client.slot),
          header_size,
          nullptr};
}

// Errors: kTimeout and kReset when the client did not finish its hello, kInvalid when it sends none. `reader`
// outlives the call.
net::Task<Result<>> read_hello(net::ByteStream& socket, wire::ClientHelloReader& reader, TimePoint deadline) {
  std::array<uint8_t, 2048> chunk;
  while (reader.state() == wire::ClientHelloReader::State::kNeedMore) {
    auto got = co_await net::read_some(socket, chunk, deadline);
    if (!got) co_return std::unexpected(got.error());
    if (*got == 0) co_return fail(ErrorCode::kReset, "the client left");
    reader.feed(ByteView(chunk).first(*got));
  }
  if (reader.state() != wire::ClientHelloReader::State::kDone) {
    co_return fail(ErrorCode::kInvalid, "no TLS hello: {}", reader.error());
  }
  co_return Result<>();
}

// What a client sent instead of a hello begins like an HTTP request (RFC 9112, 3): a method in capitals, and
// after a space the target. A first packet may end inside the method.
bool begins_like_http(ByteView bytes) {
  constexpr size_t kLongestMethod = 32;
  std::string_view text = as_text(bytes.first(std::min(bytes.size(), kLongestMethod + 2)));
  const size_t method = std::min(text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ-"), text.size());
  if (method == 0 || method > kLongestMethod || text.front() == '-') return false;
  text.remove_prefix(method);
  if (text.empty()) return true;
  if (text.front() != ' ') return false;
  return text.size() == 1 || text[1] == '/' || text[1] == '*' || text[1] == 'h';
}

net::Task<> refuse_hello(Worker& worker, std::unique_ptr<net::ByteStream> socket, ErrorCode why,
                         ByteView received) {
  Counters& counters = worker.shared().counters;
  if (why != ErrorCode::kInvalid) {
    count(counters.refused_hello_timeout);
    co_return;
  }
  Bytes answer;
  if (begins_like_http(received)) {
    count(counters.refused_plain_http);
    worker.log_plain_http(socket->remote_addr());
    answer = plain_http_answer();
  } else {
    count(counters.refused_not_tls);
    const bool speaks_tls = !received.empty() && received.front() == kTlsHandshakeRecord;
    if (speaks_tls) answer = tls::alert_record(tls::Alert::kDecodeError);
  }
  co_await say_and_close(std::move(socket), std::move(answer));
}

bool is_for_hub(const std::unordered_set<std::string>& hub_names, const wire::ClientHello& hello) {
  return !hello.server_name || hello.server_name->empty() || hub_names.contains(*hello.server_name);
}

// Says `message` and ends the connection; it needs its place no longer.
net::Task<> refuse(Client client, Bytes message) {
  client.unserved = nullptr;
  co_await say_and_close(std::move(client.socket), std::move(message));
}

net::Task<> refuse_unknown(Worker& worker, Client client) {
  count(worker.shared().counters.refused_unknown_hostname);
  worker.log_unknown_hostname(client.host, client.socket->remote_addr());
  co_await refuse(std::move(client), tls::alert_record(tls::Alert::kUnrecognizedName));
}

// A page before the request would be an answer to nothing: waits for the request's first bytes.
net::Task<> answer_request(Client client, Bytes answer) {
  if (client.received.empty()) {
    std::array<uint8_t, 2048> request;
    auto got =
        co_await net::read_some(*client.socket, request, client.socket->loop().now() + kRequestTimeout);
    if (!got || *got == 0) co_return;
  }
  co_await refuse(std::move(client), std::move(answer));
}

net::Task<> refuse_known(Client client, route::TlsMode mode, Bytes answer) {
  if (mode == route::TlsMode::kTerminate) {
    co_await answer_request(std::move(client), std::move(answer));
  } else {
    co_await refuse(std::move(client), tls::alert_record(tls::Alert::kInternalError));
  }
}

net::Task<> refuse_unanswered(Worker& worker, Client client, route::TlsMode mode) {
  if (client.limited) {
    count(worker.shared().counters.refused_stream_limit);
    co_return co_await refuse_known(std::move(client), mode, stream_limit_answer());
  }
  count(worker.shared().counters.refused_no_agent);
  worker.log_no_agent(client.host, client.socket->remote_addr());
  co_await refuse_known(std::move(client), mode, no_agent_answer());
}

const route::Route* route_of(const Worker& worker, const Client& client, route::TlsMode mode) {
  const route::Route* route = worker.routes().match(client.host);
  return route != nullptr && route->tls_mode == mode ? route : nullptr;
}

bool has_other_agent(Worker& worker, const Client& client, route::TlsMode mode) {
  const route::Route* route = route_of(worker, client, mode);
  return route != nullptr && client.tried.size() < kMaxTries &&
         worker.shared().tunnels.can_pick(*route, worker.loop().now(), client.tried);
}

Duration open_timeout(const Session& session, size_t tries) {
  const Duration base = std::clamp(kOpenPtos * session.probe_timeout(), kLeastOpen, kMostOpen);
  return tries <= kQuickTries ? base : base * (1 << std::min<size_t>(tries - kQuickTries, 8));
}

// The client, for another agent or to be refused; nullopt: it is carried, or gone.
net::Task<std::optional<Client>> try_agent(Worker& worker, Client client, route::TlsMode mode,
                                           SessionPtr session) {
  client.tried.push_back(session->generation);
  client.limited = false;
  auto stream = session->connection().try_open_bidi();
  if (!stream) {
    client.limited = session->is_open();
    co_return std::move(client);
  }
  const Session::PendingStream pending(session);
  client.unserved = nullptr;
  if (std::exchange(client.retried, true)) count(worker.shared().counters.streams_retried);
  if (!client.opened) client.opened = worker.loop().now();
  const TimePoint last = *client.opened + worker.shared().config.open_patience;
  tunnel::StreamHeader header{client.socket->remote_addr(), client.socket->local_addr(), client.host, mode,
                              client.id};
  Opening opening(*client.socket, std::move(stream), tunnel::encode(header), client.received, mode,
                  worker.scratch());
  TimePoint deadline = worker.loop().now() + open_timeout(*session, client.tried.size());
  while (true) {
    auto result = co_await opening.wait(deadline);
    client.received = opening.received();
    if (result == Opening::Result::kClientGone) co_return std::nullopt;
    if (result == Opening::Result::kAnswered) break;
    const TimePoint now = worker.loop().now();
    if (result == Opening::Result::kLost || now >= last || has_other_agent(worker, client, mode))
      co_return std::move(client);
    deadline = std::min(last, now + kLookAgain);
  }
  // Changes of routes that came meanwhile cut what is carried, and this is not yet.
  const route::Route* route = route_of(worker, client, mode);
  if (route == nullptr || !route->leads_to(session->agent())) co_return std::move(client);
  Opening::Taken opened = opening.take();
  CarriedConnection record = record_of(client, *route, opened.header_size);
  session->carry(std::move(record), std::move(client.socket), std::move(opened));
  co_return std::nullopt;
}

void move_to_worker(Worker& worker, Client client, route::TlsMode mode) {
  count(worker.shared().counters.connections_moved);
  std::optional<Unserved::Place> place;
  if (client.unserved) place.emplace(client.unserved->take_place());
  client.unserved = nullptr;
  worker.shared().workers[client.pick->worker]->adopt(
      {tls::DetachedStream(std::move(client.socket)), std::move(client.received), std::move(client.host),
       client.id, client.accepted, std::move(client.slot), std::move(place), client.moves + 1,
       std::move(client.tried), client.opened, client.limited, client.retried, mode, std::move(*client.pick),
       worker.route_update()});
}

// From the point where nothing is missing but an agent. There is one pick for a connection as long as agents
// answer, so that turns are even, and it fails only when no agent of the route has an open tunnel, on
// whichever worker, or none of them answers.
net::Task<> hand_to_agent(Worker& worker, Client client, route::TlsMode mode) {
  TunnelRegistry& registry = worker.shared().tunnels;
  while (true) {
    const TimePoint now = worker.loop().now();
    const route::Route* route = route_of(worker, client, mode);
    const bool patient = !client.opened || now < *client.opened + worker.shared().config.open_patience;
    auto& pick = client.pick;
    pick.reset();  // it counts as load
    if (route != nullptr && patient && client.moves < kMaxMoves && client.tried.size() < kMaxTries)
      pick = registry.pick(*route, worker.index(), now, client.tried);
    // Every agent that was left to try is at its limit: asking the others once more would not change that.
    if (pick && client.limited && std::ranges::find(client.tried, pick->generation) != client.tried.end())
      pick.reset();
    if (!pick) co_return co_await refuse_unanswered(worker, std::move(client), mode);
    if (!client.slot.take_tenant(worker.shared().tenants, route->tenant)) {
      worker.tenant_is_full(client.host);
      co_return co_await refuse_known(std::move(client), mode, tenant_limit_answer());
    }
    if (pick->worker != worker.index()) co_return move_to_worker(worker, std::move(client), mode);
    SessionPtr session = worker.open_session(pick->agent);
    if (!session) {
      registry.set_closed(pick->agent, pick->generation);
      continue;
    }
    auto unanswered = co_await try_agent(worker, std::move(client), mode, std::move(session));
    if (!unanswered) co_return;
    client = std::move(*unanswered);
  }
}

// The client with its plaintext; nullopt: it is gone.
net::Task<std::optional<Client>> end_tls(Worker& worker, Client client, std::string pattern) {
  auto identity = worker.shared().certificates->leaf(pattern);
  if (!identity) {
    worker.certificate_failed(pattern, identity.error());
    co_await refuse(std::move(client), tls::alert_record(tls::Alert::kInternalError));
    co_return std::nullopt;
  }
  // HTTP/1 only: what origins behind a byte pump understand. The guard keeps pointing at the TCP stream,
  // which lives inside the TLS stream.
  std::vector<std::string> alpn{"http/1.1", "http/1.0"};
  auto tls =
      co_await tls::accept(std::move(client.socket), std::move(client.received), *identity, std::move(alpn),
                           worker.loop().now() + kTlsHandshakeTimeout, tls::NoCommonAlpn::kServeUnlessH2);
  if (!tls) {
    count(worker.shared().counters.failed_tls_handshake);
    log_debug("tls_handshake_failed", "id={:x} host={} reason={}", client.id, culvert::quoted(client.host),
              culvert::quoted(tls.error().message));
    co_return std::nullopt;
  }
  tls::take_unclean_end_of_http(**tls);
  client.socket = std::move(*tls);
  client.received.clear();
  co_return std::move(client);
}

// From a whole hello to the pump.
net::Task<> route_client(Worker& worker, Client client) {
  const route::Route* route = worker.routes().match(client.host);
  if (route == nullptr) co_return co_await refuse_unknown(worker, std::move(client));
  const route::TlsMode mode = route->tls_mode;
  if (mode == route::TlsMode::kTerminate) {
    auto ready = co_await end_tls(worker, std::move(client), route->match.text());
    if (!ready) co_return;
    co_return co_await hand_to_agent(worker, std::move(*ready), mode);
  }
  co_await hand_to_agent(worker, std::move(client), mode);
}

}  // namespace

net::Task<> serve_public(Worker& worker, std::unique_ptr<net::ByteStream> socket, ConnectionSlot slot,
                         Unserved::Place place) {
  Shared& shared = worker.shared();
  TimePoint accepted = worker.loop().now();
  auto unserved = std::make_unique<Worker::UnservedGuard>(worker, *socket, std::move(place));
  wire::ClientHelloReader reader;
  auto whole = co_await read_hello(*socket, reader, accepted + shared.config.options.hello_timeout);
  if (!whole) {
    unserved = nullptr;
    co_return co_await refuse_hello(worker, std::move(socket), whole.error().code, reader.received());
  }

  if (is_for_hub(shared.config.hub_names, reader.hello())) {
    unserved = nullptr;
    const bool taken =
        shared.control.serve_hub({tls::DetachedStream(std::move(socket)), reader.take_received(),
                                  reader.hello().server_name.value_or("")});
    count(taken ? shared.counters.connections_to_hub : shared.counters.refused_hub_full);
    co_return;
  }
  Client client{std::move(socket),
                reader.take_received(),
                *reader.hello().server_name,
                shared.next_connection.fetch_add(1, std::memory_order_relaxed),
                accepted,
                std::move(slot),
                std::move(unserved)};
  co_await route_client(worker, std::move(client));
}

net::Task<> serve_moved(Worker& worker, MovedConnection moved) {
  Client client{std::move(moved.socket).attach(worker.loop()),
                std::move(moved.received),
                std::move(moved.host),
                moved.id,
                moved.accepted,
                std::move(moved.slot),
                nullptr,
                moved.moves,
                std::move(moved.tried),
                moved.opened,
                moved.limited,
                moved.retried,
                std::move(moved.pick)};
  if (moved.place) {
    moved.place->move_to(worker.index());
    client.unserved =
        std::make_unique<Worker::UnservedGuard>(worker, *client.socket, std::move(*moved.place));
  }
  // A worker that does not have the routes of the other yet would refuse.
  co_await worker.wait_for_route_update(moved.route_update);
  // What was picked may have changed on the way; an agent that drains since then was told of the last stream.
  const EndpointId agent = client.pick->agent;
  SessionPtr session = worker.open_session(agent);
  if (!session) worker.shared().tunnels.set_closed(agent, client.pick->generation);
  const route::Route* route = route_of(worker, client, moved.tls_mode);
  if (session && !session->is_draining() && route != nullptr && route->leads_to(agent)) {
    auto unanswered = co_await try_agent(worker, std::move(client), moved.tls_mode, std::move(session));
    if (!unanswered) co_return;
    client = std::move(*unanswered);
  }
  co_await hand_to_agent(worker, std::move(client), moved.tls_mode);
}

net::Task<> serve_unanswered(Worker& worker, UnansweredConnection unanswered) {
  Client client{std::move(unanswered.socket),
                std::move(unanswered.received),
                std::move(unanswered.host),
                unanswered.id,
                unanswered.accepted,
                std::move(unanswered.slot),
                nullptr};
  client.retried = true;
  co_await hand_to_agent(worker, std::move(client), unanswered.tls_mode);
}

}  // namespace culvert::edge
