#include "edge/public_connection.h"

#include <algorithm>
#include <array>

#include "base/log.h"
#include "edge/answers.h"
#include "edge/worker.h"
#include "net/tcp.h"
#include "tls/tls.h"
#include "wire/client_hello.h"

namespace culvert::edge {
namespace {

constexpr Duration kTlsHandshakeTimeout = std::chrono::seconds(10);
// A client that is to be told of a failure by an HTTP answer is first given this long to ask.
constexpr Duration kRequestTimeout = std::chrono::seconds(10);
// Each means that an agent left while a connection was on its way to its worker.
constexpr unsigned kMaxMoves = 16;
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
};

CarriedConnection record_of(Client& client, route::TlsMode mode) {
  return {client.host,
          mode,
          client.socket->remote_addr(),
          client.socket->local_addr(),
          client.id,
          client.accepted,
          std::move(client.slot),
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
  std::array<uint8_t, 2048> request;
  auto got = co_await net::read_some(*client.socket, request, monotonic_now() + kRequestTimeout);
  if (!got || *got == 0) co_return;
  co_await refuse(std::move(client), std::move(answer));
}

net::Task<> refuse_known(Client client, route::TlsMode mode, Bytes answer) {
  if (mode == route::TlsMode::kTerminate) {
    co_await answer_request(std::move(client), std::move(answer));
  } else {
    co_await refuse(std::move(client), tls::alert_record(tls::Alert::kInternalError));
  }
}

net::Task<> refuse_no_agent(Worker& worker, Client client, route::TlsMode mode) {
  count(worker.shared().counters.refused_no_agent);
  worker.log_no_agent(client.host, client.socket->remote_addr());
  co_await refuse_known(std::move(client), mode, no_agent_answer());
}

net::Task<> carry(Worker& worker, Client client, route::TlsMode mode, PublicKey tenant, SessionPtr session) {
  if (!client.slot.take_tenant(worker.shared().tenants, tenant)) {
    worker.tenant_is_full(client.host);
    co_return co_await refuse_known(std::move(client), mode, tenant_limit_answer());
  }
  auto stream = session->connection().try_open_bidi();
  if (!stream) {
    count(worker.shared().counters.refused_stream_limit);
    co_return co_await refuse_known(std::move(client), mode, stream_limit_answer());
  }
  client.unserved = nullptr;
  auto record = record_of(client, mode);
  session->carry(std::move(record), std::move(client.socket), std::move(stream), client.received);
}

void move_to_worker(Worker& worker, Client client, route::TlsMode mode, const Directory::Pick& pick) {
  count(worker.shared().counters.connections_moved);
  Unserved::Place place = client.unserved->take_place();
  client.unserved = nullptr;
  worker.shared().workers[pick.worker]->adopt({tls::DetachedStream(std::move(client.socket)),
                                               std::move(client.received), std::move(client.host), client.id,
                                               client.accepted, std::move(client.slot), std::move(place),
                                               client.moves + 1, mode, pick, worker.versioned_table()});
}

// From the point where nothing is missing but an agent. This is the only pick of a connection, so that turns
// are even, and it fails only when no agent of the route has an open tunnel, on whichever worker.
net::Task<> hand_to_agent(Worker& worker, Client client, route::TlsMode mode) {
  Directory& directory = worker.shared().directory;
  while (true) {
    route::TablePtr table = worker.table();
    const route::Route* route = table ? table->match(client.host) : nullptr;
    std::optional<Directory::Pick> pick;
    if (route != nullptr && route->tls_mode == mode) pick = directory.pick(*route, monotonic_now());
    if (!pick || client.moves >= kMaxMoves) {
      co_return co_await refuse_no_agent(worker, std::move(client), mode);
    }
    if (pick->worker != worker.index()) co_return move_to_worker(worker, std::move(client), mode, *pick);
    SessionPtr session = worker.open_session(pick->agent);
    if (session) co_return co_await carry(worker, std::move(client), mode, route->tenant, std::move(session));
    directory.set_closed(pick->agent, pick->generation);
  }
}

// The client with its plaintext; nullopt: it is gone.
net::Task<std::optional<Client>> end_tls(Worker& worker, Client client, std::string pattern) {
  auto identity = worker.shared().certificates->leaf(pattern);
  if (!identity) {
    log_error("certificate_failed", "host={} reason={}", culvert::quoted(pattern),
              culvert::quoted(identity.error().message));
    co_await refuse(std::move(client), tls::alert_record(tls::Alert::kInternalError));
    co_return std::nullopt;
  }
  // HTTP/1 only: what origins behind a byte pump understand. The guard keeps pointing at the TCP stream,
  // which lives inside the TLS stream.
  std::vector<std::string> alpn{"http/1.1", "http/1.0"};
  auto tls =
      co_await tls::accept(std::move(client.socket), std::move(client.received), *identity, std::move(alpn),
                           monotonic_now() + kTlsHandshakeTimeout, tls::NoCommonAlpn::kServeUnlessH2);
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
  route::TablePtr table = worker.table();
  const route::Route* route = table ? table->match(client.host) : nullptr;
  if (route == nullptr) co_return co_await refuse_unknown(worker, std::move(client));
  const route::TlsMode mode = route->tls_mode;
  if (mode == route::TlsMode::kTerminate) {
    auto ready = co_await end_tls(worker, std::move(client), route->host.text());
    if (!ready) co_return;
    co_return co_await hand_to_agent(worker, std::move(*ready), mode);
  }
  co_await hand_to_agent(worker, std::move(client), mode);
}

bool names_agent(const route::Route* route, route::TlsMode mode, const EndpointId& agent) {
  return route != nullptr && route->tls_mode == mode &&
         std::ranges::find(route->agents, agent) != route->agents.end();
}

}  // namespace

net::Task<> serve_public(Worker& worker, std::unique_ptr<net::ByteStream> socket, ConnectionSlot slot,
                         Unserved::Place place) {
  Shared& shared = worker.shared();
  TimePoint accepted = monotonic_now();
  auto unserved = std::make_unique<Worker::UnservedGuard>(worker, *socket, std::move(place));
  wire::ClientHelloReader reader;
  auto whole = co_await read_hello(*socket, reader, accepted + shared.config.options.hello_timeout);
  if (!whole) {
    unserved = nullptr;
    co_return co_await refuse_hello(worker, std::move(socket), whole.error().code, reader.received());
  }

  if (is_for_hub(shared.config.hub_names, reader.hello())) {
    unserved = nullptr;
    count(shared.counters.connections_to_hub);
    int released = net::release_descriptor(*socket);
    shared.control.serve_hub({released, reader.take_received(), reader.hello().server_name.value_or("")});
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
  // A worker that has not heard yet of what the other knew would refuse.
  worker.take_table(std::move(moved.table));
  Client client{std::move(moved.socket).attach(worker.loop()),
                std::move(moved.received),
                std::move(moved.host),
                moved.id,
                moved.accepted,
                std::move(moved.slot),
                nullptr,
                moved.moves};
  moved.place.move_to(worker.index());
  client.unserved = std::make_unique<Worker::UnservedGuard>(worker, *client.socket, std::move(moved.place));
  // What was picked may have changed on the way; an agent that drains since then was told of the last stream.
  route::TablePtr table = worker.table();
  const route::Route* route = table ? table->match(client.host) : nullptr;
  SessionPtr session = worker.open_session(moved.pick.agent);
  if (!session) worker.shared().directory.set_closed(moved.pick.agent, moved.pick.generation);
  if (session && !session->is_draining() && names_agent(route, moved.tls_mode, moved.pick.agent)) {
    co_return co_await carry(worker, std::move(client), moved.tls_mode, route->tenant, std::move(session));
  }
  co_await hand_to_agent(worker, std::move(client), moved.tls_mode);
}

}  // namespace culvert::edge
